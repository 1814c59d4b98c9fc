"""Positions of the right option: pytest tests/curation/test_balance.py."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.balance import PositionBalance

places = st.integers(1, 5).flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size)))
answers = st.lists(st.tuples(st.sampled_from("abc"), places), max_size=60)


def report(found: list[tuple[str, tuple[int, int]]], batches: int = 1) -> dict:  # type: ignore[type-arg]
    balance = PositionBalance()
    for start in range(batches):
        some = found[start::batches]
        balance.add(
            [task for task, _ in some],
            [["judged:yes", f"answer_at:{place}/{size}"] for _, (place, size) in some],
        )
    return balance.report()


@given(answers, st.integers(1, 5))
def test_every_answer_is_counted_once_however_it_comes(
    found: list[tuple[str, tuple[int, int]]], batches: int
) -> None:
    whole = report(found)
    assert whole == report(found, batches)
    if not found:
        assert whole == {}
        return
    assert sum(sum(row["counts"]) for row in whole["all"].values()) == len(found)
    assert set(whole["tasks"]) == {task for task, _ in found}
    for task, rows in whole["tasks"].items():
        for size, row in rows.items():
            assert row["counts"] == [
                found.count((task, (place, int(size)))) for place in range(1, int(size) + 1)
            ]
            assert (row["p"] is None) == (int(size) == 1 or sum(row["counts"]) < 5 * int(size))


def test_instances_without_options_are_not_counted() -> None:
    balance = PositionBalance()
    balance.add(["a", "b"], [[], ["judged:answer"]])
    assert balance.report() == {}


def counted(*counts: int, task: str = "t") -> list[tuple[str, tuple[int, int]]]:
    size = len(counts)
    return [(task, (place, size)) for place, n in enumerate(counts, start=1) for _ in range(n)]


def test_the_probability_is_that_of_the_chi_squared_test() -> None:
    # (40 - 30)^2 / 30 + (20 - 30)^2 / 30 = 6.67 with one degree of freedom
    assert report(counted(40, 20))["all"]["2"]["p"] == pytest.approx(0.0098, abs=1e-4)
    assert report(counted(30, 30))["all"]["2"]["p"] == 1.0
    assert report(counted(5, 4))["all"]["2"]["p"] is None
    found = [report(counted(50 + n, 50 - n))["all"]["2"]["p"] for n in range(0, 50, 10)]
    assert all(one > other for one, other in pairwise(found))


def test_uneven_tasks_are_named_as_many_tests_allow() -> None:
    uneven = counted(40, 20, task="uneven")
    even = [one for n in range(4) for one in counted(30, 30, task=f"even {n}")]
    assert report([*uneven, *even])["uneven"] == ["uneven"]
    more = [one for n in range(9) for one in counted(30, 30, task=f"even {n}")]
    # 0.0098 is below 0.05 / 5, and not below 0.05 / 10
    assert report([*uneven, *more])["uneven"] == []
    assert report(counted(2, 1))["uneven"] == []
