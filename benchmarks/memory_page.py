"""The part of docs/benchmarks.md about the memory of large models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown_table import table


def memory_section(result: Mapping[str, Any]) -> str:
    """What was measured and on what, the ratios, and a line for each entry."""
    body = [
        (
            row["work"],
            row["side"],
            row["name"],
            row.get("failed") or f"{row['memory_mib']['median']:,.0f}",
            "" if "failed" in row else f"{row['tokens_per_second']['median']:,.1f}",
        )
        for row in result["rows"]
    ]
    lines = [
        f"\n## {result['name']}\n",
        *(line for work, on in result["works"].items() for line in _place(work, on)),
        "",
        "`benchmarks/memory.py`: peak resident memory of a fresh process beyond its imports, on",
        "the same rows, the longest of 1,024 tokens. `qlora_1b`: LoRA on a Llama of 1.1 billion",
        "drawn weights.",
        "`sft_full_135m`: all weights of the 135 M shape; the time is that of the same run.",
        "",
        *table(("ratio", "value"), [(k, f"{v:.2f}") for k, v in result["ratios"].items()]),
        "",
        *table(("work", "side", "entry", "MiB", "tokens/s"), body),
    ]
    return "\n".join(lines) + "\n"


def _place(work: str, on: Mapping[str, Any]) -> tuple[str, str]:
    machine = on["machine"]
    cpu, bf16 = machine["cpu"], "products" if machine["bf16"] else "no products"
    versions = ", ".join(f"{name} {number}" for name, number in on["versions"].items())
    return (
        f"`{work}`: {cpu}, {machine['cores']} cores, {machine['memory_gib']} GiB, {bf16} in",
        f"bf16; {versions}.",
    )
