"""The rows of a task as columns, read once for all lints."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from regimen.instances.lints.spaces import bare
from regimen.instances.task_rows import accepted_outputs, input_text
from regimen.instances.words import normalise
from regimen.records import Row, Task

MOST_LABELS = 20
"""Different answers that still count as labels."""
ROWS_PER_LABEL = 3
"""Rows that a label answers at least, on average."""

_MARK = re.compile(r"^\s*[(\[]?([A-Za-z]|\d{1,2})[)\].:]+\s*")


@dataclass(frozen=True, slots=True)
class Columns:
    """What lints read of the rows; all sequences have one entry for each row.

    Args:
        task: the task.
        inputs: the input of each row, as it is.
        folded: the input normalised (``words.normalise``).
        keys: the same with the row's own options.
        answers: the accepted outputs; none where the row has no answer.
        options: the options of the row, or the task's.
    """

    task: Task
    inputs: tuple[str, ...]
    folded: tuple[str, ...]
    keys: tuple[str, ...]
    answers: tuple[tuple[str, ...], ...]
    options: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def first(self) -> list[str]:
        """The answer to learn of each row that has one."""
        return [answers[0] for answers in self.answers if answers]


def columns(task: Task, rows: Sequence[Row]) -> Columns:
    """The rows as columns."""
    own = [row_options(row) for row in rows]
    inputs = [input_text(row) for row in rows]
    folded = [normalise(text) for text in inputs]
    return Columns(
        task,
        tuple(inputs),
        tuple(folded),
        tuple(
            "\x1f".join((key, *map(normalise, options))) if options else key
            for key, options in zip(folded, own, strict=True)
        ),
        tuple(map(accepted_outputs, rows)),
        tuple(options or task.options for options in own),
    )


def row_options(row: Row) -> tuple[str, ...]:
    """The row's own options as texts; none where it has none."""
    value = row.get("options")
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()


def labels(answers: Sequence[str]) -> Counter[str] | None:
    """How often each answer occurs, normalised, most frequent first; None unless they are labels.

    Answers are labels when there are at most ``MOST_LABELS`` different ones, each given by
    ``ROWS_PER_LABEL`` rows on average.
    """
    counts = Counter(map(normalise, answers))
    if not counts or len(counts) > MOST_LABELS or len(answers) < ROWS_PER_LABEL * len(counts):
        return None
    return Counter(dict(counts.most_common()))


def next_others(answers: Sequence[str]) -> list[int]:
    """For each place that of the next other answer, from the start again; 0 where all are equal."""
    places = [0] * len(answers)
    other = next((i for i, answer in enumerate(answers) if answer != answers[-1]), 0)
    for i in range(len(answers) - 1, -1, -1):
        if i + 1 < len(answers) and answers[i] != answers[i + 1]:
            other = i + 1
        places[i] = other
    return places


def among(answer: str, options: Sequence[str]) -> bool:
    """Whether an answer is an option, or the letter or number that stands for one.

    Case, white space and punctuation around it do not count, nor a mark such as ``(A)`` in front.
    """
    if answer in options:
        return True
    known = _spellings(tuple(options))
    plain = bare(answer)
    if plain in known or bare(_MARK.sub("", answer)) in known:
        return True
    mark = plain if len(plain) < 3 else ""
    if len(mark) == 1 and "a" <= mark <= "z":
        return ord(mark) - ord("a") < len(options)
    return mark.isascii() and mark.isdigit() and 0 <= int(mark) <= len(options)


@lru_cache(maxsize=1024)
def _spellings(options: tuple[str, ...]) -> frozenset[str]:
    """The options without punctuation around them, with and without their marks."""
    marked = (_MARK.sub("", option) for option in options)
    return frozenset(map(bare, (*options, *marked)))
