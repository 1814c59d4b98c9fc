"""The ledger of a run: what every step took in, kept, removed and failed on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.reports.files import (
    Json,
    first_existing,
    mapping,
    read_lines,
    read_object,
    read_table,
    whole,
)

SAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LostRow:
    """One removed or failed row as text, with what the step said of it."""

    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """in = kept + removed(reason) + failed(error), and rows to look at per reason or error."""

    name: str
    rows_in: int
    kept: int
    removed: Mapping[str, int]
    failed: Mapping[str, int]
    samples: Mapping[str, tuple[LostRow, ...]] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Rows that neither were kept nor have a reason; 0 in a ledger that reconciles."""
        return self.rows_in - self.kept - sum(self.removed.values()) - sum(self.failed.values())


def read_ledger(directory: Path | None) -> tuple[Step, ...]:
    """The steps in order; empty without a ledger."""
    if directory is None:
        return ()
    summary = read_object(first_existing(directory, "summary.json"))
    return tuple(
        read_step(name, mapping(value), directory, number)
        for number, (name, value) in enumerate(summary.items(), 1)
        if "in" in mapping(value)
    )


def read_step(name: str, value: Json, directory: Path, number: int) -> Step:
    """One step: its counts, and the first rows of each reason from the files beside."""
    stem = f"{number:02d}-{name}"
    return Step(
        name=name,
        rows_in=whole(value.get("in")) or 0,
        kept=whole(value.get("kept")) or 0,
        removed=_counts(value.get("removed")),
        failed=_counts(value.get("failed")),
        samples={
            **_failed(first_existing(directory, f"{stem}.failed.jsonl")),
            **_removed(first_existing(directory, f"{stem}.removed.parquet")),
        },
    )


def _counts(value: Any) -> dict[str, int]:
    return {name: n for name, raw in mapping(value).items() if (n := whole(raw) or 0) > 0}


def _removed(path: Path | None) -> dict[str, tuple[LostRow, ...]]:
    import pyarrow.compute as pc

    if path is None:
        return {}
    table = read_table(path, ["reason", "detail", "record"])
    if "reason" not in table.column_names:
        return {}
    found: dict[str, tuple[LostRow, ...]] = {}
    for reason in pc.unique(table["reason"]).to_pylist():
        rows = table.filter(pc.equal(table["reason"], reason)).slice(0, SAMPLES).to_pylist()
        found[str(reason)] = tuple(
            LostRow(text=record_text(row.get("record")), detail=str(row.get("detail") or ""))
            for row in rows
        )
    return found


def _failed(path: Path | None) -> dict[str, tuple[LostRow, ...]]:
    found: dict[str, list[LostRow]] = {}
    for line in read_lines(path)[0]:
        rows = found.setdefault(str(line.get("error")), [])
        if len(rows) < SAMPLES:
            detail = " ".join(str(line[key]) for key in ("where", "fix") if line.get(key))
            rows.append(LostRow(text=str(line.get("got") or ""), detail=detail))
    return {error: tuple(rows) for error, rows in found.items()}


def record_text(value: Any) -> str:
    """A removed record as one text: the turns of a conversation, or its fields."""
    if isinstance(value, str) and value[:1] in ("[", "{", '"'):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return str(value)
    if isinstance(value, list):
        return "\n".join(_turn(part) for part in value)
    if isinstance(value, dict):
        turns = [
            value[key]
            for key in ("messages", "prompt", "chosen", "rejected")
            if isinstance(value.get(key), list)
        ]
        if turns:
            return "\n".join(record_text(part) for part in turns)
        return "\n".join(f"{key}: {_short(part)}" for key, part in value.items() if part)
    return "" if value is None else str(value)


def _turn(part: Any) -> str:
    data = mapping(part)
    content = data.get("content", part)
    if isinstance(content, list):
        content = "".join(str(mapping(piece).get("text", "")) for piece in content)
    return re.sub(r"^: ", "", f"{data.get('role', '')}: {_short(content)}")


def _short(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, default=str)
