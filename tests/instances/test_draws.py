"""Draws: uniform, independent, functions of their names: pytest tests/instances/test_draws.py."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise
from math import sqrt

from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.draws import Draws

names = st.text(max_size=9)


def within_5_sigma(found: int, n: int, share: float) -> bool:
    return abs(found - n * share) < 5 * sqrt(n * share * (1 - share))


@given(st.integers(0, 2**40), names, st.integers(0, 2**40), names)
def test_a_draw_is_a_function_of_its_names(seed: int, task: str, row: int, variable: str) -> None:
    one, two = Draws(seed, task, row), Draws(seed, task, row)
    assert two.number("another variable") >= 0
    assert one.number(variable) == two.number(variable)
    assert 0 <= one.number(variable) < 2**63
    assert list(one.order(variable, 9)) == list(two.order(variable, 9))


def test_every_part_of_the_name_counts_and_so_do_their_borders() -> None:
    draws = [
        Draws(*parts).number("v")
        for parts in ((1, "t", 23), (12, "t", 3), (1, "t2", 3), (1, "t", 2, "3"), (1, "t\0002", 3))
    ]
    assert len(set(draws)) == len(draws)
    assert Draws(1, "\ud800", 0).number("v") != Draws(1, "\ud801", 0).number("v")


@given(st.integers(0, 99), st.integers(1, 40), st.integers(0, 40))
def test_an_order_is_one_and_may_be_read_as_far_as_it_is_wanted(seed: int, n: int, k: int) -> None:
    draws = Draws(seed, "t", 0)
    whole = list(draws.order("v", n))
    assert sorted(whole) == list(range(n))
    assert list(islice(draws.order("v", n), k)) == whole[:k]
    assert sorted(draws.shuffled("v", range(n))) == list(range(n))


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_every_row_of_a_smaller_one(row: int, one: float, two: float) -> None:
    small, large = sorted((one, two))
    draws = Draws(0, "t", row)
    assert draws.chance("v", small) <= draws.chance("v", large)
    assert draws.chance("v", 1.0)
    assert not draws.chance("v", 0.0)


def test_shares_and_places_are_uniform() -> None:
    n = 20_000
    rows = [Draws(3, "t", row) for row in range(n)]
    for share in (0.01, 0.3, 0.9):
        assert within_5_sigma(sum(one.chance("v", share) for one in rows), n, share)
    for places in (2, 3, 11):
        counts = Counter(one.index("v", places) for one in rows)
        assert all(within_5_sigma(counts[place], n, 1 / places) for place in range(places))
    first = Counter(next(one.order("v", 5)) for one in rows)
    assert all(within_5_sigma(first[place], n, 1 / 5) for place in range(5))
    shuffles = Counter(tuple(one.shuffled("v", "abc")) for one in rows)
    assert len(shuffles) == 6
    assert all(within_5_sigma(count, n, 1 / 6) for count in shuffles.values())


def test_variables_and_neighbouring_rows_are_independent() -> None:
    n = 20_000
    rows = [Draws(4, "t", row) for row in range(n)]
    for one, two in (("encoding", "inverted"), ("option_order", "option_labels")):
        both = sum(row.chance(one, 0.5) and row.chance(two, 0.5) for row in rows)
        assert within_5_sigma(both, n, 0.25)
    pairs = sum(a.chance("v", 0.5) and b.chance("v", 0.5) for a, b in pairwise(rows))
    assert within_5_sigma(pairs, n, 0.25)
    seeds = sum(Draws(s, "t", 0).chance("v", 0.5) for s in range(n))
    assert within_5_sigma(seeds, n, 0.5)
