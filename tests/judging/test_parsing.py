"""Verdicts as judges write them. Run: pytest tests/judging/test_parsing.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.judging.parsing import parse_preference, parse_rating


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Both try, but A is complete.\n[[A]]", 1),
        ("[[B]]", -1),
        ("I may answer [[A]], [[B]] or [[C]]. B is wrong.\n\n**[[A]]**", 1),
        ("[[c]]", 0),
        ("[[ Tie ]]", 0),
        ('{"reason": "shorter", "verdict": "B"}', -1),
        ('```json\n{"winner": "Answer A", "explanation": "right"}\n```', 1),
        ('{"preference": 2}', -1),
        ('{"Verdict": "tie"}', 0),
        ("A", 1),
        ("Answer B.", -1),
        ("2", -1),
        ("It's a tie.", 0),
        ("Answer A is clearly better because it is right.", 1),
        ("Both have merits.\nOverall, response 2 is better.", -1),
        ("Verdict: the second answer", -1),
        ("The better answer is A", 1),
        ("I would prefer to say less, but I prefer assistant B", -1),
        ("Both answers are equally good.", 0),
        ("Assistant A wins", 1),
    ],
)
def test_verdicts_of_pairs(text, value):
    found = parse_preference(text)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot decide.",
        "A car is a vehicle, B is a letter.",
        "Answer A is better. Answer B is better.",
        "Answer A is not better.",
        '{"verdict": "D"}',
        '{"verdict": true}',
        "[[D]]",
        "{broken",
        "[" * 2000 + "{" * 2000,
    ],
)
def test_no_verdict_is_none_and_no_default(text):
    assert parse_preference(text) is None


def test_the_reason_is_kept():
    assert parse_preference("B adds a wrong date.\n[[A]]").reason == "B adds a wrong date."
    assert parse_preference('{"verdict": "A", "reason": "shorter"}').reason == "shorter"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Good.\n[[7]]", 7),
        ("[[8.5]]", 8.5),
        ("[[9/10]]", 9),
        ("Rating: 4", 4),
        ("I give it a score of 6.", 6),
        ("This is 3/10.", 3),
        ("It deserves 10 out of 10", 10),
        ("7", 7),
        (" 7. ", 7),
        ('{"rating": 5, "reason": "fine"}', 5),
        ('{"score": "6/10"}', 6),
        ("[[10]]", 10),
    ],
)
def test_ratings(text, value):
    found = parse_rating(text, (1, 10))
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text",
    ["", "[[11]]", "[[0]]", "no rating", "3/10 or 4/10", "-5", "It has 7 lines and 3 errors"],
)
def test_ratings_that_are_none(text):
    assert parse_rating(text, (1, 10)) is None


@given(st.text(max_size=80))
def test_any_text_gives_a_verdict_of_the_scale_or_none(text):
    preference, rating = parse_preference(text), parse_rating(text, (1, 5))
    assert preference is None or preference.value in (-1, 0, 1)
    assert rating is None or 1 <= rating.value <= 5


@given(st.text(alphabet="ABab12 is.better\n[]"), st.sampled_from(["A", "B", "C"]))
def test_a_last_bracket_decides_whatever_stands_before_it(before, name):
    found = parse_preference(f"{before}\n[[{name}]]")
    assert found.value == {"A": 1, "B": -1, "C": 0}[name]
