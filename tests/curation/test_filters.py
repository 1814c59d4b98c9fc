"""Filters: pytest tests/curation/test_filters.py"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.filters import (
    FILTERS,
    ExactDuplicates,
    apply,
    chained,
    conversation_shape,
    exact_duplicates,
    length,
    no_answer,
)
from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.records import Instance, Lineage, Message, ToolCall

LETTER = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
CALL = (ToolCall(name="f", arguments="{}"),)


def chat(question: str, answer: str, source: str = "", row: int = -1) -> Instance:
    return Instance(
        messages=(
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ),
        lineage=Lineage(source=source, row=row),
    )


def turns(shape: str) -> Instance:
    """``suat``: one turn per letter; ``c`` is an assistant turn that calls a tool."""
    made = [
        Message(role="assistant", content="", tool_calls=CALL)
        if letter == "c"
        else Message(role=LETTER[letter], content="x")  # type: ignore[arg-type]
        for letter in shape
    ]
    return Instance(messages=tuple(made))


def slugs(reasons: Sequence[str | None]) -> list[str | None]:
    return [reason and reason.partition(":")[0] for reason in reasons]


def test_the_first_duplicate_stays_and_the_reason_names_it() -> None:
    rows = [
        chat("q", "1", "b", 1),
        chat("q", "a", "a", 5),
        chat("q", "a", "a", 2),
        chat("q", "1", "a", 1),
        chat("q", "a", "b", 1),
    ]
    found = exact_duplicates(rows)
    assert [reason is None for reason in found] == [True, True, False, False, False]
    assert found[4] == f"exact_duplicate: of {rows[1].instance_id} (a, row 5)"


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 5))
def test_batches_are_remembered_as_one(texts: list[str], size: int) -> None:
    rows = [chat("q", text, "", number) for number, text in enumerate(texts)]
    remembering = ExactDuplicates()
    found = [
        reason
        for start in range(0, len(rows), size)
        for reason in remembering(rows[start : start + size])
    ]
    assert found == exact_duplicates(rows)


def test_a_chain_is_its_filters_in_turn_and_accounts_for_each(tmp_path: Path) -> None:
    rows = [chat("q", "a"), chat("q", ""), chat("q", "a"), chat("q", "long answer")]
    filters = {
        "no-answer": no_answer,
        "length": partial(length, max_conversation=5),
        "duplicates": exact_duplicates,
    }
    kept, outcomes = chained(rows, filters)
    assert kept == [rows[0]]
    assert [(one.step, one.entered, one.kept) for one in outcomes] == [
        ("no-answer", 4, 3), ("length", 3, 2), ("duplicates", 2, 1),
    ]  # fmt: skip
    ledger = Ledger(tmp_path)
    for one in outcomes:
        with ledger.step(one.step) as step:
            step.take(one)
    assert ledger.write()["length"] == {
        "in": 3,
        "kept": 2,
        "removed": {"too_long": 1},
        "failed": {},
    }


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4))))
def test_duplicates_leave_each_content_exactly_once_and_are_idempotent(
    drawn: list[tuple[str, str, int]],
) -> None:
    rows = [chat("q", text, source, row) for source, text, row in drawn]
    kept = [one for one, reason in zip(rows, exact_duplicates(rows), strict=True) if reason is None]
    assert sorted({one.content_id for one in rows}) == sorted(one.content_id for one in kept)
    assert exact_duplicates(kept) == [None] * len(kept)


def test_length_counts_the_answer_and_the_whole_conversation() -> None:
    rows = [chat("ab", "c"), chat("ab", "  c "), chat("abcd", "ef"), chat("ab", "")]
    assert slugs(length(rows, min_answer=1, max_conversation=5)) == [
        None,
        "too_long",
        "too_long",
        "answer_too_short",
    ]
    assert length([chat("abcd", "ef")], min_answer=2, max_conversation=6) == [None]
    assert length([chat("a", "éé")], min_answer=3) == ["answer_too_short: 2 characters, at least 3"]


def test_a_tool_call_is_an_answer() -> None:
    assert length([turns("uc")]) == [None]
    assert no_answer([turns("uc")]) == [None]


def test_no_answer_means_nothing_to_learn() -> None:
    untrained = Message(role="assistant", content="a", train=False)
    trained = Message(role="user", content="u", train=True)
    rows = [
        chat("q", "a"),
        chat("q", " \n"),
        turns("u"),
        Instance(messages=(Message(role="user", content="u"), untrained)),
        Instance(messages=(trained, untrained)),
        Instance(messages=()),
    ]
    expected = [None, "no_answer", "no_answer", "no_answer", None, "no_answer"]
    assert no_answer(rows) == expected


@pytest.mark.parametrize("shape", ["ua", "sua", "uaua", "ucta", "ucttaua", "uct" + "a"])
def test_good_shapes(shape: str) -> None:
    assert conversation_shape([turns(shape)]) == [None]


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ("", "no_turns"),
        ("u", "ends_without_answer: last turn is user"),
        ("sa", "turn_order: turn 2 is assistant after system"),
        ("a", "turn_order: turn 1 is assistant after the start"),
        ("uua", "turn_order: turn 2 is user after user"),
        ("uaa", "turn_order: turn 3 is assistant after assistant"),
        ("usa", "turn_order: turn 2 is system after user"),
        ("uta", "turn_order: turn 2 is tool after user"),
        ("uata", "turn_order: turn 3 is tool after assistant"),
        ("ucua", "turn_order: turn 3 is user after assistant"),
        ("uct", "ends_without_answer: last turn is tool"),
    ],
)
def test_bad_shapes(shape: str, reason: str) -> None:
    assert conversation_shape([turns(shape)]) == [reason]


def test_an_empty_turn_is_named() -> None:
    assert conversation_shape([chat("q", " ")]) == ["empty_turn: turn 2 (assistant)"]


def test_apply_keeps_order_and_books_every_row(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    rows = [chat("q", "a"), chat("q", "a"), chat("p", "b"), chat("p", "")]
    kept = apply("duplicates", rows, FILTERS["exact_duplicates"], ledger)
    assert kept == [rows[0], rows[2], rows[3]]
    kept = apply("length", kept, partial(length, min_answer=1), ledger)
    assert kept == [rows[0], rows[2]]
    assert ledger.write() == {
        "duplicates": {"in": 4, "kept": 3, "removed": {"exact_duplicate": 1}, "failed": {}},
        "length": {"in": 3, "kept": 2, "removed": {"answer_too_short": 1}, "failed": {}},
    }
    (row,) = pq.read_table(tmp_path / "02-length.removed.parquet").to_pylist()
    assert (row["reason"], row["detail"]) == ("answer_too_short", "0 characters, at least 1")


def test_a_filter_that_forgets_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        apply("mine", [chat("q", "a")], lambda rows: [], Ledger(tmp_path))
    assert caught.value.slug == "filter-length"


@pytest.mark.parametrize("name", FILTERS)
def test_every_filter_judges_every_row_and_none_of_none(name: str) -> None:
    rows = [chat("q", "a"), turns(""), turns("uca"), chat("q", "a")]
    assert len(FILTERS[name](rows)) == len(rows)
    assert FILTERS[name]([]) == []
