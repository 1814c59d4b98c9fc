"""The part of docs/benchmarks.md about plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown_table import table

EXPECTED = "plan_expected_off_by"
BUDGET = "plan_peaks_above_budget"


def plan_section(result: Mapping[str, Any]) -> str:
    """What was measured and on what, and a line for each configuration."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    body = [
        (
            row["name"],
            f"{row['tokens_per_batch']:,}",
            f"{row['expected_mib']:,.0f}",
            f"{row['measured_mib']:,.0f}",
            f"{row['error']:+.1%}",
            f"{row['budget_mib']:,.0f}",
            f"{row['chosen_peak_mib']:,.0f}",
            row["chosen"],
        )
        for row in result["rows"]
    ]
    columns = ("configuration", "tokens", "expected", "measured", "off", "budget", "peak", "chosen")
    ratios = result["ratios"]
    lines = [
        f"\n## {result['name']}\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB. {versions}.",
        "",
        "`benchmarks/plan.py`: what `regimen plan` expects of a training's peak memory beyond",
        "imports, from models of 2 and 4 layers, against that of a fresh process with the whole",
        "model, in MiB; then a search with a budget for the process, and its peak with what the",
        "search chose. The budget is 80% of what was measured beyond imports. Other optimizers,",
        "types and bases are allowed where nothing keeps to it without; where nothing does, the",
        f"smallest that the error names is asked for. Off by {ratios[EXPECTED]:.1%} at most, "
        f"{ratios[EXPECTED + ' (median)']:.1%} in the middle;",
        f"above its budget: {ratios[BUDGET]:.0f} of {len(result['rows'])}.",
        "",
        *table(columns, body),
    ]
    return "\n".join(lines) + "\n"
