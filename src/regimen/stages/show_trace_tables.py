"""What ``show RUN --trace ID`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen import console

LONGEST = 3_000
"""Characters of a turn."""
SHORT = 160
"""Characters of a text in a table, which cuts it to what fits."""


def print_item(found: Mapping[str, Any]) -> None:
    """Print an item: what it asks, what every system answered, and which training rows are near."""
    console.heading(f"item {found['id']} of suite {found['suite']}")
    _lineage(found["lineage"])
    _turns(found["prompt"])
    console.line(f"\naccepted: {' || '.join(found['references']) or '(no reference)'}")
    _contamination(found["contamination"])
    if found["answers"]:
        console.line()
        console.table(
            "answers",
            ["system", "score", "answer"],
            [
                [one["system"], _score(one["score"]), _short(one["answer"] or one["error"])]
                for one in found["answers"]
            ],
        )
    for one in found["judgements"]:
        said = f"{one['judge']} of {one['subject']}, {one['dimension']}: {one['value']}"
        console.line(f"judged by {said} {_short(one.get('reason'))}".rstrip())
    for side in dict.fromkeys(one["side"] for one in found["nearest"]):
        console.line()
        console.table(
            f"nearest training rows by {side}",
            ["similarity", "instance", "from", "task", "text"],
            [
                [
                    f"{one['similarity']:.2f}",
                    one["instance_id"],
                    _origin(one),
                    one["task"],
                    _short(one["text"]),
                ]
                for one in found["nearest"]
                if one["side"] == side
            ],
        )


def print_record(found: Mapping[str, Any]) -> None:
    """Print a training record: what it says, where it came from, and the items it is near."""
    console.heading(f"{found['kind']} {found['id']}")
    _lineage(found["lineage"])
    _turns(found["messages"])
    console.line()
    for one in found["ledger"]:
        why = " ".join(part for part in (one["reason"], one["detail"]) if part)
        steps = f"{one['stage']}: {one['verdict']} by {one['step']}"
        console.line(f"{steps} ({why})" if why else steps)
    if found["nearest_to"]:
        console.line()
        console.table(
            "among the nearest rows of these items",
            ["similarity", "side", "rank", "item", "suite", "prompt"],
            [
                [
                    f"{one['similarity']:.2f}",
                    one["side"],
                    one["rank"],
                    one["item_id"],
                    one["suite"],
                    _short(one["prompt"]),
                ]
                for one in found["nearest_to"]
            ],
        )
    elif found["kind"] == "instance":
        console.line("It is not among the nearest rows of any evaluated item.")


def _lineage(lineage: Mapping[str, Any]) -> None:
    for name, value in lineage.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else value
        console.line(f"  {name}: {text}")


def _turns(turns: Sequence[tuple[str, str]]) -> None:
    for role, text in turns:
        more = len(text) - LONGEST
        cut = f" … and {more:,} more characters" if more > 0 else ""
        console.line(f"\n[{role}] {text[:LONGEST]}{cut}")


def _contamination(found: Mapping[str, Any] | None) -> None:
    if found is None:
        console.line("contamination: not checked")
    elif found["instance_id"]:
        what = "contaminated" if found["contaminated"] else "not contaminated"
        console.line(
            f"{what}: {found['share']:.0%} of what it asks is in n-grams of training row "
            f"{found['instance_id']}"
        )
    else:
        console.line("not contaminated: it shares no n-gram with a training row")


def _origin(one: Mapping[str, Any]) -> str:
    return f"{one['source']}:{one['row']}" if one["row"] >= 0 else str(one["source"])


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.2f}"


def _short(text: str | None) -> str:
    return " ".join((text or "")[: 2 * SHORT].split())[:SHORT]
