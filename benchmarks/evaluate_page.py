"""The part of docs/benchmarks.md about evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown_table import table


def evaluate_section(result: Mapping[str, Any]) -> str:
    """What was measured and on what, the ratios, a table for each work."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        f"\n## {result['name']}\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,",
        f"{machine['threads']} threads, load before {machine['load_before']}.",
        f"{versions}.",
        "",
        "Items rendered, answered greedily and scored, against a loop over `transformers.generate`",
        "(`loop`: item by item) and its fastest grid of batches (`best`). `tuned`: held-out items",
        "of the demo, its base tuned; `random`: a 15 M-parameter model, every answer is cut at 32",
        "tokens; `shots`: the same with two demonstrations of 300 words before each question.",
        "",
        *table(
            ("ratio", "value"), [(key, f"{value:.2f}") for key, value in result["ratios"].items()]
        ),
    ]
    for work in dict.fromkeys(row["work"] for row in result["rows"]):
        own = [row for row in result["rows"] if row["work"] == work]
        body = [_cells(row) for row in own if "failed" not in row]
        columns = ("configuration", "items/s", "range", "MiB", "runs", "same answers")
        lines += ["", f"`{work}`:", "", *table(columns, body)]
        failed = [(row["configuration"], row["failed"][:52]) for row in own if "failed" in row]
        if failed:
            lines += ["", "Did not run:", "", *table(("configuration", "why"), failed)]
    return "\n".join(lines) + "\n"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    speed, memory, same = row["items_per_second"], row["memory_mib"], row["same_answers"]
    who = row["side"] if row["configuration"] == "as shipped" else row["configuration"]
    return (
        f"regimen, {who}" if row["side"] == "regimen" and who != "regimen" else who,
        f"{speed['median']:,.1f}",
        f"{speed['low']:,.1f}-{speed['high']:,.1f}",
        f"{memory['median']:,.0f}",
        str(row["runs"]),
        "" if same is None else f"{same:.0%}",
    )
