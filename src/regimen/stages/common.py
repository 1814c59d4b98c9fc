"""What the stages share: where they write, whether they are fresh, and settings to dataclasses."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen import console, runs
from regimen.errors import RunError
from regimen.records import stable_hash
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.training import REPORTING, TrainingSettings

# Source modules whose change makes a stage stale. Rows 0 to 5 reach every stage after build.
CORE = ("regimen.tokens", "regimen.models", "regimen.objectives", "regimen.training")
MODULES: dict[str, tuple[str, ...]] = {
    "build": (
        "regimen.tables",
        "regimen.instances",
        "regimen.curation",
        "regimen.assets",
        "regimen.stages.asked",
        "regimen.stages.build",
        "regimen.stages.build_items",
        "regimen.stages.producing",
        "regimen.stages.workers",
        "regimen.stages.written",
        "regimen.stages.rewording",
        "regimen.stages.task_lints",
        "regimen.stages.generators",
        "regimen.stages.sources",
        "regimen.stages.splits",
        "regimen.stages.preferences",
        "regimen.stages.judged",
        "regimen.stages.pairing",
        "regimen.stages.reward_scores",
        "regimen.stages.on_policy",
        "regimen.stages.sampled",
        "regimen.stages.principles",
        "regimen.stages.feedback",
        "regimen.stages.feedback_best",
        "regimen.stages.feedback_labels",
        "regimen.stages.feedback_principles",
        "regimen.stages.evaluate_judge",
        "regimen.stages.guarded",
        "regimen.alignment.ai_labels",
        "regimen.alignment.best_of",
        "regimen.alignment.constitutional",
        "regimen.alignment.self_align",
        "regimen.judging",
        "regimen.evaluation.pairs",
        "regimen.stages.synthesis",
    ),
    "tune": (
        *CORE,
        "regimen.adapters",
        "regimen.memory",
        "regimen.generation",
        "regimen.stages.models",
        "regimen.stages.arrangements",
        "regimen.stages.training",
        "regimen.stages.training_run",
        "regimen.stages.grids",
        "regimen.stages.rows",
        "regimen.stages.teachers",
        "regimen.stages.texts",
        "regimen.stages.tune",
    ),
    "align": (
        *CORE,
        "regimen.adapters",
        "regimen.memory",
        "regimen.alignment",
        "regimen.generation",
        "regimen.judging",
        "regimen.stages.raft",
        "regimen.stages.sampled",
        "regimen.stages.on_policy",
        "regimen.stages.feedback_best",
        "regimen.stages.evaluate_judge",
        "regimen.stages.reward_scores",
        "regimen.stages.guarded",
        "regimen.stages.arrangements",
        "regimen.stages.training",
        "regimen.stages.training_run",
        "regimen.stages.grids",
        "regimen.stages.rows",
        "regimen.stages.align",
        "regimen.stages.align_rows",
        "regimen.stages.align_rewards",
        "regimen.stages.reward_quality",
        "regimen.evaluation.rewards",
        "regimen.reports.reliability",
    ),
    "compress": (
        *CORE,
        "regimen.memory.quantisation",
        "regimen.stages.models",
        "regimen.stages.texts",
        "regimen.stages.grids",
        "regimen.stages.compress",
        "regimen.stages.compress_measure",
    ),
    "evaluate": (
        *CORE,
        "regimen.generation",
        "regimen.memory.quantisation",
        "regimen.evaluation",
        "regimen.judging",
        "regimen.curation.leaks",
        "regimen.curation.ngrams",
        "regimen.instances",
        "regimen.assets",
        "regimen.stages.models",
        "regimen.stages.texts",
        "regimen.stages.sources",
        "regimen.stages.likelihoods",
        "regimen.stages.evaluate",
        "regimen.stages.evaluate_choices",
        "regimen.stages.evaluate_lm_eval",
        "regimen.stages.lm_eval_model",
        "regimen.stages.evaluate_costs",
        "regimen.stages.evaluate_items",
        "regimen.stages.evaluate_judge",
        "regimen.stages.guarded",
        "regimen.stages.generators",
        "regimen.stages.evaluate_systems",
        "regimen.stages.evaluate_traces",
        "regimen.stages.align_rows",
    ),
}


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the size of a file is at its end."""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage did: its directory, whether it was already there, and its summary."""

    stage: str
    directory: Path
    reused: bool
    summary: Mapping[str, Any]


def stage_key(stage: str, settings: PipelineSettings, inputs: Mapping[str, str]) -> dict[str, str]:
    """The parts whose change makes a stage stale: settings, seed, inputs and source code."""
    return {
        "settings": stable_hash(_dumped(stage, settings)),
        "seed": str(settings.seed_of(stage)),
        "code": runs.source_key(MODULES[stage.partition("-")[0]]),
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

    Raises:
        RunError: the disk is full.
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
        settings=_dumped(stage, settings),
        keep=keep,
    )
    with _space(stage, directory):
        summary = dict(work(run))
        run.write_json("summary.json", summary)
        run.finish()
    return StageResult(stage, directory, False, summary)


@contextmanager
def _space(stage: str, directory: Path) -> Iterator[None]:
    """Turns the system's word for a full disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise RunError(
            f"'{stage}' could not go on: there is no space to write to.",
            slug="disk-full",
            got=error.strerror or str(error),
            fix="Free space on this disk, or set 'run' to another; then run the same command "
            "again: stages that are done stay, and a training goes on from its last checkpoint.",
            where=str(error.filename or directory),
        ) from error


def _dumped(stage: str, settings: PipelineSettings) -> dict[str, Any]:
    """The section's settings, without those that cannot change what it makes."""
    section = settings.section(stage)
    assert section is not None
    apart = set(REPORTING) if isinstance(section, TrainingSettings) else {"workers", "gate"}
    return section.model_dump(mode="json", exclude=apart)


def section_name(stage: str) -> str:
    """What the settings call a stage: ``tune[1]`` for ``tune-1``."""
    return re.sub(r"-(\d+)$", r"[\1]", stage)


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
