"""Parquet files that are written table by table."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from regimen.files import flush, flush_directory

if TYPE_CHECKING:
    import pyarrow as pa


class TableWriter:
    """A Parquet file (zstd) that is written table by table, and appears whole when it is closed.

    Rows are gathered to groups of ``rows_per_group``, so the bytes depend on the rows alone and not
    on the tables that they came in. Use as a context manager; an exception leaves no file.
    """

    def __init__(self, path: Path | str, schema: pa.Schema, rows_per_group: int = 65_536) -> None:
        import pyarrow.parquet as pq

        self.path, self.schema, self.rows_per_group = Path(path), schema, rows_per_group
        self.rows = 0
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._waiting: list[pa.Table] = []
        self._held = 0
        self._writer = pq.ParquetWriter(self._partial, schema, compression="zstd")

    def write(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        self._waiting.append(table)
        self._held += table.num_rows
        self.rows += table.num_rows
        if self._held >= self.rows_per_group:
            self._flush(self._held - self._held % self.rows_per_group)

    def _flush(self, rows: int) -> None:
        import pyarrow as pa

        table = pa.concat_tables(self._waiting)
        for start in range(0, rows, self.rows_per_group):
            count = min(self.rows_per_group, rows - start)
            self._writer.write_table(table.slice(start, count).combine_chunks())
        self._waiting, self._held = [table.slice(rows)], table.num_rows - rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._writer.close()
            self._partial.unlink(missing_ok=True)
            return
        if self._held:
            self._flush(self._held)
        self._writer.close()
        flush(self._partial)
        self._partial.replace(self.path)
        flush_directory(self.path.parent)
