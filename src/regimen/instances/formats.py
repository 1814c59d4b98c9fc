"""Sources in the field's formats: which format a file has, and its rows as records.

Every row gives exactly one thing: a record or a ``RowFailure``, so rows in = records + failures.
(Exceptions: good rows of a task's file come together as one ``Task``, and each bad one as a
``RowFailure``; a tree of messages gives a set of answers for each turn that has some.)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances import oasst
from regimen.instances.answer_rows import ANSWER_CONVERSIONS
from regimen.instances.answer_sets import AnswerSet, PairRule
from regimen.instances.collections.t0 import read_t0
from regimen.instances.compression import suffixes
from regimen.instances.format_columns import (
    LABELS,
    SPELLINGS,
    T0,
    check_columns,
    format_of,
    renamed,
)
from regimen.instances.hub import is_saved, open_dataset, open_rows
from regimen.instances.natural_tasks import natural_instructions_task
from regimen.instances.readers import (
    RawRow,
    RowFailure,
    data_files,
    failed_file,
    file_rows,
    usable,
)
from regimen.instances.row_records import CONVERSIONS
from regimen.instances.step_rows import stepwise_row
from regimen.instances.task_files import TASK_SUFFIXES, read_task_file
from regimen.instances.turns import Unusable
from regimen.records import Instance, Lineage, Preference, Stepwise, Task

Record = Task | Instance | Preference | Stepwise | AnswerSet | RowFailure

_PEEKED_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the caller said of a source."""

    format: str
    columns: Mapping[str, str]
    licence: str
    language: str
    weight: float
    pairs: PairRule


def read_source(
    path: Path | str,
    *,
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    name: str = "",
    licence: str = "",
    language: str = "",
    limit: int | None = None,
    weight: float = 1.0,
    pairs: PairRule | None = None,
) -> Iterator[Record]:
    """The records of a file, or of all data files of a directory in the order of their names.

    Args:
        path: a file that ``read_rows`` reads, a task's YAML file, or a directory of such files.
        format: a name of ``FORMATS``, ``task_yaml``, or ``auto``: by the columns of each file.
        columns: the user's column for each name of a format: ``{"prompt": "question"}``.
        name: name of the source in the lineage; the file's name when empty. In a directory the
            file's path follows it.
        licence: licence of the rows that do not say theirs in a column ``licence``/``license``.
        language: language of the rows that do not say theirs in a column ``language``/``lang``.
        limit: most things to yield, failures included.
        weight: weight of every record in the loss.
        pairs: how rows with several answers are read.

    Raises:
        DataError: as ``read_rows`` and ``detect_format``; ``no-usable-rows`` after all rows failed.
    """
    path = Path(path)
    options = _Options(
        format=format,
        columns=columns or {},
        licence=licence,
        language=language,
        weight=weight,
        pairs=pairs or PairRule(),
    )
    check_columns(options.format, options.columns)
    yield from usable(_source(path, name or path.name or path.resolve().name, options), path, limit)


def read_dataset(
    dataset: str,
    *,
    config: str = "",
    split: str = "train",
    format: str = "auto",
    columns: Mapping[str, str] | None = None,
    name: str = "",
    licence: str = "",
    language: str = "",
    limit: int | None = None,
    pairs: PairRule | None = None,
) -> Iterator[Record]:
    """The records of a Hugging Face data set, by its name on the hub (extra ``hub``).

    Arguments as ``read_source``, and those of ``hub.open_dataset``, which says what it raises.
    """
    options = _Options(
        format=format,
        columns=columns or {},
        licence=licence,
        language=language,
        weight=1.0,
        pairs=pairs or PairRule(),
    )
    check_columns(options.format, options.columns)
    rows = open_dataset(dataset, config, split, limit).rows
    records = _of_rows(rows, Path(dataset), name or dataset, options)
    yield from usable(records, Path(dataset), limit)


def _source(path: Path, label: str, options: _Options) -> Generator[Record, None, None]:
    """The records of a path: rendered T0 data, a saved data set, files."""
    if options.format == T0:
        for record in read_t0(path):
            yield _with_defaults(record, label, options)
    elif is_saved(path):
        yield from _of_rows(open_rows(path).rows, path, label, options)
    else:
        directory = path if path.is_dir() else None
        for file in data_files(path, TASK_SUFFIXES):
            yield from _file(file, directory, label, options)


def _with_defaults(record: Task | RowFailure, label: str, options: _Options) -> Task | RowFailure:
    """A task with what the caller said of its source."""
    if isinstance(record, RowFailure):
        return record
    return replace(
        record,
        source=label,
        licence=record.licence or options.licence,
        language=options.language or record.language,
    )


def _file(file: Path, directory: Path | None, label: str, options: _Options) -> Iterator[Record]:
    """The records of one file; within a directory its error is a failure of row 0."""
    if directory is None:
        yield from _records(file, label, options)
        return
    source = file.relative_to(directory).as_posix()
    try:
        for record in _records(file, f"{label}/{source}", options):
            yield _named(record, source, file) if isinstance(record, RowFailure) else record
    except DataError as error:
        yield failed_file(error, source)


def _named(failure: RowFailure, source: str, file: Path) -> RowFailure:
    """A failure with its file within the directory; one of a task's data names both."""
    apart = failure.source not in ("", file.name)
    return replace(failure, source=f"{source}: {failure.source}" if apart else source)


def _records(file: Path, label: str, options: _Options) -> Iterator[Record]:
    if suffixes(file)[0] in TASK_SUFFIXES:
        yield from read_task_file(
            file, source=label, licence=options.licence, language=options.language
        )
        return
    yield from _of_rows(file_rows(file), file, label, options)


def _of_rows(
    rows: Iterator[RawRow | RowFailure], file: Path, label: str, options: _Options
) -> Generator[Record, None, None]:
    start = list(islice(rows, _PEEKED_ROWS))
    first = {
        k: v for row in reversed(start) if isinstance(row, RawRow) for k, v in row.values.items()
    }
    found = _format_of(first, file, options) if first else ""
    rows = chain(start, rows)
    if found == "oasst" and oasst.is_flat(renamed(first, options.columns)):
        rows = oasst.trees(rows, file.name, options.columns)
    for row in rows:
        if isinstance(row, RowFailure):
            yield row
            continue
        found = found or _format_of(row.values, file, options)
        values = renamed(row.values, options.columns)
        if found == "natural_instructions":
            yield from natural_instructions_task(
                values,
                name=suffixes_removed(file),
                source=label,
                licence=options.licence,
                language=options.language,
            )
        else:
            yield from _row_records(RawRow(row.row, values), found, file.name, label, options)


def suffixes_removed(file: Path) -> str:
    """The file's name without its data and compression suffixes."""
    return file.name[: len(file.name) - sum(map(len, suffixes(file)))]


def _format_of(values: Mapping[str, Any], file: Path, options: _Options) -> str:
    return format_of(values, options.format, options.columns, str(file))


def _row_records(
    row: RawRow, found: str, file: str, label: str, options: _Options
) -> Sequence[Instance | Preference | Stepwise | AnswerSet | RowFailure]:
    """The record of a row, or why there is none; a tree has a set for each turn with answers."""
    lineage, weight = _lineage(row, label, options), options.weight
    try:
        if found == "oasst":
            return oasst.tree_sets(row.values, lineage, weight)
        if found == "stepwise":
            return [stepwise_row(row.values, lineage, weight)]
        if found in ANSWER_CONVERSIONS:
            return [ANSWER_CONVERSIONS[found](row.values, lineage, weight, options.pairs)]
        return [CONVERSIONS[found](row.values, lineage, weight)]
    except Unusable as problem:
        return [RowFailure(row.row, problem.error, problem.got, problem.fix, file)]


def _lineage(row: RawRow, label: str, options: _Options) -> Lineage:
    """The origin of a row; what its own columns say goes before what the source says."""
    said = {}
    for name in LABELS:
        values = (row.values.get(spelling) for spelling in SPELLINGS.get(name, (name,)))
        said[name] = next((v for v in values if isinstance(v, str) and v.strip()), "")
    return Lineage(
        source=label,
        row=row.row,
        task=said["task"],
        family=said["family"],
        category=said["category"],
        language=said["language"] or options.language,
        licence=said["licence"] or options.licence,
    )
