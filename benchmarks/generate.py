"""Generation speed against `transformers.generate` on the work `generate` (see work.py).

    python benchmarks/generate.py [--quick] [--json] [--peer-python .venv-bench/bin/python]

64 prompts, 64 tokens after each, greedy, a 15 M-parameter Llama. regimen runs in the type that the
machine multiplies faster, and once in fp32; the peer's grid has both. A full run tries the peer's
whole grid once, runs the fastest entry again in turns with regimen and the defaults, and writes
benchmarks/results/generate.json. In fp32 both sides must give the same ids.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ending import conclude, require_peers
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RegimenError, RunError
from render import write_page
from train import arguments, machine
from work import MAX_LENGTH, NEW_TOKENS, PROMPTS, draw_rows, write

NAME = "generate"
DEFAULTS = "defaults"
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}

GRID: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    DEFAULTS: ({"batch": 1}, {}),
    "batch 64": ({"batch": 64}, {}),
    "batch 64, blocks kept": ({"batch": 64}, _MALLOC),
    "batch 64, eager attention": ({"batch": 64, "attn_implementation": "eager"}, {}),
    "batch 64, static cache": ({"batch": 64, "cache_implementation": "static"}, {}),
    "batch 64, bf16": ({"batch": 64, "dtype": "bfloat16"}, {}),
    "batch 64, bf16, blocks kept": ({"batch": 64, "dtype": "bfloat16"}, _MALLOC),
    "batch 64, bf16, static cache": (
        {"batch": 64, "dtype": "bfloat16", "cache_implementation": "static"},
        _MALLOC,
    ),
    "batch 32, by length": ({"batch": 32, "sorted": True}, {}),
    "batch 16, by length": ({"batch": 16, "sorted": True}, _MALLOC),
}
"""Settings and environment of each of the peer's entries. One prompt at a time is what its pipeline
does by itself (`batch_size=1`)."""

ALIKE = 0.9
"""Share of rows with the same ids that fp32 runs must reach: near-ties may fall either way."""


OURS: dict[str, dict[str, Any]] = {"as shipped": {}, "fp32": {"fp32": True}}
"""regimen's entries. The second shows that both sides compute the same, and is timed once."""


def one(python: str, script: str, work: Path, entry: str, rounds: int, limit: float) -> Run:
    """One process of one side.

    Raises:
        RunError: it failed.
    """
    settings, environment = GRID[entry] if entry in GRID else (OURS[entry], {})
    command = [python, str(HERE / script)]
    done = run(command, work, settings | {"rounds": rounds}, environment, warm=1, limit=limit)
    if isinstance(done, Failure):
        raise RunError(f"{entry} failed.", slug="benchmark-failed", got=done.reason)
    who = "regimen, " if entry in OURS else ""
    console.line(f"  {who}{entry}: {done.tokens_per_second:,.0f} tokens/s")
    return done


def same_ids(ours: Run, theirs: Run) -> float:
    """Share of prompts that both sides continue alike."""
    pairs = zip(ours.raw["ids"], theirs.raw["ids"], strict=True)
    return statistics.mean(a == b for a, b in pairs)


def bench(peer: Path, work: Path, *, quick: bool, repeats: int) -> dict[str, Any]:
    """Measure, check, and put together the result."""
    found = machine()
    rows = draw_rows(PROMPTS)
    write(work, rows)
    rounds = 2 if quick else 4
    theirs: dict[str, list[Run]] = {}
    failures: dict[str, str] = {}
    script, mine = "peers/transformers_generate.py", "regimen_generate.py"
    for entry in [DEFAULTS, "batch 64"] if quick else GRID:
        try:
            theirs[entry] = [one(str(peer), script, work, entry, 2, 600)]
        except RunError as problem:
            failures[entry] = str(problem.got)
    best = max((e for e in theirs if e != DEFAULTS), key=lambda e: _speed(theirs[e]))
    ours: list[Run] = []
    for entry in (best, DEFAULTS):
        theirs[entry] = []
    for _ in range(1 if quick else repeats):
        for entry in (best, DEFAULTS):
            ours.append(one(sys.executable, mine, work, "as shipped", rounds, 600))
            theirs[entry].append(one(str(peer), script, work, entry, 2, 600))
    exact = one(sys.executable, mine, work, "fp32", rounds, 600)
    alike = {
        entry: same_ids(ours[0] if "bf16" in entry else exact, runs[0])
        for entry, runs in theirs.items()
    }
    for entry in theirs:
        if "bf16" not in entry and alike[entry] < ALIKE:
            raise RunError(
                "The two sides do not give the same ids.",
                slug="benchmark-unequal",
                got=f"{entry}: {alike[entry]:.0%} of the prompts alike",
            )
    return {
        "name": NAME,
        "versions": theirs[best][0].raw["versions"] | ours[0].raw["versions"],
        "machine": found | {"threads": ours[0].raw["threads"]},
        "quick": quick,
        "data": {
            "prompts": PROMPTS,
            "new_tokens": NEW_TOKENS,
            "max_length": MAX_LENGTH,
            "mean_length": float(rows.prompts.mean()),
        },
        "best": best,
        "rows": [
            row("regimen", "as shipped", ours, None),
            row("regimen", "fp32", [exact], None),
            *(
                row("transformers", entry, runs, alike[entry])
                for entry, runs in sorted(theirs.items(), key=lambda pair: -_speed(pair[1]))
            ),
            *(
                {"side": "transformers", "configuration": entry, "failed": reason}
                for entry, reason in failures.items()
            ),
        ],
        "ratios": {
            "generate_vs_best": _speed(ours) / _speed(theirs[best]),
            "generate_vs_defaults": _speed(ours) / _speed(theirs[DEFAULTS]),
        },
    }


def _speed(runs: Sequence[Run]) -> float:
    return statistics.median(run.tokens_per_second for run in runs)


def row(side: str, configuration: str, runs: Sequence[Run], alike: float | None) -> dict[str, Any]:
    """One line of the result: a configuration and its runs."""
    settings, environment = GRID.get(configuration, (OURS.get(configuration, {}), {}))
    return {
        "work": NAME,
        "side": side,
        "configuration": configuration,
        "settings": settings,
        "environment": environment,
        "runs": len(runs),
        "tokens_per_second": spread([r.tokens_per_second for r in runs]),
        "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
        "same_ids": alike,
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as two tables."""
    body = [
        (
            f"{r['side']}, {r['configuration']}",
            f"{r['tokens_per_second']['median']:,.0f}",
            f"{r['memory_mib']['median']:,.0f}",
            "" if r["same_ids"] is None else f"{r['same_ids']:.0%}",
            r["runs"],
        )
        for r in result["rows"]
        if "failed" not in r
    ]
    console.table(NAME, ("configuration", "tokens/s", "MiB", "same ids", "runs"), body)
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
