"""Records survive the way to Parquet and back: pytest tests/test_tables.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.records import (
    Constraint,
    Example,
    Instance,
    Item,
    Labelled,
    Lineage,
    Message,
    Part,
    Preference,
    Ranked,
    ToolCall,
)
from regimen.tables import (
    instances_to_table,
    items_to_table,
    labelled_to_table,
    preferences_to_table,
    ranked_to_table,
    read_table,
    spread,
    table_to_instances,
    table_to_items,
    table_to_labelled,
    table_to_preferences,
    table_to_ranked,
    write_table,
)

texts = st.text(max_size=5)
tuples = st.lists(texts, max_size=2).map(tuple)
weights = st.floats(0, 1e6)
int64 = st.integers(-(2**63), 2**63 - 1)
calls = st.builds(ToolCall, name=texts, arguments=texts, id=texts)
messages = st.lists(
    st.builds(
        Message,
        role=st.sampled_from(["system", "user", "assistant", "tool"]),
        content=texts | st.lists(st.builds(Part, text=texts), max_size=2).map(tuple),
        tool_calls=st.lists(calls, max_size=2).map(tuple),
        reasoning=texts,
        train=st.none() | st.booleans(),
        weight=weights,
    ),
    max_size=3,
).map(tuple)
lineages = st.builds(
    Lineage,
    source=texts,
    row=int64,
    task=texts,
    family=texts,
    category=texts,
    language=texts,
    licence=texts,
    template=texts,
    demonstrations=tuples,
    option_permutation=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    generator=texts,
    seed=int64,
    variant=texts,
    verdicts=tuples,
)


instances = st.builds(Instance, messages=messages, lineage=lineages, weight=weights)
preferences = st.builds(
    Preference,
    prompt=messages,
    chosen=messages,
    rejected=messages,
    lineage=lineages,
    weight=weights,
    margin=st.none() | weights,
)
labelled = st.builds(
    Labelled,
    prompt=messages,
    answer=messages,
    desirable=st.booleans(),
    lineage=lineages,
    weight=weights,
)
ranked = st.builds(
    Ranked,
    prompt=messages,
    answers=st.lists(messages, max_size=2).map(tuple),
    scores=st.lists(st.floats(-1e9, 1e9), max_size=2).map(tuple),
    lineage=lineages,
    weight=weights,
)
shots = st.builds(Example, input=texts, output=texts, explanation=texts)
arguments = st.dictionaries(texts, st.none() | texts | st.integers(0, 9) | st.lists(texts))
constraints = st.builds(Constraint, kind=texts, arguments=arguments)
items = st.builds(
    Item,
    suite=texts,
    messages=messages,
    references=tuples,
    input=texts,
    definition=texts,
    demonstrations=st.lists(shots, max_size=2).map(tuple),
    choices=tuples,
    constraints=st.lists(constraints, max_size=2).map(tuple),
    follow_ups=tuples,
    cluster=texts,
    lineage=lineages,
)


@given(st.lists(instances, max_size=2))
def test_instances_come_back_equal(given_instances: list[Instance]) -> None:
    table = instances_to_table(given_instances)
    assert list(table_to_instances(table)) == given_instances
    assert table["instance_id"].to_pylist() == [one.instance_id for one in given_instances]
    assert table["content_id"].to_pylist() == [one.content_id for one in given_instances]


@given(st.lists(preferences, max_size=1))
def test_preferences_come_back_equal(given_preferences: list[Preference]) -> None:
    table = preferences_to_table(given_preferences)
    assert list(table_to_preferences(table)) == given_preferences
    assert table["instance_id"].to_pylist() == [one.instance_id for one in given_preferences]


@given(st.lists(labelled, max_size=1))
def test_labelled_answers_come_back_equal(given_labelled: list[Labelled]) -> None:
    table = labelled_to_table(given_labelled)
    assert list(table_to_labelled(table)) == given_labelled
    assert table["instance_id"].to_pylist() == [one.instance_id for one in given_labelled]


@given(st.lists(ranked, max_size=1))
def test_ranked_answers_come_back_equal(given_ranked: list[Ranked]) -> None:
    table = ranked_to_table(given_ranked)
    assert list(table_to_ranked(table)) == given_ranked
    assert table["instance_id"].to_pylist() == [one.instance_id for one in given_ranked]


@given(st.lists(items, max_size=2))
def test_items_come_back_equal(given_items: list[Item]) -> None:
    table = items_to_table(given_items)
    assert list(table_to_items(table)) == given_items
    assert table["item_id"].to_pylist() == [one.item_id for one in given_items]


def test_what_is_asked_for_belongs_to_the_identity_of_an_item() -> None:
    plain = Item(suite="s", messages=(), references=("a",))
    bound = replace(plain, constraints=(Constraint(kind="no_comma"),))
    longer = replace(plain, follow_ups=("And now?",))
    assert len({one.item_id for one in (plain, bound, longer)}) == 3


def test_every_column_name_is_there_once() -> None:
    for table in (instances_to_table([]), preferences_to_table([]), items_to_table([])):
        assert len(set(table.column_names)) == len(table.column_names)


def test_a_file_comes_back_equal_and_is_the_same_to_the_byte(tmp_path: Path) -> None:
    one = Instance(messages=(Message(role="user", content="é 中文 \u2028"),), weight=0.5)
    table = instances_to_table([one])
    first = write_table(tmp_path / "a.parquet", table).read_bytes()
    second = write_table(tmp_path / "b.parquet", instances_to_table([one])).read_bytes()
    assert first == second
    assert list(table_to_instances(read_table(tmp_path / "a.parquet"))) == [one]


def test_more_rows_than_one_batch(tmp_path: Path) -> None:
    many = [Instance(messages=(), lineage=Lineage(row=row)) for row in range(5000)]
    path = write_table(tmp_path / "many.parquet", instances_to_table(many))
    assert [one.lineage.row for one in table_to_instances(read_table(path))] == list(range(5000))


def test_files_that_are_none_of_ours_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(DataError, match="records-missing"):
        read_table(path)
    path.write_bytes(b"not a table")
    with pytest.raises(DataError, match="records-unreadable"):
        read_table(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(DataError, match="records-version"):
        read_table(path)
    with pytest.raises(DataError, match="records-kind"):
        list(table_to_preferences(instances_to_table([])))


@pytest.mark.parametrize(("most", "rows"), [(None, 10), (10, 10), (3, 3)])
def test_rows_spread_over_a_table(most: int | None, rows: int) -> None:
    table = pa.table({"row": list(range(10))})
    assert spread(table, most)["row"].to_pylist() == [n * 10 // rows for n in range(rows)]
