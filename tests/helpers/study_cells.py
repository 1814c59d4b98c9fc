"""Cells of a study without their training: files of scores with effects that are known."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from regimen.studies.cells import SCORES, Cell, Outcome
from regimen.studies.design import Question
from regimen.tables import write_table

Score = Callable[[Cell, Mapping[str, Any]], float | None]
"""The expected score of an item under a cell; None for a cell that failed."""

STAGES: Mapping[str, Any] = {
    "build": {"sources": [{"starter": "tasks"}]},
    "tune": {"model": {"path": "base"}, "num_train_epochs": 3, "learning_rate": 0.1},
    "evaluate": {"max_new_tokens": 4, "safety": {}},
}


def question(options: Mapping[str, Any], seeds: Sequence[int] = (2, 3, 4), **more: Any) -> Question:
    """What a study is given."""
    given: dict[str, Any] = {
        "settings": STAGES,
        "seed": 1,
        "seeds": tuple(seeds),
        "tokens": 1000,
        "gain": 0.02,
        "suites": (),
        "options": options,
    }
    return Question(**{**given, **more})


def items(tasks: int = 20, each: int = 2, suite: str = "unseen", **more: Any) -> list[dict]:
    """Items of a suite, as rows of a file of scores."""
    return [
        {
            "suite": suite,
            "item_id": f"{task:03}-{number}",
            "cluster": f"task {task:03}",
            "task": f"task {task:03}",
            "family": "family",
            "language": "en",
            "source": "file",
            "row": number,
            "template": "",
            **more,
        }
        for task in range(tasks)
        for number in range(each)
    ]


def write_scores(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A file of scores as a cell leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_table(path, pa.Table.from_pylist([{"system": "tuned", **row} for row in rows]))


def outcomes(
    cells: Sequence[Cell],
    folder: Path,
    asked: Sequence[Mapping[str, Any]],
    score: Score,
    noise: float = 0.02,
    systems: Sequence[str] = ("tuned",),
) -> list[Outcome]:
    """Outcomes whose scores are as expected, give or take noise that only the cell determines."""
    made = []
    for cell in cells:
        directory = folder / cell.name
        draw = np.random.default_rng(zlib.crc32(cell.name.encode()))
        values = [score(cell, item) for item in asked]
        if None in values:
            made.append(Outcome(cell=cell, state="failed", directory=directory, error="no"))
            continue
        rows = [
            {**item, "system": system, "score": float(value + draw.normal(0, noise))}
            for system in systems
            for item, value in zip(asked, values, strict=True)
        ]
        write_scores(directory / SCORES, rows)
        made.append(Outcome(cell=cell, state="done", directory=directory))
    return made


def verdicts(findings: Any) -> dict[str, str]:
    """The verdict of each claim by its name."""
    return {claim.name: claim.verdict for claim in findings.claims}


def check_cells(cells: Sequence[Cell], tokens: int) -> None:
    """Names are distinct, needs stand before, and what trains trains on equally many tokens."""
    seen: set[str] = set()
    for cell in cells:
        assert cell.name not in seen
        assert set(cell.needs) <= seen
        seen.add(cell.name)
        if cell.tokens:
            tune = cell.work["settings"]["tune"]
            last = tune[-1] if isinstance(tune, list) else tune
            assert last["max_tokens"] == tokens
            assert not {"num_train_epochs", "max_steps", "max_time"} & set(last)
