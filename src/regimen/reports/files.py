"""Reading the files of a run: absent is None, unreadable is an error that names the file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.errors import RunError

if TYPE_CHECKING:
    import pyarrow as pa

Json = Mapping[str, Any]


def first_existing(directory: Path, *names: str) -> Path | None:
    """The first of the names that exists in the directory."""
    return next((directory / name for name in names if (directory / name).exists()), None)


def read_json(path: Path | None) -> Any:
    """The value in a JSON file; None for no path.

    Raises:
        RunError: the file is not JSON.
    """
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _unreadable(path, "JSON", str(error)) from error


def read_object(path: Path | None) -> Json:
    """A JSON object; empty for no path.

    Raises:
        RunError: the file is not JSON, or holds something else than an object.
    """
    value = read_json(path)
    if value is not None and not isinstance(value, dict):
        raise _unreadable(path, "a JSON object", type(value).__name__)
    return value or {}


def read_lines(path: Path | None) -> tuple[list[Json], int]:
    """The objects of a JSONL file, and how many lines could not be read.

    A run that was interrupted may end in half a line: such lines are counted, not raised.
    """
    if path is None:
        return [], 0
    rows: list[Json] = []
    bad = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            bad += 1
    return rows, bad


def read_table(path: Path, columns: list[str] | None = None, filters: Any = None) -> pa.Table:
    """A Parquet file, or those of the columns that it has.

    Raises:
        RunError: the file is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        known = pq.read_schema(path).names
        chosen = None if columns is None else [name for name in columns if name in known]
        return pq.read_table(path, columns=chosen, filters=filters)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, "Parquet", str(error)) from error


def count_rows(path: Path | None) -> int | None:
    """Rows of a Parquet file from its footer alone; None for no path."""
    if path is None:
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, "Parquet", str(error)) from error


def number(value: Any) -> float | None:
    """A finite number, or None; booleans are no numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def whole(value: Any) -> int | None:
    """A whole number, or None."""
    found = number(value)
    return None if found is None else int(found)


def mapping(value: Any) -> Json:
    """The value where it is an object, an empty one otherwise."""
    return value if isinstance(value, Mapping) else {}


def flat(value: Json, prefix: str = "") -> dict[str, Any]:
    """Nested objects as one level with dotted names; lists become text."""
    rows: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        if isinstance(inner, Mapping):
            rows |= flat(inner, f"{name}.")
        elif isinstance(inner, list):
            rows[name] = ", ".join(
                part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
                for part in inner
            )
        else:
            rows[name] = inner
    return rows


def _unreadable(path: Path | None, expected: str, got: str) -> RunError:
    return RunError(
        "A file of the run cannot be read.",
        slug="run-file-unreadable",
        where=str(path),
        got=got,
        expected=expected,
        fix="Run the stage that writes it again.",
    )
