"""A cell of a study: one training with its evaluation, in a directory of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from regimen.files import atomic_write, json_text
from regimen.manifests import is_fresh
from regimen.records import stable_hash

CELL, RESULT, FAILED, LOG = "cell.json", "result.json", "failed.json", "log.txt"
SCORES, TIMES = "scores.parquet", "times.json"
"""Scores of every item, and seconds of the parts of the work."""

USE = "use.json"
"""What the last training took of the machine: tokens per second, peak memory in GiB."""

LINE = "run"
"""Folder of a cell in which its line of stages runs."""

State = Literal["done", "failed", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination of levels with one seed.

    Args:
        kind: which work makes it; see ``regimen.stages.study_cell.WORKS``.
        factors: the levels by the name of the factor, as they stand in tables.
        seed: of training and of the draws of its data; items are the same for every seed.
        work: what the work needs, as JSON: mostly the settings of a pipeline.
        needs: names of cells whose result the work starts from.
        tokens: that it trains on, for the estimate of the cost.
    """

    kind: str
    factors: Mapping[str, Any]
    seed: int
    work: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    tokens: int = 0

    @property
    def name(self) -> str:
        """The directory's name: levels and seed for a person, a hash where they do not fit."""
        levels = ",".join(f"{key}={value}" for key, value in self.factors.items())
        plain = re.sub(r"[^\w.,=+@-]+", "-", levels).strip("-")
        if len(plain) > 80 or plain != levels:
            plain = f"{plain[:60]}-{stable_hash(dict(self.factors), length=6)}"
        return f"{plain or 'base'},seed={self.seed}"

    def key(self, code: str, needed: Mapping[str, str]) -> dict[str, str]:
        """What the result depends on: the work, the code, the cells it starts from."""
        return {
            "work": stable_hash([self.kind, self.work, self.seed]),
            "code": code,
            **{f"needs {name}": value for name, value in needed.items()},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A cell with what became of it. ``result`` is what its work returned."""

    cell: Cell
    state: State
    directory: Path
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    reused: bool = False


def beside(directory: Path, name: str) -> Path:
    """A file of a cell that stands beside its directory, which is emptied when the cell starts.

    Levels hold dots (``share=0.25``), so a suffix of the name is not what follows the last dot.
    """
    return directory.with_name(f"{directory.name}.{name}")


def write_cell(directory: Path, cell: Cell, key: Mapping[str, str], places: Sequence[str]) -> Path:
    """What the process of the cell reads: the cell, its key, the places of what it needs."""
    body = {
        "kind": cell.kind,
        "factors": cell.factors,
        "seed": cell.seed,
        "work": cell.work,
        "needs": list(cell.needs),
        "places": list(places),
        "key": dict(key),
    }
    directory.mkdir(parents=True, exist_ok=True)
    return atomic_write(beside(directory, CELL), json_text(body))


def read_outcome(cell: Cell, directory: Path, key: Mapping[str, str]) -> Outcome:
    """What an earlier run of the study left of a cell."""
    if is_fresh(directory, dict(key)):
        result = json.loads((directory / RESULT).read_text(encoding="utf-8"))
        return Outcome(cell=cell, state="done", directory=directory, result=result, reused=True)
    return Outcome(cell=cell, state="open", directory=directory)
