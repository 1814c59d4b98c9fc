"""pytest tests/alignment/test_constitutional.py: critique, revision, principles before a prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.alignment.constitutional import (
    Principle,
    Revising,
    revise,
    revised_pair,
    revised_text,
)
from regimen.alignment.self_align import engraved, prompted
from regimen.protocols import Completion
from regimen.records import Item, Lineage, Message

BY = tuple(
    Principle(id=name, text=f"Be {name}.", critique=f"Is it {name}?", revision=f"Make it {name}.")
    for name in ("kind", "true", "brief")
)


def item(text, *before):
    messages = (*before, Message(role="user", content=text))
    return Item(
        suite="s",
        messages=messages,
        references=("secret reference",),
        lineage=Lineage(source="test", row=1),
    )


def answering(answer):
    """A generator of one function, and what it was asked."""
    asked = []

    def complete(requests):
        asked.extend(requests)
        return {
            request.id: Completion(text=said) if isinstance(said := answer(request), str) else said
            for request in requests
        }

    return complete, asked


def test_each_round_takes_up_what_the_round_before_wrote():
    complete, asked = answering(lambda r: f"<{r.id}>")
    how = Revising(principles=BY, rounds=3, seed=5)
    (found,) = revise([(item("q"), "first")], how, complete)
    assert found.answer == "<revision-3-0>"
    assert sorted(found.principles) == ["brief", "kind", "true"]
    assert not found.outcome
    shown = [request.messages[0].text for request in asked]
    assert "first" in shown[0]
    assert "<revision-1-0>" in shown[2]
    assert "<revision-2-0>" in shown[4]
    assert not any("secret reference" in text for text in shown)
    # a revision is asked for after the critique it follows
    assert [message.role for message in asked[1].messages] == ["user", "assistant", "user"]
    assert asked[1].messages[1].text == "<critique-1-0>"
    named = dict(zip(("kind", "true", "brief"), BY, strict=True))
    assert named[found.principles[0]].critique in shown[0]
    assert len({request.seed for request in asked}) == 6


outcomes = st.sampled_from(["better", "first", " first\n", "", "error", "cut"])


@given(st.lists(st.tuples(outcomes, outcomes), min_size=1, max_size=6))
def test_every_answer_comes_back_with_its_outcome(said):
    def answer(request):
        what, _, place = request.id.split("-")
        text = said[int(place)][what == "revision"]
        if text == "error":
            return Completion(text="", finish="error", error="down")
        return Completion(text=text, finish="length" if text == "cut" else "stop")

    complete, _ = answering(answer)
    asked = [(item(f"q{n}"), "first") for n in range(len(said))]
    found = revise(asked, Revising(principles=BY), complete)
    assert [one.item for one in found] == [one for one, _ in asked]
    for one, (critique, revision) in zip(found, said, strict=True):
        if critique in ("", "error"):
            expected = "not_criticised"
        else:
            expected = {
                "better": "",
                "first": "unchanged",
                " first\n": "unchanged",
                "": "empty_revision",
                "error": "not_revised",
                "cut": "cut_at_longest",
            }[revision]
        assert one.outcome == expected
        assert one.failed == (expected in ("not_criticised", "not_revised"))
        if not expected:
            pair = revised_pair(one, "critic")
            assert (pair.chosen[0].text, pair.rejected[0].text) == ("better", "first")
            assert pair.lineage.source == "test"


def test_the_draw_of_principles_follows_the_seed():
    complete, _ = answering(lambda r: "x")
    asked = [(item(f"q{n}"), "first") for n in range(30)]
    one, again, other = (
        [r.principles for r in revise(asked, Revising(principles=BY, seed=seed), complete)]
        for seed in (1, 1, 2)
    )
    assert one == again != other
    assert {name for names in one for name in names} == {"kind", "true", "brief"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a plain answer", "a plain answer"),
        ("Revised answer: better", "better"),
        ("Here is the revised response:\n\nbetter", "better"),
        ("**Revision:** better", "better"),
        ("=====\nbetter\n=====", "better"),
        ("New York is large: it has", "New York is large: it has"),
        ("  ", ""),
    ],
)
def test_a_revision_is_read_without_its_label(text, expected):
    assert revised_text(text) == expected


def test_principles_stand_before_the_question_and_not_in_what_is_learnt():
    before = (
        Message(role="system", content="You are Bob."),
        Message(role="user", content="hi"),
        Message(role="assistant", content="hello"),
    )
    one = item("how?", *before)
    shown = prompted(one, BY, [("a", "b")])
    assert [message.role for message in shown] == [
        *("system", "user", "assistant", "user", "assistant", "user")
    ]
    assert shown[0].text.startswith("You are Bob.")
    assert all(principle.text in shown[0].text for principle in BY)
    learnt = engraved(one, "so", "me", BY)
    assert [m.text for m in learnt.messages] == ["You are Bob.", "hi", "hello", "how?", "so"]
    assert learnt.messages[2].train is False
    assert learnt.lineage.verdicts == ("principle:kind", "principle:true", "principle:brief")
    assert prompted(item("how?"), BY, [])[0].role == "system"
