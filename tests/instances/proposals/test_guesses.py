"""What a table asks: pytest tests/instances/proposals/test_guesses.py."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.small_tables import TABLES, Rows, long, sentence, texts
from regimen.errors import DataError
from regimen.instances.data_rows import task_row
from regimen.instances.proposals.guesses import guess
from regimen.instances.proposals.tables import table_of


@pytest.mark.parametrize("name", TABLES)
def test_the_type_and_the_columns_are_found(name: str) -> None:
    rows, kind, columns = TABLES[name]
    found = guess(table_of(rows))
    assert (found.type, dict(found.columns)) == (kind, columns)
    assert found.why["type"]
    for row in rows:
        task_row(row, found.rules)


@pytest.mark.parametrize(
    ("rows", "name", "columns"),
    [
        (texts(instruction=sentence, input=[""], output=long), "alpaca", {}),
        (
            texts(instruction=sentence, context=long, response=long),
            "alpaca",
            {"output": "response", "input": "context"},
        ),
        (texts(prompt=sentence, completion=long), "prompt_completion", {}),
        (texts(prompt=sentence, response=long), "prompt_completion", {"completion": "response"}),
        (texts(prompt=sentence, chosen=long, rejected=sentence), "preference", {}),
        (texts(messages=lambda n: [{"role": "user", "content": sentence(n)}]), "messages", {}),
        (texts(conversations=lambda n: [{"from": "gpt", "value": "x"}]), "sharegpt", {}),
        ([{"Definition": ["d"], "Instances": [{"input": "x"}]}], "natural_instructions", {}),
    ],
)
def test_instructions_and_conversations_need_no_task(
    rows: Rows, name: str, columns: dict[str, str]
) -> None:
    found = guess(table_of(rows))
    assert (found.type, found.format, dict(found.columns)) == ("instructions", name, columns)


def test_prompts_with_a_label_are_labelled_and_not_learned() -> None:
    rows = texts(prompt=sentence, completion=long, final_label=["refused", "answered"])
    found = guess(table_of(rows))
    assert found.type == "pair_classification"
    assert found.columns["output"] == "final_label"


@pytest.mark.parametrize(
    ("answers", "way"),
    [([0, 1], "index"), ([1, 2], "number"), (["a", "b"], "letter"), (["yes", "no"], "text")],
)
def test_how_an_answer_names_its_option(answers: list[Any], way: str) -> None:
    rows = texts(question=sentence, options=[["yes", "no"]], answer=answers)
    assert guess(table_of(rows)).answer == way


def test_numbers_get_no_meaning_that_nobody_gave_them() -> None:
    rows = texts(text=sentence, label=[0, 1])
    found = guess(table_of(rows))
    assert found.labels == {"0": "0", "1": "1"}
    assert found.unnamed
    named = guess(table_of(rows, {"label": ("bad", "good")}))
    assert named.labels == {"0": "bad", "1": "good"}
    assert not named.unnamed
    flag = guess(table_of(texts(text=sentence, is_spam=[0, 1])))
    assert flag.labels == {"0": "no", "1": "yes"}


def test_other_columns_of_labels_are_named() -> None:
    found = guess(table_of(texts(text=sentence, label=["a", "b"], topic=["sea", "land"])))
    assert found.columns["output"] == "label"
    assert any("'topic'" in other for other in found.others)


@pytest.mark.parametrize(
    ("rows", "fix"),
    [
        (texts(text=long), "language_modelling"),
        (texts(id=str, size=int), "Write the task file yourself"),
        (texts(id=str, prompt=sentence, kind=["a"]), "Write the task file yourself"),
    ],
)
def test_a_table_without_answers_is_an_error(rows: Rows, fix: str) -> None:
    with pytest.raises(DataError, match=fix) as caught:
        guess(table_of(rows))
    assert caught.value.slug == "no-task"


cells = st.one_of(
    st.none(),
    st.integers(-2, 3),
    st.booleans(),
    st.sampled_from(["", "A", "yes", "no", "a b c d e f", "7.5", '["a", "b"]']),
    st.text(max_size=5),
    st.lists(st.sampled_from(["a", "b"]), max_size=3),
    st.dictionaries(st.sampled_from(["text", "en", "de"]), st.sampled_from(["a", "b"])),
)
names = st.sampled_from(
    ["text", "label", "question", "answer", "context", "options", "A", "B", "id", "score", "x", ""]
)


@given(st.lists(st.dictionaries(names, cells, max_size=5), max_size=8))
def test_any_table_gives_a_guess_or_an_error_twice_the_same(rows: Rows) -> None:
    def made() -> object:
        try:
            return guess(table_of(rows))
        except DataError as error:
            return error.slug, error.got

    first = made()
    assert made() == first
    if isinstance(first, tuple):
        assert first[0] == "no-task"
