"""Rows of a task from the table that its ``data`` section names (see ``data_spec``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from regimen.errors import DataError, near
from regimen.instances.data_rows import Columns, RowRules, UnusableRow, lookup, task_row
from regimen.instances.data_spec import DataSpec, Origin
from regimen.instances.draws import seeded
from regimen.instances.hub import Opened, open_dataset, open_rows
from regimen.instances.readers import RawRow, RowFailure
from regimen.instances.row_store import RowStore
from regimen.instances.words import normalise
from regimen.records import Row

_PEEKED_ROWS = 20


@dataclass(slots=True)
class FoundRows:
    """The rows of a task as they are found, and the words of its labels in order."""

    instances: RowStore = field(default_factory=RowStore)
    held_out: RowStore = field(default_factory=RowStore)
    options: tuple[str, ...] = ()


def read_data(
    spec: DataSpec, found: FoundRows, *, options: tuple[str, ...] = (), templates: bool = False
) -> Iterator[RowFailure]:
    """Fill ``found`` with the rows of a section; the failures of rows come one by one.

    Rows read = instances + held-out rows + failures. A failure's row and source are those of the
    data, not of the task's file.

    Args:
        spec: the section.
        found: takes the rows.
        options: what rows without options of their own can be answered with.
        templates: whether the task has templates, which may ask without ``input`` or ``output``.

    Raises:
        DataError: the data cannot be opened (as ``open_rows`` and ``open_dataset``), a column is
            not there (``unknown-columns``).
    """
    opened = _open(spec.origin, spec.header)
    labels = dict(spec.labels)
    output = spec.columns.get("output", "output")
    if not labels and spec.answer == "text" and isinstance(output, str):
        labels = {str(n): word for n, word in enumerate(opened.labels.get(output, ()))}
    found.options = tuple(dict.fromkeys(labels.values()))
    rules = RowRules(columns=spec.columns, labels=labels, answer=spec.answer, options=options)
    share = spec.held_out if isinstance(spec.held_out, float) else 0.0
    for made in _rows(opened.rows, rules, spec, templates):
        if isinstance(made, RowFailure):
            yield made
        elif share and is_held_out(made, share, spec.seed, output):
            found.held_out.append(made)
        else:
            found.instances.append(made)
    if isinstance(spec.held_out, Origin):
        apart = _open(spec.held_out, spec.header)
        for made in _rows(apart.rows, rules, spec, templates):
            if isinstance(made, RowFailure):
                yield made
            else:
                found.held_out.append(made)


def is_held_out(row: Row, share: float, seed: int, output: Columns = "output") -> bool:
    """Whether a row is kept for evaluation: by its input alone, so equal inputs stay together.

    Inputs are equal when they differ in case, white space and compatibility forms alone. A row
    without an input is known by all of its columns but its output. A larger share only adds rows.
    """
    text = row.get("input")
    if not isinstance(text, str):
        kept = {key: value for key, value in row.items() if key not in (output, "output")}
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    return seeded(seed, "held-out rows", normalise(text)).random() < share


def _open(origin: Origin, header: tuple[str, ...]) -> Opened:
    if origin.dataset:
        return open_dataset(origin.dataset, origin.config, origin.split, origin.limit)
    opened = [_open_file(path, origin, header) for path in origin.paths]
    labels = {column: words for one in opened for column, words in one.labels.items()}
    return Opened(islice(chain.from_iterable(one.rows for one in opened), origin.limit), labels)


def _open_file(path: Path, origin: Origin, header: tuple[str, ...]) -> Opened:
    opened = open_rows(path, origin.split, None if header else origin.limit)
    named = (replace(row, source=row.source or path.name) for row in opened.rows)
    return Opened(with_header(named, header, path) if header else named, opened.labels)


def with_header(
    rows: Iterable[RawRow | RowFailure], header: tuple[str, ...], path: Path
) -> Iterator[RawRow | RowFailure]:
    """Rows under the given names, after the row that stood where the names should be.

    That row has lost the white space at the ends of its values.

    Raises:
        DataError: a directory, or not as many names as columns (``task-file``).
    """
    if path.is_dir():
        what = "data.header is for a single CSV or TSV file, not for a directory."
        raise DataError(what, slug="task-file", fix="Name the file.", where=str(path))
    started = False
    for row in rows:
        if isinstance(row, RowFailure):
            yield row
            continue
        if len(row.values) != len(header):
            raise DataError(
                "data.header has not a name for each column of the file.",
                slug="task-file",
                got=f"{len(header)} names, {len(row.values)} different columns",
                fix="Give every column a name; where two fields of the first line are equal, put "
                "a line with names before it instead.",
                where=str(path),
            )
        if not started:
            started = True
            yield RawRow(1, dict(zip(header, row.values, strict=True)), row.source)
        yield RawRow(row.row, dict(zip(header, row.values.values(), strict=True)), row.source)


def _rows(
    rows: Iterator[RawRow | RowFailure], rules: RowRules, spec: DataSpec, templates: bool
) -> Iterator[Row | RowFailure]:
    start = list(islice(rows, _PEEKED_ROWS))
    seen = {
        k: v for row in reversed(start) if isinstance(row, RawRow) for k, v in row.values.items()
    }
    if seen:
        rules = replace(rules, needed=_needed(seen, rules, spec, templates))
    for row in chain(start, rows):
        if isinstance(row, RowFailure):
            yield row
            continue
        try:
            yield task_row(row.values, rules)
        except UnusableRow as problem:
            yield RowFailure(row.row, problem.error, problem.got, problem.fix, row.source)


def _needed(
    seen: Mapping[str, Any], rules: RowRules, spec: DataSpec, templates: bool
) -> tuple[str, ...]:
    """Which canonical columns every row must have, after a check that all named ones are there."""
    for ours, theirs in rules.columns.items():
        for name in [theirs] if isinstance(theirs, str) else [name for _, name in theirs]:
            if not _there(seen, name):
                what = f"data.columns gives {name!r} for {ours}, but the rows have no such column."
                raise _unknown(what, seen, near(name, map(str, seen)), spec)
    needed = tuple(n for n in ("input", "output") if n in rules.columns or n in seen)
    if not templates:
        for name in ("input", "output"):
            if name not in needed:
                fix = f"Say which column it is: data.columns: {{{name}: your_column}}."
                raise _unknown(f"The rows have no column {name!r}.", seen, fix, spec)
    return needed


def _there(seen: Mapping[str, Any], name: str) -> bool:
    """Whether rows have a column; a part of one that says nothing so far may come later."""
    first = name.partition(".")[0]
    if name in seen or first == name or first not in seen:
        return name in seen
    return seen[first] is None or lookup(seen, name) is not None


def _unknown(what: str, seen: Mapping[str, Any], fix: str, spec: DataSpec) -> DataError:
    names = [str(name)[:40] for name in seen]
    got = "columns " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
    return DataError(what, slug="unknown-columns", got=got, fix=fix, where=spec.where)
