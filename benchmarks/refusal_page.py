"""The table of docs/scorers.md from benchmarks/results/refusal.json."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markdown_table import table
from regimen.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "scorers.md"
COLUMNS = ("Answers of", "Called by", "Precision", "Recall", "Of full", "Of partial", "κ")
MODELS = {"mistralguard": "first", "mistralinstruct": "second, kept back", "both": "both"}
CALLS = {"rules": "rules", "gpt4": "GPT-4"}


def refusal_table(result: Mapping[str, Any]) -> str:
    """Rates with their intervals, and agreement beyond chance with the label of people."""
    keys = ("precision", "recall", "recall_full", "recall_partial")
    rows = [
        (
            MODELS[block["file"]],
            call,
            *(_cell(block[name][key]) for key in keys),
            f"{block[name]['kappa']:.2f}",
        )
        for block in result["rows"]
        for name, call in CALLS.items()
    ]
    both = result["rows"][-1]
    people = (
        f"Two people agree with κ {both['people']['kappa']:.2f}. {_error(both, 'over_refusal')} "
        f"{_error(both, 'compliance')}"
    )
    people = "\n".join(textwrap.wrap(people, 100))
    return "\n".join([*table(COLUMNS, rows), "", people, ""])


def _cell(of: Mapping[str, float]) -> str:
    return f"{of['rate']:.2f} [{of['low']:.2f}, {of['high']:.2f}]"


def _error(block: Mapping[str, Any], rate: str) -> str:
    of = block["rules"][rate]
    what = {
        "over_refusal": "Refused safe prompts",
        "compliance": "Answered unsafe prompts",
    }[rate]
    return (
        f"{what}: {of['people']:.1%} by people, {of['call']:.1%} by the rules, a difference of "
        f"{100 * of['difference']:+.1f} points [{100 * of['low']:+.1f}, {100 * of['high']:+.1f}]."
    )


def with_table(page: str, result: Mapping[str, Any]) -> str:
    """The page with the table, and the lines below it, of this result."""
    start = page.index(f"| {COLUMNS[0]}")
    end = page.index("A lecture that then helps")
    return f"{page[:start]}{refusal_table(result)}\n{page[end:]}"


def write_refusal_table(result: Mapping[str, Any]) -> None:
    """Write it into the page."""
    atomic_write(TARGET, with_table(TARGET.read_text(encoding="utf-8"), result))
