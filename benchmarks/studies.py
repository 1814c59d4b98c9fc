"""The shipped studies, run whole: verdicts, intervals and minutes.

    python benchmarks/studies.py NAME [--run DIR] [--quick] [--json]

NAME is a recipe of recipes/studies. A full run writes benchmarks/results/study_NAME.json and
docs/study-results.md. With --run, the study is kept in DIR, where it goes on after an interruption;
its minutes are then those of all parts together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from command import carry_out, parser
from regimen import __version__, console
from regimen.errors import RunError
from result import machine
from study_page import ROOT, write_study_page

RECIPES = ROOT / "recipes" / "studies"
QUICK = ("study.seeds=1", "study.tokens=4000", "build.tasks=40", "build.held_out.max_tasks=10")
KEPT = ("kind", "question", "verdict", "seeds", "tokens", "claims", "knee", "curve", "half")


def bench(name: str, run: Path, *, quick: bool) -> dict[str, Any]:
    """Run the recipe and keep what its study.json says, without the figures.

    Raises:
        RunError: there is no such recipe, or the study failed before it had a verdict.
    """
    recipe = RECIPES / f"{name}.yaml"
    if not recipe.is_file():
        known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
        raise RunError(
            f"There is no recipe of a study called {name!r}.",
            slug="benchmark-recipe",
            expected=f"one of {known}",
        )
    where = machine()
    text = recipe.read_text(encoding="utf-8")
    small = QUICK if quick and "build:" in text else ()
    start_it = "from regimen.cli import main; main()"
    command = [sys.executable, "-c", start_it, "study", str(recipe), f"run={run}", *small]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, check=False)
    seconds = time.perf_counter() - start
    file = run / "study.json"
    if not file.is_file():
        raise RunError(
            "The study ended without a verdict.",
            slug="benchmark-study",
            got=f"exit status {done.returncode}",
            fix="Read its output above.",
        )
    body = json.loads(file.read_text(encoding="utf-8"))
    cells = body["cells"]
    return {
        "name": f"study_{name}",
        "versions": {
            "regimen": __version__,
            "torch": version("torch"),
            "transformers": version("transformers"),
        },
        "machine": where,
        "quick": quick,
        "recipe": text,
        "minutes": spent(run, seconds) / 60,
        "cells": {
            "all": len(cells),
            "failed": [cell["name"] for cell in cells if cell["state"] == "failed"],
        },
        **{key: body[key] for key in KEPT if key in body},
        "rows": body["tables"],
        "ratios": {},
    }


SPENT = "seconds.json"


def spent(run: Path, seconds: float) -> float:
    """The seconds of all parts of a study that was gone on with, this one among them."""
    file = run / SPENT
    before = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else 0.0
    file.write_text(json.dumps(before + seconds), encoding="utf-8")
    return float(before + seconds)


def show(result: Mapping[str, Any]) -> None:
    """The verdict and what it took."""
    console.line(f"{result['name']}: {result['verdict']} ({result['minutes']:.1f} minutes)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one study; the exit status."""
    made = parser("A shipped study, run whole.", quick="one seed, few tokens: no results")
    made.add_argument("name", help="a recipe of recipes/studies")
    made.add_argument("--run", type=Path, help="where the study is kept")
    options = made.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="study-") as folder:
        run = options.run or Path(folder)
        return carry_out(
            options,
            lambda: bench(options.name, run, quick=options.quick),
            show,
            lambda _: write_study_page(),
        )


if __name__ == "__main__":
    sys.exit(main())
