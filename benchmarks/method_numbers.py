"""Our numbers of every adapter, in docs/methods.md below its table.

What is measured stands in benchmarks/results; methods that differ in how they begin, or in rates,
alone have the speed and memory of the one that they share a forward pass with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapter_page import SPEED
from markdown_table import table
from regimen.files import atomic_write

START, END = "<!-- adapters: numbers -->", "<!-- adapters: end -->"
ROWS: tuple[tuple[str, str, str], ...] = (
    ("Full tuning", "full tuning", "full"),
    ("LoRA on all linear layers", "lora", "lora"),
    ("LoRA with dropout 0.05", "lora, dropout 0.05", ""),
    ("LoRA on attention alone", "lora, attention", "lora-attention"),
    ("PiSSA; OLoRA, EVA, LoftQ, rank-stabilised LoRA, LoRA+ compute the same", "lora", "pissa"),
    ("DoRA", "dora", "dora"),
    ("AdaLoRA", "adalora", ""),
    ("VeRA", "vera", ""),
    ("LoHa", "loha", ""),
    ("LoKr", "lokr", ""),
    ("OFT", "oft", ""),
    ("BOFT", "boft", ""),
    ("(IA)3", "ia3", "ia3"),
    ("LayerNorm tuning", "layer norms", ""),
    ("Prefix tuning", "prefix", "prefix"),
    ("Prompt tuning", "prompt", ""),
    ("P-tuning", "p-tuning", ""),
    ("Bottleneck adapters, parallel", "bottleneck, parallel", "bottleneck"),
    ("Bottleneck adapters, Houlsby", "bottleneck, houlsby", ""),
    ("Bottleneck adapters, Pfeiffer", "bottleneck, pfeiffer", ""),
    ("Freezing, two layers trained", "freeze, 2 layers", "last-layer"),
    ("LISA, two layers at a time", "lisa, 2 layers", ""),
    ("LoRA of rank 48 on NF4", "", "lora-nf4"),
)
"""Words, the name in adapter_speed.json, the name in the study."""


def numbers(speed: Mapping[str, Any], study: Mapping[str, Any]) -> str:
    """The section: a row for each method of which anything is measured."""
    fast = {row["kind"]: row for row in speed["rows"]}
    good = _learnt(study)
    body = []
    for words, kind, arm in ROWS:
        row, learnt = fast.get(kind), good.get(arm)
        if row is None and learnt is None:
            continue
        ratio = speed["ratios"].get(SPEED.format(kind), 1.0) if row else None
        body.append(
            (
                words,
                "" if ratio is None else f"{ratio:.2f}",
                "" if row is None else f"{row['memory_mib']['median']:,.0f}",
                *(("", "") if learnt is None else learnt),
            )
        )
    columns = ("method", "speed over full tuning", "MiB", "on the job", "elsewhere")
    told = (
        "Speed and memory beyond imports: `adapter_speed` in [Benchmarks](benchmarks.md). On the",
        "job and elsewhere: shares of right answers with 95% intervals after equally many tokens,",
        "each method at its best learning rate, from the study `adapters` in",
        "[Results of the studies](study-results.md), where ranks and sizes stand.",
    )
    return "\n".join(["## Adapters: our numbers", "", *told, "", *table(columns, body), ""])


def _learnt(study: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """The job and everything else by method, with the many rows of the job."""
    rows = study["rows"][0]["rows"]
    most = max(row[1] for row in rows)
    return {row[0]: (_share(row[3:6]), _share(row[6:9])) for row in rows if row[1] == most}


def _share(three: list[float]) -> str:
    middle, low, high = (100 * value for value in three)
    return f"{middle:.0f}% [{low:.0f}, {high:.0f}]"


def write_numbers(root: Path) -> None:
    """Put the section where its marks are in docs/methods.md, if both results are there."""
    found = {}
    for name in ("adapter_speed", "study_adapters"):
        file = root / "benchmarks" / "results" / f"{name}.json"
        if not file.is_file():
            return
        found[name] = json.loads(file.read_text(encoding="utf-8"))
    target = root / "docs" / "methods.md"
    before, _, rest = target.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    made = numbers(found["adapter_speed"], found["study_adapters"])
    atomic_write(target, f"{before}{START}\n\n{made}\n{END}{after}")
