"""What the stages share: where they write, whether they are fresh, and settings to dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen import console, runs
from regimen.records import stable_hash
from regimen.settings.pipeline import PipelineSettings

# Source modules whose change makes a stage stale. Rows 0 to 5 reach every stage after build.
CORE = ("regimen.tokens", "regimen.models", "regimen.objectives", "regimen.training")
MODULES: dict[str, tuple[str, ...]] = {
    "build": (
        "regimen.tables",
        "regimen.instances",
        "regimen.curation",
        "regimen.assets",
        "regimen.stages.build",
        "regimen.stages.sources",
        "regimen.stages.splits",
        "regimen.stages.preferences",
        "regimen.stages.synthesis",
    ),
    "tune": (
        *CORE,
        "regimen.adapters",
        "regimen.memory",
        "regimen.stages.training",
        "regimen.stages.training_run",
        "regimen.stages.tune",
    ),
    "align": (
        *CORE,
        "regimen.adapters",
        "regimen.memory",
        "regimen.alignment",
        "regimen.stages.training",
        "regimen.stages.training_run",
        "regimen.stages.align",
    ),
    "evaluate": (
        *CORE,
        "regimen.generation.engine",
        "regimen.generation.local",
        "regimen.evaluation",
        "regimen.judging",
        "regimen.stages.models",
        "regimen.stages.evaluate",
    ),
}


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage did: its directory, whether it was already there, and its summary."""

    stage: str
    directory: Path
    reused: bool
    summary: Mapping[str, Any]


def stage_key(stage: str, settings: PipelineSettings, inputs: Mapping[str, str]) -> dict[str, str]:
    """The parts whose change makes a stage stale: settings, seed, inputs and source code."""
    section = getattr(settings, stage)
    return {
        "settings": stable_hash(section.model_dump(mode="json")),
        "seed": str(settings.seed_of(stage)),  # type: ignore[arg-type]
        "code": runs.source_key(MODULES[stage]),
        **{f"input {name}": value for name, value in inputs.items()},
    }


def run_stage(
    stage: str,
    settings: PipelineSettings,
    directory: Path,
    inputs: Mapping[str, str],
    work: Callable[[runs.Run], Mapping[str, Any]],
    *,
    keep: Sequence[str] = (),
) -> StageResult:
    """Run ``work`` unless the directory already holds the result for the same key.

    ``work`` returns the stage's summary, which is written as ``summary.json``. ``keep`` names what
    an interrupted run leaves for the next one, as in ``Run.start``.
    """
    key = stage_key(stage, settings, inputs)
    if runs.is_fresh(directory, key):
        console.line(f"{stage}: nothing to do, {directory} is up to date")
        return StageResult(stage, directory, True, read_json(directory / "summary.json"))
    stale = runs.why_stale(directory, key)
    if stale:
        console.line(f"{stage}: runs because {', '.join(stale)}")
    run = runs.Run.start(
        directory,
        stage=stage,
        key=key,
        settings=getattr(settings, stage).model_dump(mode="json"),
        keep=keep,
    )
    summary = dict(work(run))
    run.write_json("summary.json", summary)
    run.finish()
    return StageResult(stage, directory, False, summary)


def read_json(path: Path) -> Any:
    """A JSON file's content."""
    import json

    return json.loads(path.read_text())


def path_key(path: str | Path) -> str:
    """Content hash of a file or folder; the name itself for a hub name."""
    place = Path(path)
    if place.is_dir():
        return runs.tree_hash(place)
    return runs.file_hash(place) if place.is_file() else str(path)
