"""The benchmark's modules, which import one another as scripts do, and made-up measurements."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = (
    "work",
    "works",
    "grid",
    "measure",
    "processes",
    "turns",
    "render",
    "result",
    "train",
    "regimen_sft",
    "regimen_eval",
    "generate",
    "evaluate_page",
    "evaluate_works",
    "evaluate",
    "head_page",
    "head",
)


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules by name."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name in NAMES:
            sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def raw() -> Callable[..., dict[str, Any]]:
    """Measurements of four steps of 100 tokens that take ``seconds`` each, after a slow first."""

    def made(seconds: float, grown: int, loss: float = 9.0, rows: str = "same") -> dict[str, Any]:
        ended = [10.0 + seconds * i for i in range(4)]
        steps = [
            {"ended": e, "cpu": e, "tokens": 100, "supervised": 40, "loss": loss} for e in ended
        ]
        found = {"steps": steps, "imported": 50, "peak": 50 + grown, "rows": rows}
        return found | {"versions": {"torch": "2"}, "threads": 2}

    return made
