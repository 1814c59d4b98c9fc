"""Sources in the field's formats: which format a file has, and its rows as records.

Every row gives exactly one thing: a record or a ``RowFailure``, so rows in = records + failures.
(The rows of a task's file are the exception: good ones come together as one ``Task``, and each bad
one as a ``RowFailure``.)
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any

from regimen.errors import DataError, near
from regimen.instances.collections.t0 import read_t0
from regimen.instances.compression import suffixes
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
from regimen.instances.task_files import TASK_SUFFIXES, read_task_file
from regimen.instances.turns import Unusable
from regimen.records import Instance, Lineage, Preference, Task

Record = Task | Instance | Preference | RowFailure

# Required columns of each format; the first format all of whose columns are there wins.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "natural_instructions": ("Definition", "Instances"),
    "preference": ("chosen", "rejected"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
}
TASK_YAML, T0 = "task_yaml", "t0"
OPTIONAL = ("input", "history", "system", "tools", "label", "kto_tag")
_LABELS = ("language", "licence", "category", "family", "task")
_SPELLINGS = {"language": ("language", "lang"), "licence": ("licence", "license")}

# Other names under which data sets publish a column.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "messages": ("conversation", "dialog", "dialogue", "chat", "turns", "utterances"),
    "conversations": ("conversation",),
    "instruction": ("instructions", "command"),
    "output": ("response", "answer", "target", "completion"),
    "prompt": ("question", "query", "inputs", "input", "instruction", "source"),
    "completion": ("response", "answer", "output", "target", "targets", "std_answer", "reply"),
    "chosen": ("chosen_messages", "preferred", "accepted", "better", "winner"),
    "rejected": ("rejected_messages", "dispreferred", "refused", "worse", "loser"),
}
_PEEKED_ROWS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the caller said of a source."""

    format: str
    columns: Mapping[str, str]
    licence: str
    language: str
    weight: float


def detect_format(
    values: Mapping[str, Any], columns: Mapping[str, str] | None = None, where: str = ""
) -> str:
    """The format of a row by its columns.

    Args:
        values: a row, or any mapping with the columns as keys.
        columns: the user's column for each name of a format.
        where: what an error names as its place.

    Raises:
        DataError: no format has these columns (``unknown-columns``); the error suggests a
            ``columns`` mapping from near names.
    """
    names = set(values) | set(columns or {})
    for format_name, required in FORMATS.items():
        if names.issuperset(required):
            return format_name
    tried = "; ".join(f"{name} ({', '.join(needs)})" for name, needs in FORMATS.items())
    raise DataError(
        "The columns of the source belong to no known format.",
        slug="unknown-columns",
        got=_listed(values),
        expected=tried,
        fix=_suggestion(values, FORMATS),
        where=where,
    )


def _listed(values: Mapping[str, Any]) -> str:
    names = [name if len(name) <= 40 else name[:37] + "..." for name in map(str, values)]
    return "columns " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")


def _suggestion(values: Mapping[str, Any], formats: Mapping[str, tuple[str, ...]]) -> str:
    """The ``columns`` mapping of the format that comes nearest, or what to do without one."""
    best: tuple[int, str, dict[str, str]] = (0, "", {})
    for name, required in formats.items():
        mapping = _mapping(values, required)
        present = sum(column in values for column in required)
        if mapping is not None and present + 1 > best[0]:
            best = (present + 1, name, mapping)
    if any(len(str(name)) > 60 for name in values):
        return "The first line seems to be a row; put a line with column names before it."
    if not best[1]:
        names = ", ".join(formats)
        return f"Give `columns:` that name your columns for one of {names}."
    inside = ", ".join(f"{ours}: {theirs}" for ours, theirs in best[2].items())
    return f"Set `columns: {{{inside}}}` to read the source as {best[1]}."


def _mapping(values: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, str] | None:
    """A near column of the user's for every required one that is missing; None if one has none."""
    mapping: dict[str, str] = {}
    for name in required:
        if name in values:
            continue
        free = {
            str(v).casefold(): str(v) for v in values if v not in (*required, *mapping.values())
        }
        known = (name, *_ALSO.get(name, ()))
        match = next((free[other] for other in known if other in free), None)
        close = get_close_matches(name, free, n=1, cutoff=0.86)
        if match is None and not close:
            return None
        mapping[name] = match or free[close[0]]
    return mapping


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

    Raises:
        DataError: as ``read_rows`` and ``detect_format``; ``no-usable-rows`` after all rows failed.
    """
    path = Path(path)
    options = _Options(
        format=format, columns=columns or {}, licence=licence, language=language, weight=weight
    )
    _check(options)
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
) -> Iterator[Record]:
    """The records of a Hugging Face data set, by its name on the hub (extra ``hub``).

    Arguments as ``read_source``, and those of ``hub.open_dataset``, which says what it raises.
    """
    options = _Options(
        format=format, columns=columns or {}, licence=licence, language=language, weight=1.0
    )
    _check(options)
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


def _check(options: _Options) -> None:
    formats = ("auto", *FORMATS, TASK_YAML, T0)
    if options.format not in formats:
        raise DataError(
            "There is no such format.",
            slug="unknown-format",
            got=options.format,
            fix=near(options.format, formats),
        )
    known = {*OPTIONAL, *_LABELS, *(column for needs in FORMATS.values() for column in needs)}
    for ours in options.columns:
        if ours not in known:
            raise DataError(
                "`columns` names a column that no format has.",
                slug="unknown-columns",
                got=ours,
                fix=f"{near(ours, known)} Write the format's name first: prompt: your_column.",
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
    for row in chain(start, rows):
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
            yield _record(RawRow(row.row, values), found, file.name, label, options)


def suffixes_removed(file: Path) -> str:
    """The file's name without its data and compression suffixes."""
    return file.name[: len(file.name) - sum(map(len, suffixes(file)))]


def _format_of(values: Mapping[str, Any], file: Path, options: _Options) -> str:
    """The format given or found, after checking that the columns it needs are there."""
    for ours, theirs in options.columns.items():
        if theirs not in values:
            raise DataError(
                f"`columns` gives {theirs!r} for {ours!r}, but the source has no such column.",
                slug="unknown-columns",
                got=_listed(values),
                fix=near(theirs, map(str, values)),
                where=str(file),
            )
    have = renamed(values, options.columns)
    if options.format == "auto":
        return detect_format(have, where=str(file))
    needs = FORMATS.get(options.format, ("a .yaml file",))
    missing = [column for column in needs if column not in have]
    if missing and not (options.format == "messages" and "conversations" in have):
        raise DataError(
            f"The source has no column {missing[0]!r}, which the format {options.format} needs.",
            slug="unknown-columns",
            got=_listed(values),
            expected=", ".join(needs),
            fix=_suggestion(values, {options.format: needs}),
            where=str(file),
        )
    return options.format


def renamed(values: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under the format's names; a column given for another name loses its own."""
    if not columns:
        return dict(values)
    taken = set(columns.values())
    kept = {key: value for key, value in values.items() if key not in taken}
    return {
        **kept,
        **{ours: values[theirs] for ours, theirs in columns.items() if theirs in values},
    }


def _record(
    row: RawRow, found: str, file: str, label: str, options: _Options
) -> Instance | Preference | RowFailure:
    lineage = _lineage(row, label, options)
    try:
        return CONVERSIONS[found](row.values, lineage, options.weight)
    except Unusable as problem:
        return RowFailure(row.row, problem.error, problem.got, problem.fix, file)


def _lineage(row: RawRow, label: str, options: _Options) -> Lineage:
    """The origin of a row; what its own columns say goes before what the source says."""
    said = {}
    for name in _LABELS:
        values = (row.values.get(spelling) for spelling in _SPELLINGS.get(name, (name,)))
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
