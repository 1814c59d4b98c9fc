"""Demonstrations never leak the query: pytest tests/instances/test_demonstrations.py."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.demonstrations import (
    demonstration_ids,
    pick_demonstrations,
    seeded,
    within_budget,
)
from regimen.instances.words import normalise
from regimen.records import Example

words = st.sampled_from(["a", "A", "a  b", "A b", "ab", "é", "e\u0301", "", " ", "中文"])
examples = st.lists(st.builds(Example, input=words, output=words), max_size=8)
randoms = st.none() | st.integers(0, 20).map(Random)


@given(examples, words, st.integers(0, 9), randoms)
def test_no_example_equals_the_query_or_another(
    given_examples: list[Example], query: str, k: int, rng: Random | None
) -> None:
    shown = pick_demonstrations(given_examples, query, k, rng)
    keys = [normalise(example.input) for example in shown]
    different = {normalise(example.input) for example in given_examples} - {normalise(query)}
    assert len(set(keys)) == len(keys) == min(k, len(different))
    assert set(keys) <= different
    assert set(shown) <= set(given_examples)


def test_without_a_generator_the_order_is_the_given_one() -> None:
    given_examples = [Example(input=x, output=x) for x in "dbca"]
    shown = pick_demonstrations(given_examples, "b", 2, None)
    assert [example.input for example in shown] == ["d", "c"]


def test_the_draw_reaches_every_example_first() -> None:
    given_examples = [Example(input=x, output=x) for x in "abcd"]
    first = {pick_demonstrations(given_examples, "q", 1, seeded(seed))[0] for seed in range(60)}
    assert first == set(given_examples)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 60))
def test_the_longest_leading_run_within_the_limit_is_kept(sizes: list[int], limit: int) -> None:
    shown = [Example(input="x" * size, output="") for size in sizes]

    def length(kept: list[Example]) -> int:
        return 7 + sum(len(example.input) for example in kept)

    kept = within_budget(shown, length, limit)  # type: ignore[arg-type]
    assert kept == tuple(shown[: len(kept)])
    assert not kept or length(list(kept)) <= limit
    assert len(kept) == len(shown) or length(shown[: len(kept) + 1]) > limit


def test_ids_are_positions_among_the_tasks_examples() -> None:
    given_examples = [Example(input=x, output=x) for x in "abc"]
    shown = (given_examples[2], given_examples[0])
    assert demonstration_ids(shown, given_examples, "positive") == ("positive:3", "positive:1")


def test_a_generator_depends_on_every_part_and_their_borders() -> None:
    draws = {seeded(*parts).random() for parts in ((1, 23), (12, 3), (1, 2, 3), ("1", "2 3"))}
    assert len(draws) == 4
    assert seeded(7, "task", 3).random() == seeded(7, "task", 3).random()
