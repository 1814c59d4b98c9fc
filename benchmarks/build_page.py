"""The section of build.py's result in docs/benchmarks.md."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from markdown_table import table

SAID: Mapping[str, str] = {
    "bare": "jinja2 alone",
    "ours": "regimen: worker",
    "bare, one core": "jinja2 alone, one core",
    "ours, one core": "regimen: worker, one core",
    "map": "datasets.map, 2 processes",
    "columns": "regimen: to columns",
    "from Arrow": "regimen: Arrow to columns",
    "map, one core": "datasets.map, one core",
    "columns, one core": "regimen: to columns, one core",
    "map, batched": "datasets.map, batched, 2 processes",
    "whole line": "regimen: the whole line",
}
"""What the configurations are called on the page."""

TEXT = """
`benchmarks/build.py`: {rows:,} rows of each kind, three templates a kind; microseconds for a row,
prompt and answer, medians of {runs} processes. Short rows are a sentence; the others are passages:
with conditions and loops (middle), prompt and answer in one source with choices (joint), options
below the passage (options). jinja2 alone is `template.render` of its immutable sandbox in a
loop of one process. `TemplateWorker` renders in a second process, with limits of time and memory.
Its jobs are made before; both processes' time is in "CPU". `datasets.map` calls a function for each
row, starts its pool each time, and keeps its columns in memory; so does regimen, from rows as tasks
hold them, or from rows in Arrow memory. The last line also draws templates, keeps lineage, filters,
hashes and lays out all columns, with two workers that it starts. All texts are the same."""

BUILD = """
`regimen run` on {rows:,} rows of 20 task files with tables, options, three templates each:
{seconds:.0f} s, {reading_seconds:.0f} of them before the first worker starts;
{cpu_seconds:.0f} s of the processors; {instances_per_second:,.0f} instances a second. At its peak
the command with its {others} processes holds {tree_peak_mib:,.0f} MiB (proportional resident
memory, every half second), the first process alone {parent_peak_mib:,.0f} MiB. It writes
{megabytes:.0f} MB. `build_limit_time` is 6 minutes, `build_limit_memory` 3 GiB, over that."""


def build_section(result: Mapping[str, Any]) -> str:
    """Where it ran, the ratios, a line for each configuration, and the large build."""
    machine, built, kinds = result["machine"], result["build"], result["data"]["kinds"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, load before "
    where += f"{machine['load_before']}. {versions}."
    body = [
        (
            SAID[r["configuration"]],
            *(f"{r['microseconds'][kind]['median']:.1f}" for kind in kinds),
            f"{r['mean_microseconds']:.1f}",
            "" if r["mean_cpu_microseconds"] is None else f"{r['mean_cpu_microseconds']:.1f}",
        )
        for r in result["rows"]
    ]
    numbers = {**built, "others": built["processes"] - 1, "megabytes": built["bytes"] / 1e6}
    both = {**result["ratios"], **result["side_ratios"]}
    lines = [
        f"\n## {result['name']}\n",
        *textwrap.wrap(where, 100),
        "",
        *_filled(TEXT, rows=result["data"]["rows"], runs=result["rows"][0]["runs"]),
        "",
        *table(("ratio", "value"), [(name, f"{value:.2f}") for name, value in both.items()]),
        "",
        *table(("configuration", *kinds, "mean", "CPU"), body),
        "",
        *_filled(BUILD, **numbers),
    ]
    return "\n".join(lines) + "\n"


def _filled(text: str, **values: Any) -> list[str]:
    return textwrap.wrap(text.strip().format(**values), 100)
