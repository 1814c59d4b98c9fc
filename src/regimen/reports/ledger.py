"""The ledger of a run: what every step took in, kept, removed and failed on."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regimen.reports.evidence import whole
from regimen.reports.files import Json, first_existing, mapping, read_json, read_table

SAMPLES = 3
PREVIEW = ("preview", "text", "record", "messages", "row", "content", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedRow:
    """One removed row as text, with the detail that the step gave."""

    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """in = kept + removed(reason) + failed(error), and rows to look at per reason."""

    name: str
    rows_in: int
    kept: int
    removed: Mapping[str, int]
    failed: Mapping[str, int]
    samples: Mapping[str, tuple[RemovedRow, ...]] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Rows that neither were kept nor have a reason; 0 in a ledger that reconciles."""
        return self.rows_in - self.kept - sum(self.removed.values()) - sum(self.failed.values())


def read_ledger(directory: Path | None) -> tuple[Step, ...]:
    """The steps in order; empty without a ledger."""
    if directory is None:
        return ()
    data: Any = read_json(first_existing(directory, "summary.json")) or {}
    steps = mapping(data).get("steps", data) if isinstance(data, dict) else data
    if isinstance(steps, dict):
        named = [(name, mapping(value)) for name, value in steps.items() if "in" in mapping(value)]
    else:
        named = [(str(mapping(s).get("step", mapping(s).get("name"))), mapping(s)) for s in steps]
    removed = _removed_files(directory)
    return tuple(_step(name, value, removed.get(_slug(name))) for name, value in named)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _removed_files(directory: Path) -> dict[str, Path]:
    files = {}
    for path in sorted(directory.glob("*.removed.parquet")):
        files[_slug(re.sub(r"^\d+-", "", path.name.removesuffix(".removed.parquet")))] = path
    return files


def _step(name: str, value: Json, removed: Path | None) -> Step:
    return Step(
        name=name,
        rows_in=whole(value.get("in")) or 0,
        kept=whole(value.get("kept")) or 0,
        removed=_counts(value.get("removed")),
        failed=_counts(value.get("failed")),
        samples=_samples(removed) if removed else {},
    )


def _counts(value: Any) -> dict[str, int]:
    return {name: n for name, raw in mapping(value).items() if (n := whole(raw) or 0) > 0}


def _samples(path: Path) -> dict[str, tuple[RemovedRow, ...]]:
    """The first rows of each reason. Row groups are read until every reason has enough."""
    import pyarrow.compute as pc

    table = read_table(path, ["reason", "detail", *PREVIEW])
    if "reason" not in table.column_names:
        return {}
    column = next((name for name in PREVIEW if name in table.column_names), None)
    found: dict[str, tuple[RemovedRow, ...]] = {}
    for reason in pc.unique(table["reason"]).to_pylist():
        rows = table.filter(pc.equal(table["reason"], reason)).slice(0, SAMPLES).to_pylist()
        found[str(reason)] = tuple(
            RemovedRow(
                text=preview(row.get(column)) if column else "",
                detail=str(row.get("detail") or ""),
            )
            for row in rows
        )
    return found


def preview(value: Any) -> str:
    """A removed record as one text: the turns of a conversation, or its fields."""
    if isinstance(value, str) and value[:1] in "[{":
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return value
    if isinstance(value, list):
        return "\n".join(_turn(part) for part in value)
    if isinstance(value, dict):
        if isinstance(value.get("messages"), list):
            return preview(value["messages"])
        return "\n".join(f"{key}: {_short(part)}" for key, part in value.items() if part)
    return "" if value is None else str(value)


def _turn(part: Any) -> str:
    data = mapping(part)
    return f"{data.get('role', '')}: {data['content']}" if "content" in data else _short(part)


def _short(part: Any) -> str:
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, default=str)
