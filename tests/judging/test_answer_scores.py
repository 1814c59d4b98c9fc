"""Scores of several answers to a prompt: pytest tests/judging/test_answer_scores.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.judging.answer_scores import RatingScores, RuleScores, WinScores
from regimen.judging.judge import FunctionJudge
from regimen.protocols import AnswerScore, AnswerScorer
from regimen.records import Item, Message


def item(text: str = "q", *references: str) -> Item:
    return Item(suite="s", messages=(Message(role="user", content=text),), references=references)


def by_length(prompt: str, a: str, b: str) -> float:
    if "bad" in (a, b):
        raise ValueError("cannot be read")
    return float((len(a) > len(b)) - (len(a) < len(b)))


def values(found: list[list[AnswerScore]]) -> list[list[float | None]]:
    return [[one.value for one in some] for some in found]


def test_a_rule_scores_alone_and_its_errors_are_no_scores() -> None:
    def rule(answer: str, one: Item) -> float:
        return float(answer) if answer != "inf" else float("inf")

    scorer = RuleScores(rule, "number")
    assert isinstance(scorer, AnswerScorer)
    found = scorer.scores([(item(), ["1", "x", "inf"]), (item(), [])])
    assert values(found) == [[1.0, None, None], []]
    assert found[0][1].error.startswith("ValueError")
    assert "inf" in found[0][2].error


def test_ratings_are_those_of_the_judge() -> None:
    judge = FunctionJudge(lambda prompt, answer: float(len(answer)), "length", (1.0, 3.0))
    scorer = RatingScores(judge)
    assert isinstance(scorer, AnswerScorer)
    found = scorer.scores([(item(), ["a", "aa", "aaaa"]), (item("other"), ["aaa"])])
    assert values(found) == [[1.0, 2.0, None], [3.0]]
    assert found[0][2].error


@given(st.lists(st.lists(st.sampled_from(["a", "bb", "cc", "ddd"]), max_size=5), max_size=4))
def test_wins_are_the_mean_of_all_comparisons(asked: list[list[str]]) -> None:
    scorer = WinScores(FunctionJudge(by_length, "length"))
    found = scorer.scores([(item(str(n)), answers) for n, answers in enumerate(asked)])
    for answers, own in zip(asked, found, strict=True):
        for place, (answer, score) in enumerate(zip(answers, own, strict=True)):
            others = [by_length("", answer, x) for n, x in enumerate(answers) if n != place]
            if others:
                assert score.value == pytest.approx(sum(others) / len(others))
            else:
                assert (score.value, score.error) == (None, "nothing to compare it with")
        total = sum(one.value for one in own if one.value is not None)
        assert total == pytest.approx(0)


def test_comparisons_that_fail_count_for_neither_side() -> None:
    found = WinScores(FunctionJudge(by_length, "length")).scores([(item(), ["aa", "bad", "a"])])
    assert values(found) == [[1.0, None, -1.0]]
    assert "cannot be read" in found[0][1].error


def test_a_judge_that_prefers_a_place_finds_ties_alone() -> None:
    judge = FunctionJudge(lambda prompt, a, b: 1.0, "first")
    assert values(WinScores(judge).scores([(item(), ["a", "b"])])) == [[0.0, 0.0]]
    assert values(WinScores(judge, swap=False).scores([(item(), ["a", "b"])])) == [[1.0, -1.0]]
