"""Filters of pairs: pytest tests/curation/test_pair_filters.py."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.filters import apply, length
from regimen.curation.leaks import leak_filter
from regimen.curation.ledger import Ledger
from regimen.curation.pair_filters import (
    contradictory,
    duplicates,
    each_answer,
    equal_answers,
    near_duplicate_prompts,
)
from regimen.records import Item, Lineage, Message, Preference


def pair(asked: str | list[str], chosen: str, rejected: str, row: int = 0) -> Preference:
    turns = [asked] if isinstance(asked, str) else asked
    roles = ("user", "assistant")
    return Preference(
        prompt=tuple(
            Message(role=roles[place % 2], content=text)  # type: ignore[arg-type]
            for place, text in enumerate(turns)
        ),
        chosen=(Message(role="assistant", content=chosen),),
        rejected=(Message(role="assistant", content=rejected),),
        lineage=Lineage(source="s", row=row),
    )


def test_a_pair_goes_when_either_side_is_no_instance() -> None:
    rule = each_answer(lambda some: length(some, min_answer=2, max_conversation=12))
    found = rule([pair("q", "aa", "bb"), pair("q", "a", "bb"), pair("q", "aa", "b" * 12)])
    assert found[0] is None
    assert found[1] is not None
    assert found[1].startswith("answer_too_short: chosen: ")
    assert found[2] is not None
    assert found[2].startswith("too_long: rejected: ")


def test_a_prompt_that_is_evaluated_is_a_leak() -> None:
    asked = "name the capital of the country that lies west of Germany and north of Spain"
    item = Item(
        suite="unseen", messages=(Message(role="user", content=asked),), references=("Paris",)
    )
    rule = each_answer(leak_filter([item], held_out_tasks=set()))
    found = rule([pair(asked.upper(), "Rome", "Paris"), pair("another question", "a", "b")])
    assert str(found[0]).startswith("leak_prompt: chosen: ")
    assert found[1] is None
    only = rule([pair(["hello", "hi", asked], "Rome", "Paris")])
    assert only[0] is not None


def test_pairs_that_contradict_each_other_all_go() -> None:
    pairs = [
        pair("q", "a", "b"),
        pair("q", "b", "a"),
        pair("other", "b", "a"),
        pair("q", "a", "b", 2),
        pair("q", "a", "c"),
    ]
    assert contradictory(pairs) == [*["contradictory"] * 2, None, "contradictory", None]
    assert contradictory(pairs[1:3]) == [None, None]


def test_equal_pairs_and_equal_answers() -> None:
    pairs = [pair("q", "a", "b"), pair("q", "a", "b", 7), pair("q", "a", "a")]
    assert [r is None for r in duplicates(pairs)] == [True, False, True]
    assert equal_answers(pairs) == [None, None, "equal_answers"]


def test_near_prompts_go_with_all_their_pairs_but_conversations_go_on() -> None:
    words = "please write a short poem about the sea at night"
    pairs = [
        pair(words, "a", "b"),
        pair(words, "a", "c"),
        pair(f"{words} now", "a", "b"),
        pair([words, "hm", "longer"], "a", "b"),
        pair("what is the sum of two and three", "a", "b"),
    ]
    found = near_duplicate_prompts(0.7)(pairs)
    assert [r is None for r in found] == [True, True, False, True, True]
    assert str(found[2]).startswith("near_duplicate_prompt: of 'please")
    assert near_duplicate_prompts(1.0)(pairs) == [None] * 5


texts = st.sampled_from(["a", "b", "c"])


@given(st.lists(st.tuples(texts, texts, texts), max_size=12))
def test_nothing_vanishes_and_what_is_left_is_consistent(
    tmp_path_factory: object, rows: list[tuple[str, str, str]]
) -> None:
    ledger = Ledger(Path(tmp_path_factory.mktemp("ledger")))  # type: ignore[attr-defined]
    kept = [pair(*row, number) for number, row in enumerate(rows)]
    for name, rule in {
        "equal": equal_answers,
        "contradictory": contradictory,
        "twice": duplicates,
    }.items():
        kept = apply(name, kept, rule, ledger)
    summary = ledger.write()
    lost = sum(sum(step["removed"].values()) for step in summary.values())
    assert len(kept) + lost == len(rows)
    said = {(p.prompt[0].text, p.chosen[0].text, p.rejected[0].text) for p in kept}
    assert len(said) == len(kept)
    assert not any((q, r, c) in said for q, c, r in said)


def test_what_is_more_helpful_may_be_less_harmless() -> None:
    def of(first: str, second: str, *dimensions: str) -> Preference:
        said = [(Message(role="assistant", content=text),) for text in (first, second)]
        prompt = (Message(role="user", content="how?"),)
        return Preference(prompt=prompt, chosen=said[0], rejected=said[1], dimensions=dimensions)

    apart = [of("a", "b", "helpful"), of("b", "a", "harmless")]
    assert contradictory(apart) == [None, None]
    assert duplicates([apart[0], of("a", "b", "harmless"), apart[0]])[:2] == [None, None]
    assert duplicates([apart[0], apart[0]])[1] is not None
    both = [*apart, of("b", "a", "helpful", "honest")]
    assert contradictory(both) == ["contradictory", None, "contradictory"]
