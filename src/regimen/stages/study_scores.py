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


WORDS = "words"
"""Beside the metrics of an answer, its number of words."""

Beside = Mapping[str, Mapping[str, str]]
"""By suite: which of its metrics are kept too, each with the suite that it is kept as."""


def keep_scores(answers: Path, out: Path, beside: Beside | None = None) -> None:
    """The scores of a pipeline's answers, and of some suites other numbers beside the score."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(answers)
    wanted = [name for name in (*COLUMNS, *OPTIONAL) if name in table.column_names]
    kept = table.select(wanted)
    more = []
    for row in table.to_pylist() if beside else ():
        for metric, name in (beside or {}).get(row["suite"], {}).items():
            value = float(len(row["answer"].split())) if metric == WORDS else row[metric]
            more.append({**{key: row[key] for key in wanted}, "suite": name, "score": value})
    if more:
        kept = pa.concat_tables([kept, pa.Table.from_pylist(more, schema=kept.schema)])
    write_table(out, kept)
