"""Answers as labels and as lists: pytest tests/instances/test_answer_records.py."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.answer_records import (
    all_labelled,
    all_ranked,
    labelled_of,
    labels_of_pair,
    list_of_pair,
    ranked_of,
)
from regimen.instances.answer_sets import Answer, AnswerSet, Kind, PairRule
from regimen.records import Lineage, Message, Preference

RULE = PairRule()


def turns(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)


def answers(kind: Kind, *scored: tuple[str, float | None], **more: Any) -> AnswerSet:
    return AnswerSet(
        prompt=(Message(role="user", content="q"),),
        answers=tuple(Answer(turns=turns(text), score=score) for text, score in scored),
        kind=kind,
        lineage=Lineage(source="s", row=7),
        weight=2.0,
        **more,
    )


def test_labels_and_broken_rules_are_labels() -> None:
    found = labelled_of(answers("labels", ("a", 1.0), ("b", 0.0)), RULE)
    assert [(one.answer[0].text, one.desirable) for one in found.kept] == [
        ("a", True),
        ("b", False),
    ]
    assert {one.weight for one in found.kept} == {2.0}
    assert len({one.instance_id for one in found.kept}) == 2
    broken = AnswerSet(
        prompt=(Message(role="user", content="q"),),
        answers=(
            Answer(turns=turns("a"), score=-1.0, breaks=("rude",), author="ann"),
            Answer(turns=turns("b"), score=0.0),
        ),
        kind="rules",
    )
    kept = labelled_of(broken, RULE).kept
    assert [one.desirable for one in kept] == [False, True]
    assert kept[0].lineage.verdicts == ("breaks:rude",)
    assert kept[0].lineage.generator == "ann"


def test_ratings_are_labels_from_a_rating_on_and_ranks_never_are() -> None:
    rated = answers("scores", ("a", 4.0), ("b", 3.9), ("c", None), (" ", 5.0))
    found = labelled_of(rated, PairRule(desirable_from=4.0))
    assert [one.desirable for one in found.kept] == [True, False]
    assert [one.reason for one in found.dropped] == ["answer_without_score", "empty_answer"]
    for unlabelled in (rated, answers("ranks", ("a", -1.0), ("b", -2.0))):
        reasons = Counter(one.reason for one in labelled_of(unlabelled, RULE).dropped)
        assert reasons["no_label"] == 2
    assert labelled_of(answers("ranks", ("a", -1.0)), PairRule(desirable_from=0)).kept == ()


def test_lists_keep_ties_and_leave_out_what_says_nothing() -> None:
    (one,) = ranked_of(answers("scores", ("a", 2.0), ("", 9.0), ("b", 2.0), ("c", None)), RULE).kept
    assert [answer[0].text for answer in one.answers] == ["a", "b"]
    assert one.scores == (2.0, 2.0)
    lost = ranked_of(answers("ranks", ("", -1.0)), RULE)
    assert lost.kept == ()
    assert [each.reason for each in lost.dropped] == ["empty_answer"]
    assert ranked_of(answers("ranks"), RULE).dropped[0].reason == "no_answer"


def test_rows_of_one_prompt_are_one_list_but_labels_of_their_own() -> None:
    rows = [
        answers("labels", (text, score), loose=True) for text, score in (("a", 1.0), ("b", 0.0))
    ]
    assert [one.kept[0].scores for one in all_ranked(rows, [], RULE)] == [(1.0, 0.0)]
    assert [len(one.kept) for one in all_labelled(rows, [], RULE)] == [1, 1]


def test_a_pair_is_two_labels_or_a_list() -> None:
    pair = Preference(prompt=turns("q"), chosen=turns("a"), rejected=turns("b"), weight=3.0)
    assert [(one.answer, one.desirable) for one in labels_of_pair(pair)] == [
        (pair.chosen, True),
        (pair.rejected, False),
    ]
    assert list_of_pair(pair).scores == (1.0, 0.0)
    assert [len(one.kept) for one in all_labelled([], [pair], RULE)] == [2]
    assert [one.kept[0].weight for one in all_ranked([], [pair], RULE)] == [3.0]


@given(
    st.sampled_from(["ranks", "scores", "votes", "labels", "rules"]),
    st.lists(st.tuples(st.sampled_from(["", "a", "b"]), st.sampled_from([None, -1.0, 0.0, 1.0]))),
    st.sampled_from([None, 0.5]),
)
def test_every_answer_is_kept_or_dropped_with_a_reason(
    kind: Kind, scored: list[tuple[str, float | None]], least: float | None
) -> None:
    found = answers(kind, *scored)
    rule = PairRule(desirable_from=least)
    labelled = labelled_of(found, rule)
    assert len(labelled.kept) + len(labelled.dropped) == len(scored)
    assert all(one.reason for one in labelled.dropped)
    listed = ranked_of(found, rule)
    assert len(listed.kept) + len(listed.dropped) == 1
    kept = sum(len(one.answers) for one in listed.kept)
    assert kept + sum(listed.left_out.values()) == len(scored)
