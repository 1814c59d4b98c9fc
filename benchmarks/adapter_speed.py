"""Speed and memory of every kind of adapter against full tuning of the same model.

    python benchmarks/adapter_speed.py [--quick] [--json] [--kinds "boft; prompt"]

The rows and the model of the work `sft_full` (works.py), in processes that take turns: full
tuning, then each kind, again and again. A full run writes benchmarks/results/adapter_speed.json;
one of some kinds measures full tuning beside them, and puts their rows into what is there.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapter_page import SPEED
from command import carry_out, parser
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RunError
from render import write_page
from result import machine
from work import draw_rows, write
from works import WORKS

NAME = "adapter_speed"
FULL = "full tuning"
KINDS: Mapping[str, dict[str, Any]] = {
    FULL: {},
    "lora": {"kind": "lora"},
    "lora, dropout 0.05": {"kind": "lora", "dropout": 0.05},
    "lora, attention": {"kind": "lora", "target_modules": "attention"},
    "dora": {"kind": "lora", "use_dora": True},
    "adalora": {"kind": "adalora"},
    "vera": {"kind": "vera"},
    "loha": {"kind": "loha"},
    "lokr": {"kind": "lokr"},
    "oft": {"kind": "oft"},
    "boft": {"kind": "boft"},
    "ia3": {"kind": "ia3"},
    "layer norms": {"kind": "layernorm"},
    "prefix": {"kind": "prefix"},
    "prompt": {"kind": "prompt"},
    "p-tuning": {"kind": "p_tuning"},
    "bottleneck, parallel": {"kind": "bottleneck", "placement": "parallel"},
    "bottleneck, houlsby": {"kind": "bottleneck", "placement": "houlsby"},
    "bottleneck, pfeiffer": {"kind": "bottleneck", "placement": "pfeiffer"},
    "freeze, 2 layers": {"kind": "freeze", "layers": 2},
    "lisa, 2 layers": {"kind": "lisa", "layers": 2},
}
QUICK = (FULL, "lora", "lora, dropout 0.05")
FEW, MANY = 2, 4
"""Micro-batches of a step: each entry has those that it is faster with, as found in the first
turn of a full run."""
STEPS, WARM, TURNS = 8, 2, 3
MIB = 1 << 20


def one(files: Path, name: str, batches: int, steps: int, warm: int) -> Run:
    """One process.

    Raises:
        RunError: it failed.
    """
    settings = {"adapter": KINDS[name], "max_steps": steps, "batches_per_step": batches}
    command = [sys.executable, str(HERE / "regimen_sft.py")]
    done = run(command, files, settings, {}, warm=warm, limit=600)
    if isinstance(done, Failure):
        raise RunError(f"{name} failed.", slug="benchmark-failed", got=done.reason)
    console.line(f"  {name}, {batches} batches: {done.tokens_per_second:,.0f} tokens/s")
    return done


def bench(names: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """Measure in turns, and put together the result."""
    where, work = machine(), WORKS["sft_full"]
    steps, warm, turns = (3, 1, 1) if quick else (STEPS, WARM, TURNS)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    chosen = dict.fromkeys(names, MANY)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        rows = draw_rows(work.rows_per_step * steps)
        write(files, rows, work.model, work.facts)
        if not quick:
            for name in names:
                tried = {n: one(files, name, n, steps, warm) for n in (FEW, MANY)}
                chosen[name] = max(tried, key=lambda n: tried[n].tokens_per_second)
        for _ in range(turns):
            for name in names:
                runs[name].append(one(files, name, chosen[name], steps, warm))
    full = statistics.median(run.tokens_per_second for run in runs[FULL])
    speeds = {n: statistics.median(r.tokens_per_second for r in some) for n, some in runs.items()}
    raw = runs[FULL][0].raw
    return {
        "name": NAME,
        "versions": raw["versions"],
        "machine": where | {"threads": raw["threads"]},
        "quick": quick,
        "rows": [
            {
                "kind": name,
                "adapter": KINDS[name],
                "batches_per_step": chosen[name],
                "trainable": some[0].raw["trainable"],
                "tokens_per_second": spread([run.tokens_per_second for run in some]),
                "memory_mib": spread([run.grown_bytes / MIB for run in some]),
                "runs": len(some),
                "full_tokens_per_second": full,
            }
            for name, some in runs.items()
        ],
        "ratios": {
            SPEED.format(name): speed / full for name, speed in speeds.items() if name != FULL
        },
    }


def added(result: Mapping[str, Any], file: Path) -> Mapping[str, Any]:
    """A result of some kinds in the place of theirs in a kept one; as it is where none is kept.

    Each row has the speed of full tuning that was measured beside it.
    """
    if not file.is_file():
        return result
    kept = json.loads(file.read_text(encoding="utf-8"))
    new = {row["kind"]: row for row in result["rows"] if row["kind"] != FULL}
    old = {row["kind"]: row for row in kept["rows"]}
    rows = {**old, **new}
    order = [name for name in KINDS if name in rows]
    return {
        **kept,
        "rows": [rows[name] for name in order],
        "ratios": {**kept["ratios"], **result["ratios"]},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as a table."""
    body = [
        (
            row["kind"],
            f"{row['trainable']:,}",
            f"{row['tokens_per_second']['median']:,.0f}",
            f"{result['ratios'].get(SPEED.format(row['kind']), 1.0):.2f}",
            f"{row['memory_mib']['median']:,.0f}",
        )
        for row in result["rows"]
    ]
    columns = ("kind", "trained parameters", "tokens/s", "over full tuning", "MiB")
    console.table(NAME, columns, body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    asked = parser("Speed of adapters against full tuning.", quick="LoRA alone, few steps")
    asked.add_argument("--kinds", default="", help="some kinds alone, with ';' between them")
    options = asked.parse_args(argv)
    some = [name.strip() for name in options.kinds.split(";") if name.strip()]
    if unknown := [name for name in some if name not in KINDS]:
        asked.error(f"no kind is called {', '.join(unknown)}; there are {'; '.join(KINDS)}")
    names = (FULL, *some) if some else QUICK if options.quick else tuple(KINDS)

    def measure() -> Mapping[str, Any]:
        found = bench(names, quick=options.quick)
        return added(found, HERE / "results" / f"{NAME}.json") if some else found

    return carry_out(options, measure, show, lambda _: write_page())


if __name__ == "__main__":
    sys.exit(main())
