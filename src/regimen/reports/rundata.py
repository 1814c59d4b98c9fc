"""A run directory as one frozen value; every part of it may be absent.

Nothing is computed here that a stage has already written, and the large columns (answers,
messages) are only reduced, never kept whole.
"""

from __future__ import annotations

import re
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
from regimen.reports.ledger import Step, read_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training stage: its log lines, its summary, and lines that could not be read."""

    rows: tuple[Json, ...]
    summary: Json
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
    settings: str
    manifests: Mapping[str, Json]
    ledger: tuple[Step, ...]
    card: DataCard | None
    training: Mapping[str, Training]
    evaluation: Evaluation | None
    answers: Path | None
    samples: tuple[MaskSample, ...]

    @property
    def name(self) -> str:
        """The name of the run, from its directory."""
        return self.directory.resolve().name

    @cached_property
    def model(self) -> str:
        """The model that was prepared, by the first file that names it."""
        if self.evaluation is not None and self.evaluation.model:
            return self.evaluation.model
        for stage in ("tune", "align"):
            found = self.training[stage].summary.get("model") if stage in self.training else None
            if isinstance(found, str) and found:
                return found
        return model_in_settings(self.settings)

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


def read_run(directory: Path) -> RunData:
    """The run in a directory.

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
    evaluation = read_evaluation(
        read_object(first_existing(directory, "evaluation.json", "evaluate/evaluation.json")),
        read_object(first_existing(directory, "evaluate/safety.json", "safety.json")),
    )
    run = RunData(
        directory=directory,
        settings=_settings(directory),
        manifests=_manifests(directory),
        ledger=read_ledger(first_existing(directory, "ledger", "build/ledger")),
        card=read_card(directory),
        training={s: t for s in ("tune", "align") if (t := _training(directory / s)) is not None},
        evaluation=evaluation,
        answers=first_existing(directory, "evaluate/answers.parquet", "answers.parquet"),
        samples=_samples(first_existing(directory, "tune/samples.json", "samples.json")),
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


def model_in_settings(settings: str) -> str:
    """The first ``model:`` of a settings file: a name, or the path or name inside a block."""
    line = re.search(r"^[ \t]*model:[ \t]*(\S.*)$", settings, re.MULTILINE)
    if line is None:
        line = re.search(
            r"^[ \t]*model:[ \t]*\n[ \t]+(?:path|name):[ \t]*(\S.*)$", settings, re.MULTILINE
        )
    return line[1].split(" #")[0].strip("'\" ") if line else ""


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
