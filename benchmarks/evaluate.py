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

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ending import conclude, require_peers
from evaluate_works import WORKS
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RegimenError, RunError
from render import write_page
from train import arguments, machine

NAME = "evaluate"
LOOP = "loop"
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
GRID: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    LOOP: ({"batch": 1}, {}),
    "batch 32": ({"batch": 32}, {}),
    "batch 16, by length": ({"batch": 16, "sorted": True}, {}),
    "batch 32, by length": ({"batch": 32, "sorted": True}, {}),
    "batch 32, by length, blocks kept": ({"batch": 32, "sorted": True}, _MALLOC),
    "batch 64, by length": ({"batch": 64, "sorted": True}, {}),
    "batch 64, by length, blocks kept": ({"batch": 64, "sorted": True}, _MALLOC),
    "batch 32, by length, bf16": ({"batch": 32, "sorted": True, "dtype": "bfloat16"}, _MALLOC),
    "batch 64, by length, bf16": ({"batch": 64, "sorted": True, "dtype": "bfloat16"}, _MALLOC),
    "batch 32, by length, static cache": (
        {"batch": 32, "sorted": True, "cache_implementation": "static"},
        _MALLOC,
    ),
}
"""Settings and environment of each of the peer's entries."""
QUICK = (LOOP, "batch 32, by length")
OURS: dict[str, dict[str, Any]] = {"as shipped": {}, "fp32": {"fp32": True}}
ALIKE = 0.9
"""Share of equal answers that fp32 runs must reach: near-ties may fall either way."""


def one(python: str, script: str, work: Path, entry: str, rounds: int) -> Run:
    """One process of one side.

    Raises:
        RunError: it failed.
    """
    settings, environment = GRID[entry] if entry in GRID else (OURS[entry], {})
    command = [python, str(HERE / script)]
    done = run(command, work, settings | {"rounds": rounds}, environment, warm=1, limit=900)
    if isinstance(done, Failure):
        raise RunError(f"{entry} failed.", slug="benchmark-failed", got=done.reason)
    who = "regimen, " if entry in OURS else ""
    console.line(f"  {who}{entry}: {done.tokens_per_second:,.1f} items/s")
    return done


def alike(one_run: Run, other: Run) -> float:
    """Share of items that two runs answer alike."""
    pairs = zip(one_run.raw["answers"], other.raw["answers"], strict=True)
    return statistics.mean(a.strip() == b.strip() for a, b in pairs)


def measure(
    name: str, peer: Path, work: Path, *, quick: bool, repeats: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The rows and ratios of one work.

    Raises:
        RunError: a side failed, or the answers differ.
    """
    theirs, mine = "peers/transformers_evaluate.py", "regimen_evaluate.py"
    grid: dict[str, list[Run]] = {}
    failures: dict[str, str] = {}
    for entry in QUICK if quick else GRID:
        try:
            grid[entry] = [one(str(peer), theirs, work, entry, 2)]
        except RunError as problem:
            failures[entry] = str(problem.got)
    if LOOP not in grid or len(grid) < 2:
        got = "; ".join(failures.values())
        raise RunError("The peer's entries failed.", slug="benchmark-failed", got=got)
    best = max((e for e in grid if e != LOOP), key=lambda e: _speed(grid[e]))
    ours: list[Run] = []
    for turn in range(1 if quick else repeats):
        ours.append(one(sys.executable, mine, work, "as shipped", 3))
        for entry in () if quick else (best, LOOP):
            # the run that chose the entry is no measurement of it
            before = grid[entry] if turn else []
            grid[entry] = [*before, one(str(peer), theirs, work, entry, 2)]
    exact = one(sys.executable, mine, work, "fp32", 3)
    same = {e: alike(ours[0] if "bf16" in e else exact, runs[0]) for e, runs in grid.items()}
    for entry in grid:
        if "bf16" not in entry and same[entry] < ALIKE:
            raise RunError(
                "The two sides do not give the same answers.",
                slug="benchmark-unequal",
                got=f"{name}, {entry}: {same[entry]:.0%} of the answers alike",
            )
    found = [
        row(name, "regimen", "as shipped", ours, None),
        row(name, "regimen", "fp32", [exact], None),
        *(
            row(name, "transformers", entry, runs, same[entry])
            for entry, runs in sorted(grid.items(), key=lambda pair: -_speed(pair[1]))
        ),
        *(
            {"work": name, "side": "transformers", "configuration": entry, "failed": reason}
            for entry, reason in failures.items()
        ),
    ]
    ratios = {"loop": _speed(ours) / _speed(grid[LOOP]), "best": _speed(ours) / _speed(grid[best])}
    return found, ratios


def bench(peer: Path, folder: Path, *, quick: bool, repeats: int) -> dict[str, Any]:
    """Measure all works and put together the result."""
    where, rows, ratios = machine(), [], {}
    for name, write in WORKS.items():
        console.line(name)
        work = folder / name
        work.mkdir()
        write(work, quick=quick)
        found, own = measure(name, peer, work, quick=quick, repeats=repeats)
        rows += found
        ratios |= {f"evaluate_{name}_vs_{side}": value for side, value in own.items()}
    # the headline is the work that a user runs: items and a model that was tuned
    ratios = {"evaluate_vs_generate": ratios["evaluate_tuned_vs_loop"], **ratios}
    return {
        "name": NAME,
        "versions": rows[2]["versions"] | rows[0]["versions"],
        "machine": where | {"threads": rows[0]["threads"]},
        "quick": quick,
        "rows": rows,
        "ratios": ratios,
    }


def _speed(runs: Sequence[Run]) -> float:
    return statistics.median(run.tokens_per_second for run in runs)


def row(
    work: str, side: str, configuration: str, runs: Sequence[Run], same: float | None
) -> dict[str, Any]:
    """One line of the result: a configuration and its runs."""
    settings, environment = GRID.get(configuration, (OURS.get(configuration, {}), {}))
    return {
        "work": work,
        "side": side,
        "configuration": configuration,
        "settings": settings,
        "environment": environment,
        "runs": len(runs),
        "items_per_second": spread([r.tokens_per_second for r in runs]),
        "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
        "same_answers": same,
        "versions": runs[0].raw["versions"],
        "threads": runs[0].raw["threads"],
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
    options = arguments(argv)
    try:
        require_peers(options.peer_python)
        with tempfile.TemporaryDirectory() as directory:
            result = bench(
                options.peer_python,
                Path(directory),
                quick=options.quick,
                repeats=options.repeats or 3,
            )
    except RegimenError as problem:
        console.error(problem)
        return 1
    show(result)
    return conclude(NAME, result, options, write_page)


if __name__ == "__main__":
    sys.exit(main())
