"""Demonstrations: worked examples of the same task that come before the query.

They never contain the instance itself or one with an equal input, and they give way to the query
when the prompt would become too long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from regimen.instances.encodings import FormattingSpec
from regimen.instances.options import options_of, place_of
from regimen.instances.task_rows import accepted_outputs, numbered_rows, row_key
from regimen.instances.words import normalise
from regimen.records import Example, Row, Task

__all__ = ["Pool", "Shot", "pick", "prompt_fits", "shown_rows", "within_budget"]

CANDIDATES = 256
"""Most rows of a task that may be shown as demonstrations, drawn by the seed."""
T = TypeVar("T")
Fits = Callable[[str], bool]
"""Whether a prompt keeps to its budget of characters and tokens."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A demonstration and its name in the lineage.

    ``positive:2`` is the task's second positive example, ``row:17`` its row 17, which ``row`` then
    holds. ``key`` is what tells inputs apart.
    """

    id: str
    key: str
    example: Example | None = None
    number: int = -1
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Pool:
    """All demonstrations that a task has."""

    positive: tuple[Shot, ...]
    negative: tuple[Shot, ...]
    rows: tuple[Shot, ...] = ()

    @classmethod
    def of(cls, task: Task, rows: Sequence[tuple[int, Row]] = ()) -> Pool:
        """The task's examples, and those of its rows that show an answer.

        A row whose answer is none of its options is wrong, and shown to nobody.
        """
        sides = []
        for kind, examples in (("positive", task.positive), ("negative", task.negative)):
            numbered = enumerate(examples, start=1)
            sides.append(tuple(Shot(f"{kind}:{n}", normalise(e.input), e) for n, e in numbered))
        usable = ((n, row) for n, row in rows if _shows_answer(task, row))
        found = tuple(Shot(f"row:{n}", row_key(row), None, n, row) for n, row in usable)
        return cls(sides[0], sides[1], found)

    def shots(self, wanted: str) -> tuple[Shot, ...]:
        """The positive demonstrations from ``examples``, ``rows`` or ``both``."""
        taken = {"examples": self.positive, "rows": self.rows}
        return taken.get(wanted, self.positive + self.rows)


def _shows_answer(task: Task, row: Row) -> bool:
    answers, options = accepted_outputs(row), options_of(row, task.options)
    return bool(answers) and (not options or place_of(answers, options) is not None)


def pick(
    shots: Sequence[Shot], query: str, k: int, order: Iterator[int] | None = None
) -> tuple[Shot, ...]:
    """At most ``k`` demonstrations, none with the query's input, in a random order no input twice.

    Inputs are equal when they differ in case, white space and compatibility forms alone.

    Args:
        shots: to choose from.
        query: the key of the row that is asked.
        k: how many.
        order: places of ``shots`` in the order to try. Without one they are the first, as they
            stand, even where two have the same input: so the published encoding shows them.
    """
    if k < 1:
        return ()
    if order is None:
        return tuple(shot for shot in shots if shot.key != query)[:k]
    seen = {query}
    found: list[Shot] = []
    for place in order:
        if shots[place].key not in seen:
            seen.add(shots[place].key)
            found.append(shots[place])
            if len(found) == k:
                break
    return tuple(found)


def prompt_fits(spec: FormattingSpec, tokens: Callable[[str], int] | None) -> Fits:
    """Whether a prompt keeps to the budget of the spec.

    Raises:
        ValueError: the spec bounds tokens, and nothing counts them.
    """
    if spec.max_tokens is None:
        return lambda prompt: len(prompt) <= spec.max_characters
    if tokens is None:
        raise ValueError("max_tokens needs a tokenizer that counts them")
    most, count = spec.max_tokens, tokens
    return lambda prompt: len(prompt) <= spec.max_characters and count(prompt) <= most


def shown_rows(
    task: Task, seed: int, made: Sequence[tuple[int, Row]] | None = None
) -> Sequence[tuple[int, Row]]:
    """At most ``CANDIDATES`` rows that may be shown: none that a held-out row asks again.

    Args:
        task: whose rows they are.
        seed: of the draw.
        made: the rows that its generator made.
    """
    rows = list(made[:CANDIDATES]) if made else numbered_rows(task, CANDIDATES, seed)
    asked = set(map(row_key, task.held_out))
    return [one for one in rows if row_key(one[1]) not in asked] if asked else rows


def within_budget(
    shown: Sequence[T], prompt: Callable[[Sequence[T]], str], fits: Fits
) -> tuple[T, ...]:
    """The longest run of leading demonstrations whose prompt keeps to the budget."""
    kept = list(shown)
    while kept and not fits(prompt(kept)):
        kept.pop()
    return tuple(kept)
