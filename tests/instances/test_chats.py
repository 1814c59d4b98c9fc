"""Chat logs to instances: pytest tests/instances/test_chats.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.chats import (
    ROLE_NAMES,
    Chat,
    Turn,
    chat_instances,
    clean_chat,
    role_of,
    size,
)
from regimen.records import Lineage, Message, ToolCall

SHORT = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
CALL = (ToolCall(name="f", arguments="{}"),)


def turn(role: str, text: str) -> Turn:
    return Turn(role=role, content=text)


def log(text: str) -> list[Turn]:
    """``u:hi a:hello``: one turn per word."""
    parts = [word.partition(":") for word in text.split()]
    return [turn(SHORT[role], content) for role, _, content in parts]


def shown(chat: Chat) -> list[str]:
    """Pieces in the notation of ``log``; a merged turn's blank line is ``+``."""
    return [
        " ".join(f"{m.role[0]}:{m.text}".replace("\n\n", "+") for m in piece)
        for piece in chat.pieces
    ]


def reasons(chat: Chat) -> list[str]:
    return [removal.reason for removal in chat.removed]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", "user"),
        ("GPT", "assistant"),
        (" Assistant ", "assistant"),
        ("function-call", "assistant"),
        ("tool response", "tool"),
        ("developer", "system"),
        ("narrator", None),
        ("", None),
    ],
)
def test_names_of_roles(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_every_role_means_itself() -> None:
    assert all(role_of(role) == role for role in ROLE_NAMES.values())


def test_a_good_conversation_is_not_touched() -> None:
    chat = clean_chat(log("s:be u:hi a:hello u:bye a:ciao"))
    assert shown(chat) == ["s:be u:hi a:hello u:bye a:ciao"]
    assert chat.changed == {}
    assert chat.removed == ()


def test_renamed_roles_are_counted() -> None:
    chat = clean_chat([turn("human", "hi"), turn("gpt", "hello")])
    assert shown(chat) == ["u:hi a:hello"]
    assert chat.changed == {"role_renamed": 2}


@pytest.mark.parametrize(
    ("given", "expected", "changed"),
    [
        ("u:a u:b a:c", "u:a+b a:c", {"turns_merged": 1}),
        ("u:a a:b a:c a:d", "u:a a:b+c+d", {"turns_merged": 2}),
        ("s:a s:b u:c a:d", "s:a+b u:c a:d", {"turns_merged": 1}),
        ("u:a a:b u:c", "u:a a:b", {"trailing_user_dropped": 1}),
        ("a:hi u:a a:b", "u:a a:b", {"leading_turn_dropped": 1}),
        ("u: u:a a:b", "u:a a:b", {"empty_turn_dropped": 1}),
        ("u:a a: u:b a:c", "u:a+b a:c", {"empty_turn_dropped": 1, "turns_merged": 1}),
        ("u:a a:b u:c t:d", "u:a a:b", {"trailing_tool_dropped": 1, "trailing_user_dropped": 1}),
    ],
)
def test_what_is_changed_is_counted(given: str, expected: str, changed: dict[str, int]) -> None:
    chat = clean_chat(log(given))
    assert shown(chat) == [expected]
    assert chat.changed == changed


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "no_turns"),
        ("u: a:", "no_turns"),
        ("a:hello", "no_question"),
        ("s:be a:hello", "no_question"),
        ("u:hi", "no_answer"),
        ("s:be u:hi", "no_answer"),
        ("a:hello u:hi", "no_answer"),
        ("u:hi a:hello s:now u:do a:it", "system_not_first"),
    ],
)
def test_what_cannot_be_used_has_a_reason_and_keeps_its_turns(given: str, reason: str) -> None:
    chat = clean_chat(log(given))
    assert chat.pieces == ()
    assert reasons(chat) == [reason]
    assert [m.text for m in chat.removed[0].messages] == [one.content for one in log(given)]


def test_an_unknown_role_is_named_and_stays_readable() -> None:
    chat = clean_chat([turn("user", "hi"), turn("narrator", "Later"), turn("bot", "hello")])
    (removal,) = chat.removed
    assert (removal.reason, removal.detail) == ("unknown_role", "turn 2 has role 'narrator'")
    assert [m.text for m in removal.messages] == ["hi", "[narrator] Later", "hello"]


def test_turns_that_are_trained_differently_are_not_merged() -> None:
    chat = clean_chat(
        [
            Message(role="user", content="q"),
            Message(role="assistant", content="a", train=False),
            Message(role="assistant", content="b"),
        ]
    )
    assert reasons(chat) == ["unmergeable_turns"]
    assert chat.removed[0].detail == "turns 2 and 3"


def test_calls_of_tools_and_their_results_stay_apart() -> None:
    turns = [
        Message(role="user", content="q"),
        Message(role="assistant", content="", tool_calls=CALL),
        Message(role="tool", content="1"),
        Message(role="tool", content="2"),
        Message(role="assistant", content="done"),
    ]
    chat = clean_chat(turns)
    assert chat.pieces == (tuple(turns),)
    assert chat.changed == {}


def test_merging_keeps_the_reasoning_of_both() -> None:
    chat = clean_chat(
        [
            Message(role="user", content="q"),
            Message(role="assistant", content="a ", reasoning="first"),
            Message(role="assistant", content="\nb", reasoning="second"),
        ]
    )
    merged = chat.pieces[0][-1]
    assert (merged.text, merged.reasoning) == ("a\n\nb", "first\n\nsecond")


def test_a_long_conversation_is_split_between_exchanges() -> None:
    chat = clean_chat(log("s:SS u:aa a:bb u:cc a:dd u:ee a:ff"), max_characters=10)
    assert shown(chat) == ["s:SS u:aa a:bb u:cc a:dd", "s:SS u:ee a:ff"]
    assert chat.changed == {"split": 1}
    assert shown(clean_chat(log("u:aa a:bb u:cc a:dd"), max_characters=8)) == [
        "u:aa a:bb u:cc a:dd"
    ]


def test_an_exchange_beyond_the_limit_is_removed_and_ends_the_piece() -> None:
    chat = clean_chat(log("u:a a:b u:cccccc a:d u:e a:f"), max_characters=4)
    assert shown(chat) == ["u:a a:b", "u:e a:f"]
    assert reasons(chat) == ["exchange_too_long"]
    assert chat.removed[0].detail == "7 characters, at most 4"
    assert reasons(clean_chat(log("u:aaaaa a:b"), max_characters=4)) == ["exchange_too_long"]


def test_pieces_are_instances_with_ids_of_their_own() -> None:
    lineage = Lineage(source="s", row=3, variant="v")
    instances, chat = chat_instances(log("u:a a:b u:a a:b"), lineage, max_characters=2, weight=0.5)
    assert [one.lineage.variant for one in instances] == ["v;piece=1/2", "v;piece=2/2"]
    assert instances[0].content_id == instances[1].content_id
    assert instances[0].instance_id != instances[1].instance_id
    assert {one.weight for one in instances} == {0.5}
    assert chat.changed == {"split": 1}
    (whole,), _ = chat_instances(log("u:a a:b"), lineage)
    assert whole.lineage == lineage


TURNS = st.lists(
    st.builds(
        Turn,
        role=st.sampled_from(["system", "user", "human", "assistant", "tool", "x"]),
        content=st.sampled_from(["", " ", "word", "two words", "a much longer turn"]),
    ),
    max_size=10,
)


@given(TURNS, st.one_of(st.none(), st.integers(1, 40)))
def test_every_conversation_ends_as_pieces_or_with_a_reason(
    turns: list[Turn], limit: int | None
) -> None:
    chat = clean_chat(turns, limit)
    assert chat.pieces or chat.removed
    for piece in chat.pieces:
        roles = [m.role for m in piece]
        assert roles[-1] == "assistant"
        assert roles[:1] == ["user"] or roles[:2] == ["system", "user"]
        assert all(m.text.strip() for m in piece)
        assert limit is None or size(piece) <= limit
        assert "system" not in roles[1:]


@given(TURNS)
def test_cleaning_twice_changes_nothing_more(turns: list[Turn]) -> None:
    for piece in clean_chat(turns).pieces:
        again = clean_chat(piece)
        assert again.pieces == (piece,)
        assert again.changed == {}


@given(TURNS, st.integers(1, 30))
def test_splitting_loses_no_turn(turns: list[Turn], limit: int) -> None:
    def bodies(chat: Chat) -> list[str]:
        parts = [*chat.pieces, *(r.messages for r in chat.removed)]
        return sorted(m.text for part in parts for m in part if m.role != "system")

    whole = clean_chat(turns)
    if whole.pieces:
        assert bodies(clean_chat(turns, limit)) == bodies(whole)
