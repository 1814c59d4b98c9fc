"""A run directory as one frozen value; every part of it may be absent.

Nothing is computed here that a stage has already written, and the large columns (answers,
messages) are only reduced, never kept whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from regimen.errors import RunError
from regimen.reports.card import DataCard, read_card
from regimen.reports.evidence import Evaluation, read_evaluation
from regimen.reports.files import (
    Json,
    first_existing,
    mapping,
    read_json,
    read_lines,
    read_object,
)
from regimen.reports.gate import GateVerdict, read_gate
from regimen.reports.judged import JudgedRun, read_judged
from regimen.reports.ledger import Step, read_ledger, read_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training stage: log lines, summary, what was rendered, lines that are unreadable."""

    rows: tuple[Json, ...]
    summary: Json
    rendering: Step | None
    counts: Json
    unreadable: int
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSample:
    """One rendered conversation: its tokens as text, and which are learnt."""

    pieces: tuple[str, ...]
    mask: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class RunData:
    """All that the report knows about a run."""

    directory: Path
    name: str
    settings: str
    manifests: Mapping[str, Json]
    ledger: tuple[Step, ...]
    card: DataCard | None
    training: Mapping[str, Training]
    evaluation: Evaluation | None
    prompted_base: Json
    judged: JudgedRun | None
    gate: GateVerdict | None
    rewards: Json
    answers: Path | None
    samples: tuple[MaskSample, ...]

    @cached_property
    def parsed(self) -> Json:
        """The settings as plain data; empty where there are none or they cannot be parsed."""
        from regimen.settings.yaml12 import parse

        return mapping(parse(self.settings, "settings.yaml").data)

    @property
    def model(self) -> str:
        """The model that was prepared, as the settings name it; "" where they do not."""
        tunings = self.parsed.get("tune")
        first = tunings[0] if isinstance(tunings, list) and tunings else tunings
        for section in (first, self.parsed.get("align")):
            path = mapping(mapping(section).get("model")).get("path")
            if isinstance(path, str) and path:
                return path
        return ""

    @property
    def tunings(self) -> tuple[str, ...]:
        """The stages of tuning that left something: ``tune``; ``tune-0``, ``tune-1`` of a list."""
        return tuple(stage for stage in self.training if stage.startswith("tune"))

    @property
    def all_stages(self) -> tuple[str, ...]:
        """The names of all stages, in the order in which they run."""
        return ("build", *(self.tunings or ("tune",)), "align", "evaluate")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that left something to report on."""
        found = {
            "build": bool(self.ledger or self.card),
            **dict.fromkeys(self.training, True),
            "evaluate": self.evaluation is not None,
        }
        return tuple(stage for stage in self.all_stages if found.get(stage))


def read_run(directory: Path, *, title: str = "") -> RunData:
    """The run in a directory, under a title or its directory's name.

    Raises:
        RunError: no such directory, nothing in it that a stage writes, or an unreadable file.
    """
    if not directory.is_dir():
        raise RunError(
            "There is no run to report on.",
            slug="run-missing",
            got=f"no directory {str(directory)!r}",
            expected="a directory that `regimen run` or one of its stages has written",
            fix="Run `regimen run regimen.yaml` first, or name another directory.",
        )
    measured = read_object(evaluation_file(directory))
    safety = read_object(first_existing(directory, "evaluate/safety.json"))
    tunings = _tunings(directory)
    names = ("build", *tunings, "align", "evaluate")
    training = {s: _training(directory / s) for s in (*tunings, "align")}
    samples = [f"{stage}/samples.json" for stage in reversed(tunings)]
    run = RunData(
        directory=directory,
        name=title or directory.resolve().name,
        settings=_settings(directory, names),
        manifests=_manifests(directory, names),
        ledger=read_ledger(first_existing(directory, "ledger", "build/ledger")),
        card=read_card(directory),
        training={stage: found for stage, found in training.items() if found is not None},
        evaluation=read_evaluation(measured, safety),
        prompted_base=mapping(measured.get("prompted_base")),
        judged=read_judged(measured),
        gate=read_gate(read_object(first_existing(directory, "gate.json"))),
        rewards=read_object(first_existing(directory, "align/rewards.json")),
        answers=first_existing(directory, "evaluate/answers.parquet"),
        samples=_samples(first_existing(directory, *samples)),
    )
    if not run.stages:
        raise RunError(
            "The directory holds nothing to report on.",
            slug="run-empty",
            where=str(directory),
            got=", ".join(sorted(path.name for path in directory.iterdir())[:12]) or "no files",
            expected="one of build/, tune/, align/, evaluate/ or their published files",
            fix="Run `regimen run regimen.yaml`, or name a directory that it has written.",
        )
    return run


def evaluation_file(directory: Path) -> Path | None:
    """The published evaluation, or that of the stage."""
    return first_existing(directory, "evaluation.json", "evaluate/evaluation.json")


def _tunings(directory: Path) -> tuple[str, ...]:
    """``tune``, or ``tune-0`` and so on where there are such folders, as the settings list them."""
    numbered = [p.name for p in directory.glob("tune-*") if p.name[5:].isdigit()]
    settings = first_existing(directory, "settings.yaml")
    if settings is not None:
        from regimen.settings.yaml12 import parse

        text = settings.read_text(encoding="utf-8", errors="replace")
        listed = mapping(parse(text, str(settings)).data).get("tune")
        if listed is not None:
            many = isinstance(listed, list)
            return tuple(f"tune-{n}" for n in range(len(listed))) if many else ("tune",)
    return tuple(sorted(numbered, key=lambda name: int(name[5:]))) or ("tune",)


def _settings(directory: Path, stages: Sequence[str]) -> str:
    path = first_existing(directory, "settings.yaml", *(f"{s}/settings.yaml" for s in stages))
    return path.read_text(encoding="utf-8", errors="replace") if path else ""


def _manifests(directory: Path, stages: Sequence[str]) -> dict[str, Json]:
    places = {"run": directory, **{stage: directory / stage for stage in stages}}
    found = {
        name: read_object(first_existing(place, "manifest.json")) for name, place in places.items()
    }
    return {name: manifest for name, manifest in found.items() if manifest}


def _training(directory: Path) -> Training | None:
    metrics = first_existing(directory, "metrics.jsonl")
    summary = first_existing(directory, "summary.json")
    if metrics is None and summary is None:
        return None
    rows, unreadable = read_lines(metrics)
    counts = read_object(first_existing(directory, "rendering.json"))
    return Training(
        rows=tuple(rows),
        summary=read_object(summary),
        rendering=read_step("rendering", counts, directory, 0) if counts else None,
        counts=counts,
        unreadable=unreadable,
        finished=(directory / "manifest.json").exists(),
    )


def _samples(path: Path | None) -> tuple[MaskSample, ...]:
    data: Any = read_json(path)
    found = []
    for entry in data if isinstance(data, list) else []:
        pieces, mask = mapping(entry).get("pieces"), mapping(entry).get("mask")
        if isinstance(pieces, list) and isinstance(mask, list) and len(pieces) == len(mask):
            found.append(
                MaskSample(pieces=tuple(map(str, pieces)), mask=tuple(bool(m) for m in mask))
            )
    return tuple(found)
