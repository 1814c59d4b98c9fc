"""Few rows in which every allowed pair of choices occurs."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

Row = dict[str, Any]
Pair = frozenset[tuple[str, int]]


def pairs_of(row: Row, factors: Mapping[str, Sequence[Any]]) -> set[Pair]:
    """Pairs of choices, by factor and place of the value."""
    places = [(name, factors[name].index(value)) for name, value in row.items()]
    return {frozenset(pair) for pair in combinations(places, 2)}


def covering(
    factors: Mapping[str, Sequence[Any]],
    allowed: Callable[[Row], bool],
    *,
    tries: int = 40,
    seed: int = 0,
) -> tuple[list[Row], list[Row]]:
    """Rows that hold every pair that some allowed row holds, and a row for each other pair.

    The first value of each factor is its plain one: what a row is filled up with.

    Returns:
        The allowed rows; for each pair that is never allowed, the plainest row that has it.
    """
    draw = random.Random(seed)
    plain = {name: values[0] for name, values in factors.items()}
    open_pairs = [
        ((a, x), (b, y))
        for a, b in combinations(factors, 2)
        for x in range(len(factors[a]))
        for y in range(len(factors[b]))
    ]
    draw.shuffle(open_pairs)
    covered: set[Pair] = set()
    rows: list[Row] = []
    refused: list[Row] = []
    for pair in open_pairs:
        if frozenset(pair) in covered:
            continue
        asked = {name: factors[name][place] for name, place in pair}
        start = plain | asked
        row = start if allowed(start) else _other(start, asked, factors, allowed, draw, tries)
        if row is None:
            refused.append(start)
            continue
        row = _filled(row, asked, factors, allowed, draw, covered)
        covered |= pairs_of(row, factors)
        rows.append(row)
    return rows, refused


def _other(
    start: Row,
    asked: Row,
    factors: Mapping[str, Sequence[Any]],
    allowed: Callable[[Row], bool],
    draw: random.Random,
    tries: int,
) -> Row | None:
    """An allowed row with a pair that plain values do not go with."""
    free = [name for name in factors if name not in asked]
    for name in free:
        for value in factors[name]:
            if allowed(start | {name: value}):
                return start | {name: value}
    for _ in range(tries):
        row = start | {name: draw.choice(list(factors[name])) for name in free}
        if allowed(row):
            return row
    return None


def _filled(
    row: Row,
    asked: Row,
    factors: Mapping[str, Sequence[Any]],
    allowed: Callable[[Row], bool],
    draw: random.Random,
    covered: set[Pair],
) -> Row:
    """The row with other values where they bring pairs that are not covered yet."""
    free = [name for name in factors if name not in asked]
    draw.shuffle(free)
    for name in free:
        best, gain = row, len(pairs_of(row, factors) - covered)
        values = list(factors[name])
        draw.shuffle(values)
        for value in values:
            one = row | {name: value}
            more = len(pairs_of(one, factors) - covered)
            if more > gain and allowed(one):
                best, gain = one, more
        row = best
    return row
