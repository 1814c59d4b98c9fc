"""Demonstrations never leak the query: pytest tests/instances/test_demonstrations.py."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.demonstrations import Pool, Shot, pick, within_budget
from regimen.instances.draws import Draws, seeded
from regimen.instances.words import normalise
from regimen.records import Example, Task

words = st.sampled_from(["a", "A", "a  b", "A b", "ab", "é", "e\u0301", "", " ", "中文"])
examples = st.lists(st.builds(Example, input=words, output=words), max_size=8)


def pool(given_examples: Sequence[Example]) -> Pool:
    return Pool.of(Task(name="t", positive=tuple(given_examples)))


@given(examples, words, st.integers(0, 9), st.integers(0, 20))
def test_no_example_equals_the_query_or_another(
    given_examples: list[Example], query: str, k: int, seed: int
) -> None:
    shots = pool(given_examples).positive
    order = Draws(seed, "t", 0).order("positive", len(shots))
    shown = pick(shots, normalise(query), k, order)
    keys = [normalise(shot.example.input) for shot in shown if shot.example]
    different = {normalise(example.input) for example in given_examples} - {normalise(query)}
    assert len(set(keys)) == len(keys) == min(k, len(different))
    assert set(keys) <= different
    assert set(shown) <= set(shots)


def test_without_an_order_it_is_the_given_one_twins_included() -> None:
    shots = pool([Example(input=x, output=x) for x in "dbdca"]).positive
    assert [shot.key for shot in pick(shots, "b", 3)] == ["d", "d", "c"]


def test_the_draw_reaches_every_example_first_and_more_begin_with_fewer() -> None:
    shots = pool([Example(input=x, output=x) for x in "abcd"]).positive
    draws = [Draws(0, "t", row) for row in range(80)]
    first = {pick(shots, "q", 1, one.order("x", 4))[0] for one in draws}
    assert first == set(shots)
    for one in draws:
        more = pick(shots, "q", 3, one.order("x", 4))
        assert pick(shots, "q", 2, one.order("x", 4)) == more[:2]


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 60))
def test_the_longest_leading_run_within_the_limit_is_kept(sizes: list[int], limit: int) -> None:
    def prompt(kept: Sequence[int]) -> str:
        return "x" * (7 + sum(kept))

    kept = within_budget(sizes, prompt, lambda text: len(text) <= limit)
    assert kept == tuple(sizes[: len(kept)])
    assert not kept or len(prompt(kept)) <= limit
    assert len(kept) == len(sizes) or len(prompt(sizes[: len(kept) + 1])) > limit


def test_names_are_places_among_examples_and_row_numbers() -> None:
    task = Task(
        name="t",
        positive=(Example(input="a", output="b"),),
        negative=(Example(input="c", output="d"), Example(input="e", output="f")),
    )
    rows = [(7, {"input": " B ", "output": "x"}), (9, {"input": "c", "output": ""})]
    made = Pool.of(task, rows)
    assert [shot.id for shot in made.shots("both")] == ["positive:1", "row:7"]
    assert [shot.id for shot in made.negative] == ["negative:1", "negative:2"]
    assert made.rows == (Shot("row:7", "b", None, 7, rows[0][1]),)


def test_a_generator_depends_on_every_part_and_their_borders() -> None:
    draws = {seeded(*parts).random() for parts in ((1, 23), (12, 3), (1, 2, 3), ("1", "2 3"))}
    assert len(draws) == 4
    assert seeded(7, "task", 3).random() == seeded(7, "task", 3).random()
