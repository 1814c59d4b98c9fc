"""pytest tests/alignment/test_forms.py: records as rows of answers, and conditioned prompts."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.alignment.conditioned import Hindsight, Quark, conditioned
from regimen.alignment.forms import (
    Row,
    answer_table,
    answers_in,
    records_of,
    roles_of,
    scores_of,
    why_unusable,
    with_mismatched,
)
from regimen.objectives.answers import BEST, MISMATCHED, OTHER
from regimen.records import Labelled, Lineage, Message, Preference, Ranked, ToolCall
from regimen.tokens.rendering import RenderedAnswers


def said(text, role="assistant"):
    return (Message(role=role, content=text),)


PROMPT = said("which?", "user")
PAIR = Preference(
    prompt=PROMPT, chosen=said("a"), rejected=said("b"), lineage=Lineage(row=3), weight=2.0
)


def ranked(*scores):
    answers = tuple(said(str(n)) for n in range(len(scores)))
    return Ranked(prompt=PROMPT, answers=answers, scores=scores)


def test_a_pair_is_read_in_each_form():
    assert records_of("pairs", PAIR) == records_of("any", PAIR) == [PAIR]
    good, bad = records_of("labelled", PAIR)
    assert (good.answer, good.desirable, bad.answer, bad.desirable) == (
        *(PAIR.chosen, True),
        *(PAIR.rejected, False),
    )
    (listed,) = records_of("ranked", PAIR)
    assert (listed.answers, listed.scores) == ((PAIR.chosen, PAIR.rejected), (1.0, 0.0))
    for made in (good, bad, listed):
        assert (made.prompt, made.lineage, made.weight) == (PROMPT, PAIR.lineage, 2.0)
        assert records_of("labelled", made) == [made]
    alike = Preference(prompt=PROMPT, chosen=said("a"), rejected=said("a"))
    assert records_of("labelled", alike) == [alike]  # removed as it is, not wanted and unwanted


def test_roles_and_scores():
    assert roles_of(PAIR) == (BEST, OTHER)
    assert roles_of(ranked(1.0, 3.0, 3.0)) == (OTHER, BEST, OTHER)
    bad = Labelled(prompt=PROMPT, answer=said("a"), desirable=False)
    assert (roles_of(bad), scores_of(bad), answers_in(bad)) == ((OTHER,), (0.0,), (said("a"),))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (PAIR, ""),
        (Preference(prompt=PROMPT, chosen=said(" \n"), rejected=said("b")), "empty_answer"),
        (Labelled(prompt=PROMPT, answer=(), desirable=True), "empty_answer"),
        (Labelled(prompt=(), answer=said("a"), desirable=True), "empty_prompt"),
        (Labelled(prompt=PROMPT, answer=said("a"), desirable=True, weight=0.0), "bad_weight"),
        (replace(PAIR, weight=-1.0), "bad_weight"),
        (replace(PAIR, weight=math.nan), "bad_weight"),
        (
            Preference(prompt=said(" ", "user"), chosen=said("a"), rejected=said("b")),
            "empty_prompt",
        ),
        (Preference(prompt=PROMPT, chosen=said("a", "user"), rejected=said("b")), "user_in_answer"),
        (Ranked(prompt=PROMPT, answers=(), scores=()), "empty_answer"),
        (Preference(prompt=PROMPT, chosen=said("a"), rejected=said("a")), "equal_answers"),
        (Ranked(prompt=PROMPT, answers=(said("a"),) * 3, scores=(1.0, 2, 3)), "equal_answers"),
        (ranked(1.0, 1.0), "tied_answers"),
        (ranked(2.0), "tied_answers"),
        (ranked(1.0, math.nan), "answers_without_scores"),
        (Ranked(prompt=PROMPT, answers=(said("a"),) * 2, scores=(1.0,)), "answers_without_scores"),
        (
            Labelled(
                prompt=PROMPT,
                answer=(
                    Message(
                        role="assistant", content="", tool_calls=(ToolCall(name="f", arguments=""),)
                    ),
                ),
                desirable=True,
            ),
            "",
        ),
    ],
)
def test_what_nothing_can_be_learnt_from(record, reason):
    assert why_unusable(record) == reason


def row(prompt, *answers):
    return Row(RenderedAnswers(prompt, answers), (BEST,) * len(answers), (1.0,) * len(answers))


@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.integers(0, 5))
def test_each_row_gets_an_answer_to_another_prompt_where_there_is_one(prompts, seed):
    rows = [row((prompt,), (100 + number,)) for number, prompt in enumerate(prompts)]
    made = with_mismatched(rows, seed, 50)
    assert made == with_mismatched(rows, seed, 50)
    for before, after in zip(rows, made, strict=True):
        own, other = after.rendered.answers
        assert own == before.rendered.answers[0]
        assert after.roles == (BEST, MISMATCHED)
        if len(set(prompts)) > 1:
            assert prompts[other[0] - 100] != after.rendered.prompt[0]
    if len(set(prompts)) == len(prompts):  # then every answer is taken once
        assert sorted(after.rendered.answers[1] for after in made) == sorted(
            r.rendered.answers[0] for r in rows
        )


def test_a_mismatched_answer_is_cut_to_the_room_there_is():
    made = with_mismatched([row((1,) * 6, (2,)), row((3,), (4,) * 6)], 0, 8)
    assert made[0].rendered.answers[1] == (4, 4)
    assert made[1].rendered.answers[1] == (2,)


def test_a_mismatched_answer_brings_its_weights():
    marked = Row(RenderedAnswers((3,), ((4, 5, 6),), weights=((1.0, 0.0, 1.0),)), (BEST,), (1.0,))
    made = with_mismatched([row((1,), (2,)), marked], 0, 8)
    assert made[0].rendered.weights == ((1.0,), (1.0, 0.0, 1.0))
    assert made[1].rendered.weights == ((1.0, 0.0, 1.0), (1.0,))


def test_the_table_counts_answers_along_the_rows():
    table = answer_table([row((1,), (2,), (3,)), row((1,), (2,)), row((1,), (2,), (3,), (4,))])
    assert table.first_R.tolist() == [0, 2, 3]
    assert len(table.role_A) == len(table.reference_A) == 6
    assert not table.reference_A.any()


def test_a_condition_ends_the_last_turn_of_the_user():
    turns = (*PROMPT, *said("this"), *said("and?", "user"))
    made = conditioned(turns, "well")
    assert [m.text for m in made] == ["which?", "this", "and?\n\nwell"]
    assert not any(m.train for m in made)
    assert conditioned(said("be short", "system"), "well")[-1] == Message(
        role="user", content="well", train=False
    )


def test_hindsight_learns_both_answers_behind_their_words():
    method = Hindsight(good="good:", bad="bad:")
    pairs = [
        Preference(prompt=said(f"{n}?", "user"), chosen=said("a"), rejected=said("b"))
        for n in range(20)
    ]
    firsts = set()
    for pair in pairs:
        made = method.conversation(pair).messages
        assert [m.role for m in made] == ["user", "assistant", "user", "assistant"]
        asked = [m.text.split("\n\n")[-1] for m in made if m.role == "user"]
        answered = [m.text for m in made if m.train]
        assert dict(zip(asked, answered, strict=True)) == {"good:": "a", "bad:": "b"}
        firsts.add(asked[0])
    assert firsts == {"good:", "bad:"}
    assert method.condition == "good:"


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(2, 6), st.floats(0.1, 5))
def test_quantiles_follow_the_order_of_the_scores_alone(scores, quantiles, scale):
    method = Quark(quantiles=quantiles)
    ordered = sorted(scores)
    groups = [method.group_of(score, ordered) for score in ordered]
    assert groups == sorted(groups)
    assert set(groups) <= set(range(quantiles))
    scaled = sorted(scale * score for score in scores)
    if len(set(scaled)) == len(set(scores)):
        assert [method.group_of(score, scaled) for score in scaled] == groups


def test_quark_writes_the_group_of_each_answer():
    ordered = [0.0, 1.0, 2.0, 3.0]
    made = Quark(quantiles=2).conversations(ranked(0.0, 3.0, 1.0), ordered)
    assert [one.messages[0].text for one in made] == [
        "which?\n\n<|reward_1|>",
        "which?\n\n<|reward_2|>",
        "which?\n\n<|reward_1|>",
    ]
    assert [one.messages[-1].text for one in made] == ["0", "1", "2"]
    assert Quark(quantiles=2).condition == "<|reward_2|>"
    pairs = Quark(quantiles=2).conversations(PAIR, [0.0, 0.0, 1.0, 1.0])
    assert [one.messages[0].text[-4:] for one in pairs] == ["_2|>", "_1|>"]
