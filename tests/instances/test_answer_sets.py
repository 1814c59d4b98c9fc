"""Answers to one prompt as pairs: pytest tests/instances/test_answer_sets.py."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.answer_sets import (
    Answer,
    AnswerSet,
    Choose,
    Kind,
    PairRule,
    demonstration,
    pairs_of,
    together,
)
from regimen.records import Lineage, Message

PROMPT = (Message(role="user", content="q"),)


def answer(text: str, score: float | None, **more: object) -> Answer:
    return Answer(turns=(Message(role="assistant", content=text),), score=score, **more)  # type: ignore[arg-type]


def of(*answers: Answer, kind: Kind = "scores", **more: object) -> AnswerSet:
    return AnswerSet(prompt=PROMPT, answers=answers, kind=kind, **more)  # type: ignore[arg-type]


scored = st.lists(
    st.tuples(
        st.sampled_from(["", " ", "a", "b", "c", "d"]),
        st.none() | st.integers(-3, 3).map(float),
    ),
    max_size=6,
)
chooses: st.SearchStrategy[Choose] = st.sampled_from(["all", "adjacent", "best_worst"])


@given(scored, chooses, st.sampled_from([0.0, 1.0, 2.5]))
def test_every_comparison_is_a_pair_or_is_dropped_with_a_reason(
    answers: list[tuple[str, float | None]], choose: Choose, least: float
) -> None:
    found = of(*(answer(text, score) for text, score in answers))
    made = pairs_of(found, PairRule(choose=choose, min_margin=least))
    usable = sum(bool(text.strip()) and score is not None for text, score in answers)
    wanted = {"all": usable * (usable - 1) // 2, "adjacent": usable - 1, "best_worst": 1}
    assert made.compared == (wanted[choose] if usable > 1 else 1)
    assert usable + sum(made.left_out.values()) == len(answers)
    for pair in made.kept:
        better, worse = (pair.lineage.variant.removeprefix("answers=")).split(">")
        chosen, rejected = answers[int(better) - 1], answers[int(worse) - 1]
        assert (pair.chosen[0].text, pair.rejected[0].text) == (chosen[0], rejected[0])
        assert chosen[1] is not None
        assert rejected[1] is not None
        assert pair.margin == chosen[1] - rejected[1] > 0
        assert pair.margin >= least
        assert chosen[0] != rejected[0]
    reasons = {lost.reason for lost in made.dropped}
    assert reasons <= {"tie", "equal_answers", "no_comparison"}
    assert ("no_comparison" in reasons) == (usable < 2)


@given(scored, chooses)
def test_only_answers_that_none_beats_are_demonstrations(
    answers: list[tuple[str, float | None]], choose: Choose
) -> None:
    made = pairs_of(of(*(answer(t, s) for t, s in answers)), PairRule(choose=choose))
    highest = max((s for t, s in answers if s is not None and t.strip()), default=None)
    best = [int(p.lineage.variant.removeprefix("answers=").split(">")[0]) for p in made.kept]
    expected = {place for place in best if answers[place - 1][1] == highest}
    shown = [
        int(p.lineage.variant.removeprefix("answers=").split(">")[0]) for p in made.demonstrations
    ]
    assert sorted(shown) == sorted(expected)


def test_ways_to_choose() -> None:
    four = of(*(answer(text, score) for text, score in (("b", 2), ("d", 0), ("a", 3), ("c", 1))))
    said = {
        choose: [p.chosen[0].text + p.rejected[0].text for p in pairs_of(four, rule).kept]
        for choose, rule in {
            c: PairRule(choose=c)
            for c in ("all", "adjacent", "best_worst")  # type: ignore[arg-type]
        }.items()
    }
    assert said["all"] == ["".join(two) for two in combinations("abcd", 2)]
    assert said["adjacent"] == ["ab", "bc", "cd"]
    assert said["best_worst"] == ["ad"]


@pytest.mark.parametrize(
    ("kind", "margin"),
    [("scores", 2.0), ("votes", 2.0), ("ranks", None), ("labels", None), ("rules", None)],
)
def test_only_distances_are_margins(kind: Kind, margin: float | None) -> None:
    (pair,) = pairs_of(of(answer("a", 3), answer("b", 1), kind=kind), PairRule()).kept
    assert pair.margin == margin


def test_broken_rules_and_authors_are_in_the_lineage() -> None:
    found = of(
        answer("bad", -1.0, breaks=("no threats", "no lies"), author="m1"),
        answer("good", 0.0, author="m2"),
        kind="rules",
        lineage=Lineage(source="s", row=3, variant="v"),
    )
    (pair,) = pairs_of(found, PairRule()).kept
    assert pair.lineage.verdicts == ("rejected_breaks:no threats", "rejected_breaks:no lies")
    assert (pair.lineage.generator, pair.lineage.variant) == ("m2", "v;answers=2>1")


def test_loose_sets_of_a_prompt_come_together_where_the_first_stood() -> None:
    other = AnswerSet(
        prompt=(Message(role="user", content="other"),), answers=(answer("x", 1),), kind="labels"
    )
    rows = [
        of(answer("a", 1.0), kind="labels", loose=True),
        other,
        of(answer("b", 0.0), kind="labels", loose=True),
        of(answer("c", 0.0), kind="labels"),
    ]
    found = together(rows)
    assert [len(one.answers) for one in found] == [2, 1, 1]
    assert [t.text for one in found for a in one.answers for t in a.turns] == ["a", "b", "x", "c"]


def test_a_demonstration_learns_the_preferred_answer_alone() -> None:
    before = (*PROMPT, Message(role="assistant", content="hm"), *PROMPT)
    found = AnswerSet(prompt=before, answers=(answer("a", 1), answer("b", 0)), kind="scores")
    (pair,) = pairs_of(found, PairRule()).kept
    made = demonstration(pair)
    assert [(m.text, m.train) for m in made.messages] == [
        ("q", None),
        ("hm", False),
        ("q", None),
        ("a", None),
    ]
    assert made.lineage.variant.endswith("demonstration")
