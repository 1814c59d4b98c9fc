"""Rows that begin alike share their beginning: it goes through the model once.

The instances of a task have its definition in common. As segments that continue one prefix they
have the same losses and gradients as rows of their own, for fewer tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from regimen.tokens.rendering import Rendered

LEAST = 8
"""Shorter beginnings than this many tokens are not shared: a segment costs something too."""


@dataclass(frozen=True, slots=True)
class RenderedShared:
    """A beginning that nothing is learnt from, and the rows that go on from it."""

    prefix: tuple[int, ...]
    rests: tuple[Rendered, ...]


def share_prefixes(rows: Sequence[Rendered], most: int) -> list[Rendered | RenderedShared]:
    """Rows grouped by what they begin with, at most ``most`` in a group.

    A group begins with what all its rows have in common, up to the first supervised token and short
    of the last token of each. The order of the result depends on the rows alone.
    """
    if most < 2:
        return list(rows)
    return list(_groups(sorted(rows, key=lambda row: row.ids), most))


def _groups(rows: Sequence[Rendered], most: int) -> Iterator[Rendered | RenderedShared]:
    start = 0
    while start < len(rows):
        common, end = _unsupervised(rows[start]), start + 1
        while end < len(rows) and end - start < most:
            alike = common_beginning(rows[start].ids, rows[end].ids, common)
            shared = min(alike, _unsupervised(rows[end]))
            if shared < LEAST or (common - shared) * (end - start) > shared:
                break  # what it would take from the others is more than what it saves
            common, end = shared, end + 1
        yield _group(rows[start:end], common)
        start = end


def _group(rows: Sequence[Rendered], common: int) -> Rendered | RenderedShared:
    if len(rows) == 1:
        return rows[0]
    rests = tuple(replace(r, ids=r.ids[common:], weights=r.weights[common:]) for r in rows)
    return RenderedShared(rows[0].ids[:common], rests)


def _unsupervised(row: Rendered) -> int:
    """Tokens before the first that is learnt, at most all but one."""
    first = next((i for i, weight in enumerate(row.weights) if weight), len(row.ids))
    return min(first, len(row.ids) - 1)


def common_beginning(a: Sequence[int], b: Sequence[int], most: int | None = None) -> int:
    """How many ids two rows begin with alike, looking at no more than ``most``."""
    end = min(len(a), len(b)) if most is None else min(len(a), len(b), most)
    if a[:end] == b[:end]:
        return end
    for place in range(end):
        if a[place] != b[place]:
            return place
    return end
