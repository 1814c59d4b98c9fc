"""The part of docs/benchmarks.md about the speed of adapters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown_table import table

SPEED = "{}_vs_full"


def adapter_section(result: Mapping[str, Any]) -> str:
    """What was measured and on what, and a line for each kind."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    body = [
        (
            row["kind"],
            f"{row['trainable']:,}",
            f"{row['tokens_per_second']['median']:,.0f}",
            f"{row['tokens_per_second']['low']:,.0f} to {row['tokens_per_second']['high']:,.0f}",
            f"{result['ratios'].get(SPEED.format(row['kind']), 1.0):.2f}",
            f"{row['memory_mib']['median']:,.0f}",
        )
        for row in result["rows"]
    ]
    columns = ("kind", "trained parameters", "tokens/s", "runs", "over full tuning", "MiB")
    runs = result["rows"][0]["runs"]
    lines = [
        f"\n## {result['name']}\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,",
        f"{machine['threads']} threads. {versions}.",
        "",
        "`benchmarks/adapter_speed.py`: every kind of adapter with its default settings against",
        f"full tuning, on the model and the rows of `sft_full`; medians of {runs}, in turns.",
        "",
        *table(columns, body),
    ]
    return "\n".join(lines) + "\n"
