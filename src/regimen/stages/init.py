"""``init``: from a table to a task file and settings that build and tune on it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from regimen import console
from regimen.errors import DataError
from regimen.files import atomic_write
from regimen.instances.data_rows import UnusableRow, task_row
from regimen.instances.hub import Opened, dataset_splits, open_dataset, open_rows
from regimen.instances.proposals.guesses import guess
from regimen.instances.proposals.roles import Guess
from regimen.instances.proposals.splits import (
    Parts,
    first_line_is_a_row,
    good_enough,
    header_for,
    parts_of,
    split_parts,
    usable_share,
)
from regimen.instances.proposals.tables import Table, folded, table_of
from regimen.instances.proposals.writing import (
    HELD_OUT,
    Proposal,
    relative,
    settings_text,
    task_text,
)
from regimen.instances.readers import RawRow, RowFailure
from regimen.instances.task_data import with_header
from regimen.layout import COLUMNS

MOST_ROWS = 10_000
"""Rows that are looked at."""
TINY_BASE = Path(__file__).resolve().parents[1] / "assets" / "tiny-base"
_SPLIT_WORDS = ("train", "training", "data", "all", "rows")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The first rows of the data, how many could not be read, whether there are more."""

    table: Table
    failed: int
    more: bool
    header: tuple[str, ...] = ()


def init(
    data: str,
    *,
    out: Path = Path(),
    model: str = "",
    name: str = "",
    dataset: bool = False,
    config: str = "",
) -> dict[str, Any]:
    """Look at a table and write ``<name>.task.yaml`` and ``regimen.yaml``; say what was found.

    Rows that are instructions or conversations already need no task file.

    Args:
        data: a file, a directory or a folder of ``save_to_disk``; a name with ``dataset``.
        out: where the files are written.
        model: the model to tune; the small base that comes with regimen when empty.
        name: name of the task; from the data's name when empty.
        dataset: whether ``data`` names a data set of the Hugging Face hub.
        config: its configuration.

    Raises:
        DataError: the data cannot be read (as ``open_rows``, ``open_dataset``), no column can be
            the answer to another (``no-task``), a file is there already (``file-exists``).
    """
    hub = (dataset, config)
    parts = split_parts(dataset_splits(data, config)) if dataset else parts_of(Path(data))
    name = folded(name) or _name(data)
    files = {"settings": out / "regimen.yaml", "task": out / f"{name}.task.yaml"}
    for file in files.values():
        _refuse_existing(file)
    seen = _look(data, parts, *hub)
    proposal = _proposal(data, out, name, parts, seen, hub)
    if proposal.guess.type == "instructions":
        del files["task"]
    _write(proposal, files, model or str(TINY_BASE))
    return _report(proposal, seen, files)


def _proposal(
    data: str, out: Path, name: str, parts: Parts, seen: _Seen, hub: tuple[bool, str]
) -> Proposal:
    found = guess(seen.table)
    parts, notes = _held_out(data, parts, found, seen, hub)
    dataset, config = hub
    return Proposal(
        name=name,
        guess=found,
        table=seen.table,
        parts=_in_place(parts, data, dataset),
        folder=out,
        source=data,
        dataset=data if dataset else "",
        config=config,
        header=seen.header,
        more=seen.more,
        notes=notes,
    )


def _name(data: str) -> str:
    """A name for the task: the file's or folder's; the folder's of a file named for its split."""
    path = Path(data)
    place = path.resolve() if not path.name or path.name == ".." else path
    stem = folded(place.name.partition(".")[0] if place.is_file() else place.name)
    if place.is_file() and stem in _SPLIT_WORDS:
        stem = folded(place.resolve().parent.name)
    return stem or "task"


def _refuse_existing(file: Path) -> None:
    if file.exists():
        raise DataError(
            "The file is there already, and init overwrites nothing.",
            slug="file-exists",
            got=str(file),
            fix="Name another directory with --out, or move the file away.",
            where=str(file),
        )


def _look(data: str, parts: Parts, dataset: bool, config: str) -> _Seen:
    """The first rows, under names of our own where the file has none for its columns."""
    opened = _open(data, parts, dataset, config)
    rows: list[Mapping[str, Any]] = []
    failed = 0
    for row in islice(opened.rows, MOST_ROWS + 1):
        if isinstance(row, RowFailure):
            failed += 1
        else:
            rows.append(row.values)
    more = len(rows) + failed > MOST_ROWS
    table = table_of(rows[:MOST_ROWS], opened.labels)
    if len(parts.paths) == 1 and first_line_is_a_row(parts.paths[0], table.columns):
        header = header_for(table.columns)
        raw = (RawRow(n, dict(values)) for n, values in enumerate(rows, start=2))
        named = with_header(raw, header, parts.paths[0])
        values = [row.values for row in named if isinstance(row, RawRow)]
        return _Seen(table_of(values[:MOST_ROWS]), failed, more, header)
    return _Seen(table, failed, more)


def _open(data: str, parts: Parts, dataset: bool, config: str) -> Opened:
    if dataset:
        return open_dataset(data, config, parts.split, MOST_ROWS + 1)
    opened = [open_rows(path, parts.split) for path in parts.paths or (Path(data),)]
    rows: Iterator[RawRow | RowFailure] = chain.from_iterable(one.rows for one in opened)
    return Opened(rows, opened[0].labels)


def _held_out(
    data: str, parts: Parts, found: Guess, seen: _Seen, hub: tuple[bool, str]
) -> tuple[Parts, tuple[str, ...]]:
    """The parts with the one to hold out first, if any has answers, and what to say of it."""
    if found.type == "instructions":
        return parts, ()
    notes: list[str] = []
    groups = [", ".join(path.name for path in paths) for paths in parts.apart] or parts.splits
    for number, name in enumerate(groups):
        rest = Parts(
            paths=parts.apart[number] if parts.apart else (),
            split="" if parts.apart else parts.splits[number],
        )
        share = 1.0 if seen.header else usable_share(_open(data, rest, *hub).rows, found.rules)
        if good_enough(share):
            notes.append(f"{name} is there already: it is only evaluated on.")
            others = ", ".join(groups[number + 1 :])
            notes += [f"There is also {others}."] if others else []
            left = replace(parts, apart=parts.apart[number:], splits=parts.splits[number:])
            return left, tuple(notes)
        notes.append(f"Not {name}: only {share:.0%} of its first rows have an input and an output.")
    notes.append(
        f"No other part of the data is used for evaluation, so {HELD_OUT:.0%} of the rows are held "
        "out, by their inputs: equal inputs stay together, and more rows move none."
    )
    return replace(parts, apart=(), splits=()), tuple(notes)


def _in_place(parts: Parts, data: str, dataset: bool) -> Parts:
    return parts if parts.paths or dataset else replace(parts, paths=(Path(data),))


def _write(proposal: Proposal, files: Mapping[str, Path], model: str) -> None:
    task = files.get("task")
    if task is None and (proposal.dataset or proposal.parts.split):
        raise DataError(
            "Conversations of a data set of the Hugging Face library are read from files.",
            slug="init-format",
            got=f"{proposal.source}, which looks like the format {proposal.guess.format}",
            fix="Write it to a file with to_json or to_parquet and run init on that.",
        )
    paths = relative(proposal.parts.paths, Path())
    settings = settings_text(proposal, task, model, [paths] if isinstance(paths, str) else paths)
    if task is not None:
        atomic_write(task, task_text(proposal))
    atomic_write(files["settings"], settings)


def _report(proposal: Proposal, seen: _Seen, files: Mapping[str, Path]) -> dict[str, Any]:
    """Print what was found and what to type next; the same for machines."""
    found = proposal.guess
    usable = _usable(seen.table, found)
    _show(proposal, seen, files, usable)
    command = f"regimen build {files['settings']}"
    console.line(f"next: {command}")
    return {
        "type": found.type,
        "format": found.format,
        "name": proposal.name,
        "columns": found.columns,
        "labels": found.labels,
        "answer": found.answer,
        "rows": len(seen.table.rows),
        "usable": usable,
        "failed": seen.failed,
        "more": seen.more,
        "files": files,
        "next": command,
    }


def _show(proposal: Proposal, seen: _Seen, files: Mapping[str, Path], usable: int) -> None:
    """Print the columns with their roles, why, and what was written."""
    found = proposal.guess
    roles = {theirs: ours for ours in found.columns for theirs in found.columns_of(ours)}
    kind = f": {found.format or found.type}"
    place, room = str(proposal.source), COLUMNS - len(kind)
    # the end of a long path says which file it is
    place = place if len(place) <= room else f"…{place[1 - room :]}"
    console.table(
        f"{place}{kind}",
        ["column", "role", "kind", "different", "of rows", "words"],
        [
            [
                c.name,
                roles.get(c.name, ""),
                c.kind,
                c.distinct,
                f"{c.filled:.0%}",
                round(c.words, 1),
            ]
            for c in seen.table.columns
        ],
    )
    _say(f"Looked at {proposal.seen}: {usable:,} usable, {seen.failed:,} unreadable besides.")
    for sentence in (*found.why.get("type", ()), *proposal.notes):
        _say(sentence)
    if found.unnamed:
        _say(f"The labels are numbers: name them in {files['task']}.")
    for file in files.values():
        console.line(f"wrote {file}")


def _say(sentence: str) -> None:
    console.line(textwrap.fill(" ".join(sentence.split()), COLUMNS, break_long_words=False))


def _usable(table: Table, found: Guess) -> int:
    """How many of the rows looked at become rows of the task; all where none is made."""
    if found.type == "instructions":
        return len(table.rows)
    rules = found.rules
    if not rules.labels and found.answer == "text":
        (output, *_) = found.columns_of("output")
        words = table.labels.get(output, ())
        rules = replace(rules, labels={str(n): word for n, word in enumerate(words)})
    usable = 0
    for row in table.rows:
        try:
            task_row(row, rules)
        except UnusableRow:
            continue
        usable += 1
    return usable
