"""Answer scorers: pytest tests/judging/test_rules.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.judging.rules import (
    contains,
    exact,
    item_scorer,
    json_valid,
    normalised,
    numeric,
)
from regimen.records import Item


@given(st.text())
def test_an_answer_equals_itself(text: str) -> None:
    assert exact(text, [text]) == normalised(text, [text]) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [(" cat\n", "cat", 1), ("Cat", "cat", 0), ("cat.", "cat", 0), ("", " ", 1)],
)
def test_exact(answer: str, reference: str, score: float) -> None:
    assert exact(answer, [reference]) == score


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("The  Cat.", "the cat", 1),
        ("«Le chat»", "le chat", 1),
        ("¿Qué?", "qué", 1),
        ("ＣＡＴ", "cat", 1),
        ("cat, dog", "cat dog", 0),
        ("-5", "5", 1),  # outer punctuation; use `numeric` for numbers
        ("!", "?", 0),
        ("!", "!", 1),
        ("où", "ou", 0),
        ("答案。", "答案", 1),
    ],
)
def test_normalised(answer: str, reference: str, score: float) -> None:
    assert normalised(answer, [reference]) == score


def test_numeric_is_exact_and_needs_a_number_on_both_sides() -> None:
    assert numeric("about 0.10", ["0.1"]) == 1.0
    assert numeric("0.1000001", ["0.1"]) == 0.0
    assert numeric("none", ["nothing"]) == 0.0
    assert numeric("7", ["8", "7.0"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("I think it is Paris, France.", "paris", 1),
        ("nothing", "no", 0),
        ("a New  York taxi", "new york", 1),
        ("我住在北京市", "北京", 1),
        ("4 < 5", "<", 1),
        ("4 > 5", "<", 0),
        ("anything", "", 0),
    ],
)
def test_contains(answer: str, reference: str, score: float) -> None:
    assert contains(answer, [reference]) == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"a": [1, null, "x"]}', 1),
        (" 3 ", 1),
        ("", 0),
        ("{'a': 1}", 0),
        ('{"a": 1} and more', 0),
        ("NaN", 0),
        ('{"a": Infinity}', 0),
        ("[" * 100_000, 0),
    ],
)
def test_json_valid(answer: str, score: float) -> None:
    assert json_valid(answer) == score


def test_a_rule_scores_an_item_by_its_references() -> None:
    item = Item(suite="s", messages=(), references=("4", "four"))
    assert item_scorer(exact)("four", item) == 1.0
    assert item_scorer(exact)("5", item) == 0.0
