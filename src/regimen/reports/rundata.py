"""A run directory as one frozen value; every part of it may be absent.

Nothing is computed here that a stage has already written, and the large columns (answers,
messages) are only reduced, never kept whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from regimen.errors import RunError
from regimen.reports.card import DataCard, read_card
from regimen.reports.evidence import Evaluation, read_evaluation
from regimen.reports.files import (
    STAGES,
    Json,
    first_existing,
    mapping,
    read_json,
    read_lines,
    read_object,
)
from regimen.reports.ledger import Step, read_ledger, read_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training stage: log lines, summary, what was rendered, lines that are unreadable."""

    rows: tuple[Json, ...]
    summary: Json
    rendering: Step | None
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
        for stage in ("tune", "align"):
            path = mapping(mapping(self.parsed.get(stage)).get("model")).get("path")
            if isinstance(path, str) and path:
                return path
        return ""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that left something to report on."""
        found = {
            "build": bool(self.ledger or self.card),
            "tune": "tune" in self.training,
            "align": "align" in self.training,
            "evaluate": self.evaluation is not None,
        }
        return tuple(stage for stage in STAGES if found[stage])


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
    run = RunData(
        directory=directory,
        name=title or directory.resolve().name,
        settings=_settings(directory),
        manifests=_manifests(directory),
        ledger=read_ledger(first_existing(directory, "ledger", "build/ledger")),
        card=read_card(directory),
        training={s: t for s in ("tune", "align") if (t := _training(directory / s)) is not None},
        evaluation=read_evaluation(measured, safety),
        prompted_base=mapping(measured.get("prompted_base")),
        answers=first_existing(directory, "evaluate/answers.parquet"),
        samples=_samples(first_existing(directory, "tune/samples.json")),
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


def _settings(directory: Path) -> str:
    path = first_existing(directory, "settings.yaml", *(f"{s}/settings.yaml" for s in STAGES))
    return path.read_text(encoding="utf-8", errors="replace") if path else ""


def _manifests(directory: Path) -> dict[str, Json]:
    places = {"run": directory, **{stage: directory / stage for stage in STAGES}}
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
    return Training(
        rows=tuple(rows),
        summary=read_object(summary),
        rendering=_rendering(directory),
        unreadable=unreadable,
        finished=(directory / "manifest.json").exists(),
    )


def _rendering(directory: Path) -> Step | None:
    counts = read_object(first_existing(directory, "rendering.json"))
    return read_step("rendering", counts, directory, 0) if counts else None


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
