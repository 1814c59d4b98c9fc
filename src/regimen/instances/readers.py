"""Rows of files in the usual containers, one at a time, with numbers that lead back to them.

A row is a mapping of columns. What cannot be read as one is a ``RowFailure``, so that a caller can
count: rows in = rows read + failures. Row numbers are 1-based file lines in JSON lines, CSV and TSV
(the line on which the row starts) and 1-based positions in JSON arrays and Parquet files.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from regimen.errors import DataError, near
from regimen.instances.compression import COMPRESSIONS, broken_text, open_bytes, open_text, suffixes
from regimen.instances.json_rows import Broken, Found, json_rows, line_rows

T = TypeVar("T")
_SNIFFED_ROWS = 50
_LONGEST_FIELD = 2**31 - 1
"""The csv module refuses fields above 131,072 characters unless told otherwise."""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as the file has it. ``source`` is the file's name within a directory."""

    row: int
    values: dict[str, Any]
    source: str = ""


@dataclass(frozen=True, slots=True)
class RowFailure:
    """A row that cannot be used: a stable name of the error, what was found, what to do.

    ``row`` is 0 where a file of a directory cannot be read as a whole.
    """

    row: int
    error: str
    got: str
    fix: str
    source: str = ""


def read_rows(path: Path | str, limit: int | None = None) -> Iterator[RawRow | RowFailure]:
    """The rows of a file, or of all data files of a directory in the order of their names.

    Args:
        path: .json (an array, an object with one list of rows inside, or JSON lines), .jsonl,
            .csv, .tsv or .parquet, each also with .gz or .zst; or a directory of them.
        limit: most rows to read, failures included.

    Raises:
        DataError: the path is missing (``file-missing``), empty (``file-empty``), of no known
            format or damaged (``file-format``, ``file-compression``, ``file-encoding``), or has no
            row that could be read (``no-usable-rows``, after the failures were yielded). In a
            directory a file's error is a ``RowFailure`` with row 0.
    """
    path = Path(path)
    files = data_files(path)
    inside = path.is_dir()
    rows = (row for file in files for row in file_rows(file, path if inside else None))
    yield from usable(rows, path, limit)


def usable(
    records: Generator[T, None, None], path: Path, limit: int | None = None
) -> Generator[T, None, None]:
    """At most ``limit`` of the records, and an error after them if all were failures.

    Raises:
        DataError: ``no-usable-rows``, after the failures were yielded.
    """
    first: RowFailure | None = None
    found = False
    with closing(records):
        for record in islice(records, limit):
            if not isinstance(record, RowFailure):
                found = True
            elif first is None:
                first = record
            yield record
    if not found:
        raise no_usable_rows(path, first)


def no_usable_rows(path: Path, first: RowFailure | None) -> DataError:
    """The error of a path all of whose rows failed; ``first`` is the first failure."""
    seen = f"{first.source or path.name}:{first.row}: {first.error}: {first.got}" if first else ""
    return DataError(
        "No row of the source can be used.",
        slug="no-usable-rows",
        got=seen,
        expected="at least one row",
        fix=first.fix if first else "Raise the limit.",
        where=str(path),
    )


def file_rows(file: Path, directory: Path | None = None) -> Iterator[RawRow | RowFailure]:
    """The rows of one file. Within a directory, a file's error becomes a failure with row 0."""
    if directory is None:
        yield from _read(file)
        return
    source = file.relative_to(directory).as_posix()
    try:
        for row in _read(file):
            yield replace(row, source=source)
    except DataError as error:
        yield failed_file(error, source)


def failed_file(error: DataError, source: str) -> RowFailure:
    """The error of a whole file as a failure of row 0."""
    got = f"{error.what} {error.got}".strip()
    return RowFailure(0, error.slug.replace("-", "_"), got, error.fix, source)


def data_files(path: Path, others: tuple[str, ...] = ()) -> list[Path]:
    """The file itself, or the data files below a directory, sorted by name.

    Hidden files and files of other kinds (licences, read-me files) are not data. ``others`` are
    suffixes to take besides those of ``READERS``.

    Raises:
        DataError: the path is missing, or nothing there has a known suffix.
    """
    known = (*READERS, *others)
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if _is_data(file, path, known)]
        if not files:
            names = sorted(file.name for file in path.iterdir())
            raise DataError(
                "The directory holds no data file.",
                slug="file-format",
                got=", ".join(names[:8]) + (" ..." if len(names) > 8 else "") or "nothing",
                expected=_endings(known),
                fix="Name the directory that holds the data.",
                where=str(path),
            )
        return files
    if not path.exists():
        raise _missing(path)
    if suffixes(path)[0] not in known:
        raise DataError(
            "The ending of the file name is not known.",
            slug="file-format",
            got=path.name,
            expected=_endings(known),
            fix="Give the file the ending of what it holds.",
            where=str(path),
        )
    return [path]


def _is_data(file: Path, directory: Path, known: tuple[str, ...]) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(directory).parts)
    return not hidden and suffixes(file)[0] in known and file.is_file()


def _endings(known: tuple[str, ...]) -> str:
    return f"{', '.join(known)}, each also with {' or '.join(COMPRESSIONS)}"


def _missing(path: Path) -> DataError:
    parent = path.parent
    if parent.is_dir():
        names = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")]
        fix = near(path.name, names) if names else f"The directory {parent} is empty."
        if fix.startswith("Known") and len(names) > 12:
            fix = f"The directory {parent} holds {len(names)} other files."
    else:
        fix = f"There is no directory {parent} either. Paths start where the command runs."
    return DataError("There is no such file.", slug="file-missing", got=str(path), fix=fix)


def _read(file: Path) -> Iterator[RawRow | RowFailure]:
    found = False
    for item in READERS[suffixes(file)[0]](file):
        found = True
        if isinstance(item, Broken):
            yield RowFailure(item.row, item.error, item.got, item.fix, file.name)
        else:
            yield RawRow(item.row, item.values)
    if not found:
        raise DataError(
            "The file is empty.",
            slug="file-empty",
            got="no rows",
            fix="Check what should have written it.",
            where=str(file),
        )


def _csv(file: Path) -> Iterator[Found | Broken]:
    return _separated(file, [_quoted(delimiter) for delimiter in ",;\t|"])


def _tsv(file: Path) -> Iterator[Found | Broken]:
    return _separated(file, [_quoted("\t"), _unquoted("\t")])


def _separated(file: Path, dialects: Sequence[type[csv.Dialect]]) -> Iterator[Found | Broken]:
    """Rows of a file with a header line; fields in quotes may hold line breaks."""
    csv.field_size_limit(_LONGEST_FIELD)
    with open_text(file) as text:
        sample = list(islice(text, 4 * _SNIFFED_ROWS))
        reader = csv.reader(chain(sample, text), sniff(sample, dialects))
        header: list[str] = []
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                yield _bad_quotes(line, reader.line_num, error)
                continue
            if fields is None:
                return
            if not header:
                header = [name.strip() for name in fields]
                _check_header(header, file)
            elif fields:
                yield _fields(line, header, fields)


def _check_header(header: Sequence[str], file: Path) -> None:
    """Raise where two columns share a name: a row could hold one of them only."""
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(
            "Two columns of the header have the same name.",
            slug="file-format",
            got=", ".join(map(repr, twice[:5])),
            fix="Give every column a name of its own; put a line of names before the rows if there "
            "is none.",
            where=f"{file}:1",
        )


def _quoted(separator: str) -> type[csv.Dialect]:
    class Quoted(csv.excel):
        delimiter = separator
        strict = True

    return Quoted


def _unquoted(separator: str) -> type[csv.Dialect]:
    class Unquoted(csv.excel):
        delimiter = separator
        quoting = csv.QUOTE_NONE

    return Unquoted


def _bad_quotes(first: int, last: int, error: csv.Error) -> Broken:
    ended = "end of data" in str(error)
    got = (
        f"a quote opened in lines {first} to {last} is never closed"
        if ended
        else ("text after a closing quote")
    )
    fix = 'Double every quote inside a quoted field ("") and close the last one.'
    return Broken(first, "csv_quotes", got, fix)


def _fields(line: int, header: list[str], fields: list[str]) -> Found | Broken:
    if len(fields) != len(header):
        got = f"{len(fields)} fields, the header has {len(header)} columns"
        return Broken(line, "csv_fields", got, "Put quotes around fields that hold separators.")
    values = dict(zip(header, fields, strict=True))
    if any(broken_text(field) for field in fields):
        return Broken(line, "not_utf8", "bytes that are not UTF-8", "Save the file as UTF-8.")
    return Found(line, values)


def sniff(sample: Sequence[str], dialects: Sequence[type[csv.Dialect]]) -> type[csv.Dialect]:
    """The dialect under which most of the first rows have as many fields as the header.

    The first of equals wins.
    """
    shares = [_agreement(sample, dialect) for dialect in dialects]
    return dialects[shares.index(max(shares))]


def _agreement(sample: Sequence[str], dialect: type[csv.Dialect]) -> float:
    """Share of the rows that have the header's number of fields; below 0 where it cannot be."""
    reader = csv.reader(sample, dialect)
    rows: list[list[str]] = []
    while len(rows) < _SNIFFED_ROWS:
        try:
            fields = next(reader, None)
        except csv.Error:
            # the sample may end inside a quoted field, which says nothing against the dialect
            fields = None if reader.line_num == len(sample) > 4 else []
            rows += [] if fields is None else [[]]
            continue
        if fields is None:
            break
        rows += [fields] if fields else []
    if not rows or len(rows[0]) < 2:
        return -1.0
    if dialect.quoting == csv.QUOTE_NONE and any(_in_quotes(f) for row in rows for f in row):
        return -1.0
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def _in_quotes(field: str) -> bool:
    return len(field) > 1 and field[0] == field[-1] == '"'


def _parquet(file: Path) -> Iterator[Found | Broken]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(file) as raw:
        source = pa.BufferReader(raw.read()) if suffixes(file)[1] else raw
        try:
            rows = 0
            for batch in pq.ParquetFile(source).iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    rows += 1
                    yield Found(rows, values)
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                "The file is not a Parquet file, or it is damaged.",
                slug="file-format",
                got=str(error).splitlines()[0],
                fix="Copy or write the file again.",
                where=str(file),
            ) from error


READERS: Mapping[str, Callable[[Path], Iterator[Found | Broken]]] = {
    ".json": json_rows,
    ".jsonl": line_rows,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
}
