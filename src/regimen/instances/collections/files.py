"""The files of a collection: one file, a directory tree, or a bundle with a file in each row.

A bundle is a JSON lines file whose rows have ``path`` and ``text``. What else lies in a directory
or a bundle (licences, read-me files) is no part of the collection, as for every other reader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.compression import broken_text, open_text, suffixes
from regimen.instances.readers import (
    RawRow,
    RowFailure,
    data_files,
    failed_file,
    file_rows,
    no_usable_rows,
)
from regimen.records import Task

BUNDLE_SUFFIX = ".jsonl"
_PEEKED_ROWS = 20


@dataclass(frozen=True, slots=True)
class FileText:
    """A file of a collection.

    ``name`` is its path within the directory or the bundle, ``where`` what an error names, ``lone``
    whether it was given by its own path.
    """

    name: str
    text: str
    where: str
    lone: bool = False

    @property
    def stem(self) -> str:
        """The file's name without its data and compression suffixes."""
        path = Path(self.name)
        return path.name[: len(path.name) - sum(map(len, suffixes(path)))]

    @property
    def suffix(self) -> str:
        """The data suffix: .yaml."""
        return suffixes(Path(self.name))[0]


Parse = Callable[[FileText], Iterator[Task | RowFailure]]


def file_error(what: str, where: str, *, got: str = "", fix: str = "") -> DataError:
    """The error of a collection's file (``collection-file``)."""
    return DataError(what, slug="collection-file", got=got, fix=fix, where=where)


def collection_files(
    path: Path | str, wanted: Sequence[str] = ()
) -> Iterator[FileText | RowFailure]:
    """The files of a collection in the order of their names, of a bundle in its own order.

    Args:
        path: a file, a directory tree or a bundle, each also compressed.
        wanted: data suffixes of the files to take; others are left out.

    Raises:
        DataError: as ``regimen.instances.readers.data_files``, or ``file-format`` where no file has
            a wanted suffix. In a directory or a bundle, what is wrong with one file is a
            ``RowFailure`` with row 0 and the file as its source.
    """
    path = Path(path)
    root = path if path.is_dir() else None
    found = False
    for file in data_files(path, tuple(wanted)):
        suffix = suffixes(file)[0]
        try:
            if suffix == BUNDLE_SUFFIX and _is_bundle(file):
                found = True
                yield from _bundled(file, wanted)
            elif suffix in wanted:
                found = True
                yield _file_text(file, root)
        except DataError as error:
            if root is None:
                raise
            yield failure_of(error, file.relative_to(root).as_posix())
    if not found:
        raise DataError(
            "No file of such a collection is here.",
            slug="file-format",
            got=path.name,
            expected=f"{', '.join(wanted)}, or a bundle ({BUNDLE_SUFFIX} with path and text)",
            fix="Name the file or the directory that holds the collection.",
            where=str(path),
        )


def failure_of(error: DataError, source: str) -> RowFailure:
    """The error of a whole file as a failure of row 0 that still says the line."""
    failure = failed_file(error, source)
    place = error.where.partition("\n")[0]
    return replace(failure, got=f"{failure.got} ({place})") if place else failure


def _is_bundle(file: Path) -> bool:
    rows = islice(file_rows(file), _PEEKED_ROWS)
    return _is_member(next((row.values for row in rows if isinstance(row, RawRow)), {}))


def _is_member(values: dict[str, Any]) -> bool:
    return isinstance(values.get("path"), str) and isinstance(values.get("text"), str)


def _bundled(file: Path, wanted: Sequence[str]) -> Iterator[FileText | RowFailure]:
    for row in file_rows(file):
        if isinstance(row, RowFailure):
            yield row
        elif not _is_member(row.values):
            got = f"columns {', '.join(row.values)}"[:200]
            fix = "Give every row of a bundle the texts 'path' and 'text'."
            yield RowFailure(row.row, "not_a_file", got, fix, file.name)
        elif suffixes(Path(row.values["path"]))[0] in wanted:
            name = row.values["path"]
            yield FileText(name, row.values["text"], f"{file}/{name}")


def _file_text(file: Path, root: Path | None) -> FileText:
    with open_text(file) as text:
        content = text.read()
    name = file.relative_to(root).as_posix() if root else file.name
    return FileText(name, content, str(file), lone=root is None)


def check_filled(file: FileText) -> None:
    """Raise ``DataError`` for a file without a word (``file-empty``)."""
    if not file.text.strip():
        fix = "Check what should have written it."
        raise DataError("The file is empty.", slug="file-empty", fix=fix, where=file.where)


def check_text(file: FileText) -> None:
    """Raise ``DataError`` for a file that is empty, or no UTF-8 (``file-encoding``, with line)."""
    check_filled(file)
    if broken_text(file.text):
        lines = file.text.split("\n")
        line = next(n for n, text in enumerate(lines, start=1) if broken_text(text))
        raise DataError(
            "The file is not UTF-8 text.",
            slug="file-encoding",
            fix="Save the file as UTF-8.",
            where=f"{file.where}:{line}",
        )


def read_collection(
    path: Path | str, wanted: Sequence[str], parse: Parse
) -> Iterator[Task | RowFailure]:
    """What ``parse`` makes of every file.

    Raises:
        DataError: as ``collection_files``; as ``parse`` for a file given by its own path, while in
            a directory or a bundle that is a ``RowFailure`` with row 0; ``no-usable-rows`` after
            all failures where there was no task.
    """
    first: RowFailure | None = None
    usable = False
    for file in collection_files(path, wanted):
        for record in [file] if isinstance(file, RowFailure) else parsed(file, parse):
            if isinstance(record, Task):
                usable = True
            elif first is None:
                first = record
            yield record
    if not usable:
        raise no_usable_rows(Path(path), first)


def parsed(file: FileText, parse: Parse) -> Iterator[Task | RowFailure]:
    """What ``parse`` makes of a file; failures carry the file's name, its error is one of them.

    Raises:
        DataError: as ``parse`` for a file given by its own path.
    """
    try:
        for record in parse(file):
            if isinstance(record, RowFailure) and not record.source:
                record = replace(record, source=file.name)
            yield record
    except DataError as error:
        if file.lone:
            raise
        yield failure_of(error, file.name)
