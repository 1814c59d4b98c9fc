"""The benchmark's modules, which import one another as scripts do, and made-up measurements."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


class Modules(SimpleNamespace):
    """The benchmark's modules by name, each imported when a test first asks for it."""

    def __getattr__(self, name: str) -> ModuleType:
        if not (FOLDER / f"{name}.py").is_file():
            raise AttributeError(f"the benchmarks have no module {name!r}")
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules by name; they leave with those that they import."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    try:
        yield Modules()
    finally:
        sys.path.remove(str(FOLDER))
        for name in set(sys.modules) - before:
            if (FOLDER / f"{name}.py").is_file():
                del sys.modules[name]


@pytest.fixture(scope="session")
def committed() -> Callable[[str], dict[str, Any]]:
    """The committed result of a benchmark, by its name."""

    def read(name: str) -> dict[str, Any]:
        found = json.loads((FOLDER / "results" / f"{name}.json").read_text(encoding="utf-8"))
        return dict(found)

    return read


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
