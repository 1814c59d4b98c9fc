"""Generation speed against `transformers.generate` on the work `generate` (see work.py).

    python benchmarks/generate.py [--quick] [--json] [--peer-python .venv-bench/bin/python]

64 prompts, 64 tokens after each, greedy, a 15 M-parameter Llama. regimen runs in the type that the
machine multiplies faster, and once in fp32; the peer's grid has both. A full run tries the peer's
whole grid once, runs the fastest entry again in turns with regimen and the defaults, and writes
benchmarks/results/generate.json. In fp32 both sides must give the same ids.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from processes import Run
from regimen import console
from result import machine
from sides import BLOCKS_KEPT, Sides, best_of, carry_out_beside
from turns import speed
from work import MAX_LENGTH, NEW_TOKENS, PROMPTS, draw_rows, write

NAME = "generate"
DEFAULTS = "defaults"
GRID: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    DEFAULTS: ({"batch": 1}, {}),
    "batch 64": ({"batch": 64}, {}),
    "batch 64, blocks kept": ({"batch": 64}, BLOCKS_KEPT),
    "batch 64, eager attention": ({"batch": 64, "attn_implementation": "eager"}, {}),
    "batch 64, static cache": ({"batch": 64, "cache_implementation": "static"}, {}),
    "batch 64, bf16": ({"batch": 64, "dtype": "bfloat16"}, {}),
    "batch 64, bf16, blocks kept": ({"batch": 64, "dtype": "bfloat16"}, BLOCKS_KEPT),
    "batch 64, bf16, static cache": (
        {"batch": 64, "dtype": "bfloat16", "cache_implementation": "static"},
        BLOCKS_KEPT,
    ),
    "batch 32, by length": ({"batch": 32, "sorted": True}, {}),
    "batch 16, by length": ({"batch": 16, "sorted": True}, BLOCKS_KEPT),
}
"""Settings and environment of each of the peer's entries. One prompt at a time is what its pipeline
does by itself (`batch_size=1`)."""

SIDES = Sides(
    script="regimen_generate.py",
    peer_script="transformers_generate.py",
    grid=GRID,
    limit=600,
    unit="tokens",
    digits=0,
    answers="ids",
    asked="prompts",
)


def bench(peer: Path, work: Path, *, quick: bool, repeats: int) -> dict[str, Any]:
    """Measure, check, and put together the result."""
    found = machine()
    rows = draw_rows(PROMPTS)
    write(work, rows)
    rounds = 2 if quick else 4
    theirs, failures = SIDES.tried(peer, work, [DEFAULTS, "batch 64"] if quick else GRID)
    best = best_of(theirs, DEFAULTS)
    ours: list[Run] = []
    for entry in (best, DEFAULTS):
        theirs[entry] = []
    for _ in range(1 if quick else repeats):
        for entry in (best, DEFAULTS):
            ours.append(SIDES.ours(work, "as shipped", rounds))
            theirs[entry].append(SIDES.theirs(peer, work, entry))
    exact = SIDES.ours(work, "fp32", rounds)
    alike = SIDES.alike(ours[0], exact, theirs)
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
        "rows": SIDES.rows(NAME, ours, exact, theirs, alike, failures),
        "ratios": {
            "generate_vs_best": speed(ours) / speed(theirs[best]),
            "generate_vs_defaults": speed(ours) / speed(theirs[DEFAULTS]),
        },
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
    return carry_out_beside(argv, bench, show)


if __name__ == "__main__":
    sys.exit(main())
