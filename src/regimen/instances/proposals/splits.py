"""Which files and splits a data set has already, and whether its first line is a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from regimen.errors import DataError
from regimen.instances.compression import suffixes
from regimen.instances.data_rows import RowRules, UnusableRow, task_row
from regimen.instances.hub import is_saved, saved_splits
from regimen.instances.proposals.tables import Column, is_number
from regimen.instances.readers import RawRow, RowFailure, data_files

_TRAIN = ("train", "training", "trn")
_APART = ("test", "testing", "validation", "valid", "val", "dev", "eval", "heldout")
_PEEKED = 200
_USABLE = 0.9


@dataclass(frozen=True, slots=True)
class Parts:
    """What is learned from, and what may be held out, the likeliest first.

    ``paths`` and ``apart`` are files or folders; for a saved data set or one of the hub they are
    empty and ``split`` and ``splits`` name its parts.
    """

    paths: tuple[Path, ...] = ()
    apart: tuple[tuple[Path, ...], ...] = ()
    split: str = ""
    splits: tuple[str, ...] = ()


def parts_of(path: Path) -> Parts:
    """The parts of a file (with its neighbours), a directory or a folder of ``save_to_disk``.

    Raises:
        DataError: the path is missing, or nothing there is data.
    """
    if is_saved(path):
        return split_parts(saved_splits(path))
    if not path.is_dir():
        (file,) = data_files(path)
        kinds = suffixes(file)
        near = [one for one in sorted(file.parent.iterdir()) if suffixes(one) == kinds]
        return Parts(paths=(file,), apart=_apart(near, *_words(file)))
    files = data_files(path)
    training = [file for file in files if _words(file)[0] in _TRAIN]
    rest = _words(training[0])[1] if training else ""
    training = [file for file in training if _words(file)[1] == rest]
    if not training:
        return Parts(paths=(files[0],) if len(files) == 1 else (path,))
    return Parts(paths=tuple(training), apart=_apart(files, *_words(training[0])))


def split_parts(splits: Sequence[str]) -> Parts:
    """The parts of a data set whose splits have these names."""
    training = next((name for name in splits if name in _TRAIN), splits[0] if splits else "")
    apart = tuple(name for word in _APART for name in splits if name == word and name != training)
    return Parts(split=training, splits=apart)


def _words(file: Path) -> tuple[str, str]:
    """The word for a split in a file's name, and the name without it and the number of a part."""
    stem = file.name[: len(file.name) - sum(map(len, suffixes(file)))].casefold()
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", stem)
    pieces = re.split(r"[\W_]+", stem)
    word = next((piece for piece in pieces if piece in (*_TRAIN, *_APART)), "")
    return word, "_".join(piece for piece in pieces if piece != word)


def _apart(files: Sequence[Path], word: str, rest: str) -> tuple[tuple[Path, ...], ...]:
    """Files of the same name but for the word of the split, by the words' order."""
    if word not in _TRAIN:
        return ()
    groups = (tuple(f for f in files if _words(f) == (other, rest)) for other in _APART)
    return tuple(group for group in groups if group)


def usable_share(rows: Iterable[RawRow | RowFailure], rules: RowRules) -> float:
    """Share of the first rows that can be used by the rules; 0 where nothing can be read."""
    good = seen = 0
    try:
        for row in islice(rows, _PEEKED):
            seen += 1
            good += isinstance(row, RawRow) and _usable(row, rules)
    except DataError:
        return 0.0
    return good / seen if seen else 0.0


def _usable(row: RawRow, rules: RowRules) -> bool:
    try:
        task_row(row.values, rules)
    except UnusableRow:
        return False
    return True


def good_enough(share: float) -> bool:
    """Whether rows kept for evaluation have answers: some data sets hide those of their test."""
    return share >= _USABLE


def first_line_is_a_row(path: Path, columns: Sequence[Column]) -> bool:
    """Whether the names of the columns of a CSV or TSV file look like the values of a row."""
    if path.is_dir() or suffixes(path)[0] not in (".csv", ".tsv"):
        return False
    return any(_is_value(column) for column in columns)


def _is_value(column: Column) -> bool:
    """Whether a column's name is a sentence, a number among numbers, or one of few values."""
    name = column.name.strip()
    if len(name) > 60 or (len(name.split()) > 5 and name.endswith((".", "?", "!"))):
        return True
    if column.kind == "number":
        return is_number(name)
    return column.distinct <= 200 and any(value.strip() == name for value, _ in column.top)


def header_for(columns: Sequence[Column]) -> tuple[str, ...]:
    """Names for columns that have none: the first long text is asked, the shortest answers it.

    A third column of texts is taken for the steps that lead to the answer.
    """
    texts = [c for c in columns if c.kind == "text" and c.words >= 2] or list(columns[:1])
    asked = texts[0]
    rest = [c for c in columns if c is not asked]
    answer = min(rest, key=lambda c: c.words, default=None)
    steps = [c for c in rest if c is not answer and c.kind == "text"]
    names = {asked.name: "input"} | ({answer.name: "output"} if answer else {})
    if len(steps) == 1:
        names[steps[0].name] = "rationale"
    return tuple(names.get(c.name, f"column_{n}") for n, c in enumerate(columns, start=1))
