"""The nouns: identities are stable, cover what they should, and records cannot change."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.records import (
    Instance,
    Item,
    Labelled,
    Lineage,
    Message,
    Part,
    Preference,
    Ranked,
    ToolCall,
    stable_hash,
)

MESSAGES = (Message(role="user", content="2 + 2?"), Message(role="assistant", content="4"))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_the_hash_of_a_known_value_never_changes() -> None:
    # Written down once: a change would make every stored id a different one.
    assert stable_hash({"b": [1, "é"], "a": None}) == "787c0c8578d8f3a6fb2e"


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_the_order_of_keys_does_not_matter(value: dict[str, object]) -> None:
    assert stable_hash(value) == stable_hash(dict(reversed(value.items())))


@given(json_values, json_values)
def test_hashes_are_equal_where_the_json_is(a: object, b: object) -> None:
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (stable_hash(a) == stable_hash(b)) == same


def test_the_length_of_a_hash_is_as_asked() -> None:
    assert len(stable_hash(1, length=64)) == 64
    assert stable_hash(1, length=64).startswith(stable_hash(1, length=8))


def test_duplicates_share_their_content_and_keep_their_identity() -> None:
    one = Instance(messages=MESSAGES, lineage=Lineage(source="a", row=1))
    two = Instance(messages=MESSAGES, lineage=Lineage(source="a", row=2))
    assert one.content_id == two.content_id
    assert one.instance_id != two.instance_id


@pytest.mark.parametrize(
    "change", [{"source": "b"}, {"row": 2}, {"template": "t"}, {"seed": 1}, {"variant": "v"}]
)
def test_where_a_row_came_from_is_part_of_its_identity(change: dict[str, object]) -> None:
    lineage = Lineage(source="a", row=1)
    before = Instance(messages=MESSAGES, lineage=lineage)
    after = replace(before, lineage=replace(lineage, **change))  # type: ignore[arg-type]
    assert before.instance_id != after.instance_id


def test_weights_and_masks_are_not_content() -> None:
    instance = Instance(messages=MESSAGES)
    heavier = Instance(messages=(replace(MESSAGES[0], weight=2.0, train=False), MESSAGES[1]))
    assert instance.content_id == heavier.content_id


@pytest.mark.parametrize(
    "message",
    [
        Message(role="system", content="2 + 2?"),
        Message(role="user", content="2 + 3?"),
        Message(role="user", content="2 + 2?", reasoning="sum"),
        Message(role="user", content="2 + 2?", tool_calls=(ToolCall(name="f", arguments="{}"),)),
    ],
)
def test_what_a_model_would_see_is_content(message: Message) -> None:
    changed = Instance(messages=(message, MESSAGES[1]))
    assert changed.content_id != Instance(messages=MESSAGES).content_id


def test_parts_and_text_are_the_same_content() -> None:
    parts = Message(role="user", content=(Part(text="2 + "), Part(text="2?")))
    assert parts.text == "2 + 2?"
    assert Instance(messages=(parts, MESSAGES[1])).content_id == (
        Instance(messages=MESSAGES).content_id
    )


def test_a_preference_knows_which_answer_won() -> None:
    prompt, good = MESSAGES[:1], MESSAGES[1:]
    bad = (Message(role="assistant", content="5"),)
    pair = Preference(prompt=prompt, chosen=good, rejected=bad)
    turned = Preference(prompt=prompt, chosen=bad, rejected=good)
    assert pair.content_id != turned.content_id
    assert pair.instance_id != turned.instance_id


def test_labels_and_scores_are_part_of_what_an_answer_is() -> None:
    good = Labelled(prompt=MESSAGES[:1], answer=MESSAGES[1:], desirable=True)
    assert good.content_id != replace(good, desirable=False).content_id
    ranked = Ranked(prompt=MESSAGES[:1], answers=(MESSAGES[1:],) * 2, scores=(1.0, 0.0))
    assert ranked.content_id != replace(ranked, scores=(0.0, 1.0)).content_id
    assert ranked.instance_id != replace(ranked, lineage=Lineage(row=1)).instance_id


def test_an_item_is_told_apart_by_suite_and_references() -> None:
    item = Item(suite="a", messages=MESSAGES[:1], references=("4",))
    assert item.item_id == Item(suite="a", messages=MESSAGES[:1], references=("4",)).item_id
    assert item.item_id != replace(item, suite="b").item_id
    assert item.item_id != replace(item, references=("5",)).item_id


def test_records_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        MESSAGES[0].content = "3 + 3?"  # type: ignore[misc]
