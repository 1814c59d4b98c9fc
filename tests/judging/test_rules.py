"""Answer scorers: pytest tests/judging/test_rules.py"""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.judging.rules import (
    RULES,
    contains,
    exact,
    item_scorer,
    json_valid,
    last_number,
    normalised,
    numeric,
    rouge_l,
    rule_named,
)
from regimen.records import Item


@given(st.sampled_from(sorted(RULES)), st.text(), st.lists(st.text(), max_size=3))
def test_every_score_is_between_0_and_1(name: str, answer: str, references: list[str]) -> None:
    score = RULES[name](answer, references)
    assert isinstance(score, float)
    assert 0 <= score <= 1


@given(st.sampled_from(sorted(set(RULES) - {"json_valid"})), st.text(), st.text(), st.text())
def test_more_references_never_lower_a_score(name: str, answer: str, a: str, b: str) -> None:
    rule = RULES[name]
    assert rule(answer, [a, b]) == max(rule(answer, [a]), rule(answer, [b]))


@pytest.mark.parametrize("name", sorted(set(RULES) - {"json_valid"}))
def test_without_references_nothing_is_right(name: str) -> None:
    assert RULES[name]("1", []) == 0.0


@given(st.text())
def test_an_answer_equals_itself(text: str) -> None:
    assert exact(text, [text]) == normalised(text, [text]) == rouge_l(text, [text]) == 1.0


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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("42", "42"),
        ("The answer is 42.", "42"),
        ("first 3, then 4", "4"),
        ("-3.50", "-3.5"),
        ("\u22127", "-7"),
        ("10-3", "3"),
        ("1,234", "1234"),
        ("1,234,567.5", "1234567.5"),
        ("3,14", "3.14"),
        ("1.234,5", "1234.5"),
        ("1.234.567", "1234567"),
        ("1\u202f234,5", "1234.5"),
        (".5", "0.5"),
        ("6E-2", "0.06"),
        ("$5 million", "5"),
        ("1,2,3", "3"),
        ("٤٢", "42"),
        ("five", None),
        ("", None),
        ("x2", None),
    ],
)
def test_last_number(text: str, number: str | None) -> None:
    assert last_number(text) == (None if number is None else Decimal(number))


def test_numeric_is_exact_and_needs_a_number_on_both_sides() -> None:
    assert numeric("about 0.10", ["0.1"]) == 1.0
    assert numeric("0.1000001", ["0.1"]) == 0.0
    assert numeric("none", ["nothing"]) == 0.0
    assert numeric("7", ["8", "7.0"]) == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the cat", "the cat sat", 2 * 2 / 5),
        ("sat cat the", "the cat sat", 2 * 1 / 6),
        ("a b", "c d", 0),
        ("猫坐着", "猫坐下", 2 * 2 / 6),
        ("", "a", 0),
        ("", "", 1),
    ],
)
def test_rouge_l(answer: str, reference: str, score: float) -> None:
    assert rouge_l(answer, [reference]) == pytest.approx(score)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_rouge_l_agrees_with_a_naive_one(a: list[str], b: list[str]) -> None:
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    expected = 2 * row[-1] / (len(a) + len(b)) if a and b else float(not a and not b)
    assert rouge_l(" ".join(a), [" ".join(b)]) == pytest.approx(expected)


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


def test_rules_are_found_by_name_and_unknown_names_get_a_hint() -> None:
    assert rule_named("exact") is exact
    with pytest.raises(EvaluationError) as caught:
        rule_named("rougel")
    assert caught.value.slug == "unknown-rule"
    assert "rouge_l" in caught.value.fix


def test_a_rule_scores_an_item_by_its_references() -> None:
    item = Item(suite="s", messages=(), references=("4", "four"))
    assert item_scorer(exact)("four", item) == 1.0
    assert item_scorer(exact)("5", item) == 0.0
