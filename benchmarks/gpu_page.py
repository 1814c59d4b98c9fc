"""The part of docs/benchmarks.md about an accelerator."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from gpu_cells import CELLS
from gpu_shapes import SHAPES
from markdown_table import table

WORDS = (
    "`benchmarks/gpu.py`: a process for each line, weights drawn, the first steps not counted. "
    "Tokens are those that are no padding; of pairs and groups a prompt counts with each answer. "
    "GiB are the peak that the allocator handed out during training; `beyond` is that less the "
    "weights, gradients and optimizer state (of the head: less its inputs). Utilisation is the "
    "matrix arithmetic that a step needs over its time, as a share of a product of two matrices of "
    "8,192 by 8,192 in bf16, timed in the same process after its steps; `scaled` is at 790 TFLOP/s "
    "of that product. A `vs` is the peer's time over regimen's, of the fastest of a peer's lines; "
    "a `share` is regimen's memory over the peer's. TRL reads a pack as one text, as it does "
    "without FlashAttention, where regimen keeps documents apart. First losses that differ by over "
    "2% void a line."
)


def gpu_section(result: Mapping[str, Any]) -> str:
    """Where it ran, what was to be reached, all ratios, and a table for each cell."""
    machine, device = result["machine"], result["machine"].get("device", {})
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    where = f"{device.get('name', 'CPU')}"
    if "memory_gib" in device:
        where += f" with {device['memory_gib']} GiB, CUDA {device['cuda']}"
    rate = result["matmul_tflops"]
    measured = "" if rate is None else f" Product: {rate['median']:,.1f} TFLOP/s, median."
    told = f"{where}; {machine['cpu']}, {machine['cores']} cores.{measured} {versions}."
    lines = [
        f"\n## {result['name']}\n",
        *textwrap.wrap(told, 100),
        "",
        *textwrap.wrap(WORDS, 100, break_on_hyphens=False),
        "",
        *table(("to reach", "at", "bound", "value", ""), _targets(result)),
        "",
        *table(("ratio", "value"), [(k, f"{v:,.2f}") for k, v in result["ratios"].items()]),
    ]
    for name, cell in CELLS.items():
        rows = [row for row in result["rows"] if row["work"] == name]
        if rows:
            lines += ["", f"### {name}", "", *textwrap.wrap(f"{cell.about}. {_shape(cell)}", 100)]
            lines += ["", *_lines(rows)]
    return "\n".join(lines) + "\n"


def _targets(result: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            name,
            kept["at"],
            f"{kept['bound']:,g}",
            f"{kept['value']:,.2f}",
            "reached" if kept["reached"] else "missed",
        )
        for name, kept in result["targets"].items()
    ]


def _shape(cell: Any) -> str:
    """The model and what of it is trained, in words."""
    shape = SHAPES[cell.shape]
    if cell.kind == "head":
        return f"Width {shape['hidden_size']:,}."
    trained = {"generate": "nothing"}.get(cell.kind, "LoRA of rank 16" if cell.lora else "all")
    return (
        f"{shape['num_hidden_layers']} layers of width {shape['hidden_size']:,}, vocabulary "
        f"{shape['vocab_size']:,}; {trained} trained, weights in {cell.dtype}; {cell.per_step} "
        f"{'prompts' if cell.kind == 'generate' else 'rows, packs, pairs or prompts'} a step."
    )


def _lines(rows: list[Mapping[str, Any]]) -> list[str]:
    """The lines of a cell, and why others are missing."""
    body = [
        (
            row["configuration"],
            f"{row['tokens_per_second']['median']:,.0f}",
            f"{row['memory_gib']['median']:,.2f}",
            f"{row['beyond_gib']:,.2f}",
            "" if row["utilisation"] is None else f"{row['utilisation']:.0%}",
        )
        for row in rows
        if "failed" not in row
    ]
    found = table(("side", "tokens/s", "GiB", "beyond", "utilisation"), body)
    failed = [(row["configuration"], row["failed"][:60]) for row in rows if "failed" in row]
    return found + (["", "Did not run:", "", *table(("side", "why"), failed)] if failed else [])
