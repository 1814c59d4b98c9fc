"""The scores that a cell of a study leaves: one row for each item and system, without texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.tables import write_table

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("suite", "item_id", "system", "score", "cluster", "task", "family", "language")
OPTIONAL = ("source", "row", "template")
"""Columns that tell apart how one row was asked."""


def score_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows with the columns that every cell has."""
    import pyarrow as pa

    kinds = [(name, pa.float64() if name == "score" else pa.string()) for name in COLUMNS]
    return pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(kinds))


def keep_scores(answers: Path, out: Path) -> None:
    """The scores of a pipeline's answers."""
    import pyarrow.parquet as pq

    table = pq.read_table(answers)
    wanted = [name for name in (*COLUMNS, *OPTIONAL) if name in table.column_names]
    write_table(out, table.select(wanted))
