"""Evaluation speed against a loop over `transformers.generate`, on the works of evaluate_works.py.

    python benchmarks/evaluate.py [--quick] [--json] [--peer-python .venv-bench/bin/python]

Both sides render the same items with the same chat template, answer them greedily with the same
stop ids and the same most new tokens, and score the answers; regimen besides computes ROUGE-L and
intervals. The peer is asked item by item, as a first script does, and in a grid of batches. A full
run tries the grid once, then lets the loop, the fastest entry and regimen take turns, and writes
benchmarks/results/evaluate.json; a quick run has fewer items and no turns. In fp32 both sides must
give the same answers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluate_works import WORKS
from processes import Run
from regimen import console
from regimen.errors import RunError
from result import machine
from sides import BLOCKS_KEPT, Sides, best_of, carry_out_beside
from turns import speed

NAME = "evaluate"
LOOP = "loop"
GRID: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    LOOP: ({"batch": 1}, {}),
    "batch 32": ({"batch": 32}, {}),
    "batch 16, by length": ({"batch": 16, "sorted": True}, {}),
    "batch 32, by length": ({"batch": 32, "sorted": True}, {}),
    "batch 32, by length, blocks kept": ({"batch": 32, "sorted": True}, BLOCKS_KEPT),
    "batch 64, by length": ({"batch": 64, "sorted": True}, {}),
    "batch 64, by length, blocks kept": ({"batch": 64, "sorted": True}, BLOCKS_KEPT),
    "batch 32, by length, bf16": ({"batch": 32, "sorted": True, "dtype": "bfloat16"}, BLOCKS_KEPT),
    "batch 64, by length, bf16": ({"batch": 64, "sorted": True, "dtype": "bfloat16"}, BLOCKS_KEPT),
    "batch 32, by length, static cache": (
        {"batch": 32, "sorted": True, "cache_implementation": "static"},
        BLOCKS_KEPT,
    ),
}
"""Settings and environment of each of the peer's entries."""
QUICK = (LOOP, "batch 32, by length")
SIDES = Sides(
    script="regimen_evaluate.py",
    peer_script="transformers_evaluate.py",
    grid=GRID,
    limit=900,
    unit="items",
    digits=1,
    answers="answers",
    asked="answers",
    same=lambda a, b: a.strip() == b.strip(),
)
ROUNDS = 3


def measure(name: str, peer: Path, work: Path, *, quick: bool, repeats: int) -> dict[str, Any]:
    """Rows and ratios of one work, with the versions and threads of its processes.

    Raises:
        RunError: a side failed, or the answers differ.
    """
    theirs, failures = SIDES.tried(peer, work, QUICK if quick else GRID)
    if LOOP not in theirs or len(theirs) < 2:
        got = "; ".join(failures.values())
        raise RunError("The peer's entries failed.", slug="benchmark-failed", got=got)
    best = best_of(theirs, LOOP)
    ours: list[Run] = []
    for turn in range(1 if quick else repeats):
        ours.append(SIDES.ours(work, "as shipped", ROUNDS))
        for entry in () if quick else (best, LOOP):
            # the run that chose the entry is no measurement of it
            before = theirs[entry] if turn else []
            theirs[entry] = [*before, SIDES.theirs(peer, work, entry)]
    exact = SIDES.ours(work, "fp32", ROUNDS)
    alike = SIDES.alike(ours[0], exact, theirs, f"{name}, ")
    return {
        "rows": SIDES.rows(name, ours, exact, theirs, alike, failures),
        "ratios": {
            f"{NAME}_{name}_vs_loop": speed(ours) / speed(theirs[LOOP]),
            f"{NAME}_{name}_vs_best": speed(ours) / speed(theirs[best]),
        },
        "versions": theirs[best][0].raw["versions"] | ours[0].raw["versions"],
        "threads": ours[0].raw["threads"],
    }


def bench(peer: Path, folder: Path, *, quick: bool, repeats: int) -> dict[str, Any]:
    """Measure all works and put together the result."""
    where, parts = machine(), []
    for name, write in WORKS.items():
        console.line(name)
        work = folder / name
        work.mkdir()
        write(work, quick=quick)
        parts.append(measure(name, peer, work, quick=quick, repeats=repeats))
    ratios = {key: value for part in parts for key, value in part["ratios"].items()}
    return {
        "name": NAME,
        "versions": parts[0]["versions"],
        "machine": where | {"threads": parts[0]["threads"]},
        "quick": quick,
        "rows": [row for part in parts for row in part["rows"]],
        # the headline is the work that a user runs: items and a model that was tuned
        "ratios": {"evaluate_vs_generate": ratios["evaluate_tuned_vs_loop"], **ratios},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as two tables."""
    body = [
        (
            r["work"],
            f"{r['side']}, {r['configuration']}",
            f"{r['items_per_second']['median']:,.1f}",
            f"{r['memory_mib']['median']:,.0f}",
            "" if r["same_answers"] is None else f"{r['same_answers']:.0%}",
        )
        for r in result["rows"]
        if "failed" not in r
    ]
    console.table(NAME, ("work", "configuration", "items/s", "MiB", "same answers"), body)
    ratios = [(name, f"{value:.2f}") for name, value in result["ratios"].items()]
    console.table("peer over regimen", ("ratio", "value"), ratios)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    return carry_out_beside(argv, bench, show)


if __name__ == "__main__":
    sys.exit(main())
