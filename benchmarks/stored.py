"""Rows that others have published, which are read whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.readers import RawRow, read_rows


def read_whole(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The first ``most`` rows of a file, compressed or not.

    Raises:
        DataError: as ``read_rows``; ``file-format`` where a row cannot be read.
    """
    there = path if path.is_file() else path.with_name(path.name + ".zst")
    found = list(read_rows(there, most))
    read = [row.values for row in found if isinstance(row, RawRow)]
    if len(read) < len(found):
        raise DataError(
            f"{len(found) - len(read)} rows cannot be read.", slug="file-format", where=str(there)
        )
    return read
