"""Tables as tasks: pytest tests/instances/test_task_data.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.task_tables import read, write_rows
from regimen.errors import DataError
from regimen.instances.formats import read_source
from regimen.instances.task_data import is_held_out
from regimen.instances.task_files import read_task_file, task_inputs

NEWS = [
    {"text": "The team won the cup.", "label": 1, "id": "a"},
    {"text": "Shares fell again.", "label": 0, "id": "b"},
    {"text": "The goalkeeper was hurt.", "label": 1, "id": "c"},
]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_any_table_becomes_a_task(tmp_path: Path, name: str) -> None:
    write_rows(tmp_path / name, NEWS)
    columns = {"input": "text", "output": "label"}
    failures, task = read(
        tmp_path, {"path": name, "columns": columns, "labels": {"0": "World", "1": "Sports"}}
    )
    assert failures == []
    assert task is not None
    assert task.options == ("World", "Sports")
    assert [(row["input"], row["output"]) for row in task.instances] == [
        ("The team won the cup.", "Sports"),
        ("Shares fell again.", "World"),
        ("The goalkeeper was hurt.", "Sports"),
    ]
    assert [(str(row["label"]), row["id"]) for row in task.instances] == [
        ("1", "a"),
        ("0", "b"),
        ("1", "c"),
    ]


def test_labels_may_be_a_list_and_the_options_may_be_said(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", NEWS)
    data = {"path": "a.jsonl", "columns": {"input": "text", "output": "label"}}
    _, task = read(tmp_path, {**data, "labels": ["World", "Sports"]}, options=["Sports", "World"])
    assert task is not None
    assert task.instances[0]["output"] == "Sports"
    assert task.options == ("Sports", "World")


def test_rows_that_cannot_be_used_are_counted_where_they_are(tmp_path: Path) -> None:
    lines = [
        {"text": "fine", "label": 0},
        {"text": "no such label", "label": -1},
        {"text": "  ", "label": 0},
        {"text": None, "label": 0},
        {"text": ["a"], "label": 0},
        {"text": "no label", "label": None},
        {"label": 0},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\n{broken\n"
    (tmp_path / "a.jsonl").write_text(text)
    data = {"path": "a.jsonl", "columns": {"input": "text", "output": "label"}, "labels": ["W"]}
    failures, task = read(tmp_path, data)
    assert task is not None
    assert len(task.instances) == 1
    assert {one.source for one in failures} == {"a.jsonl"}
    assert [(one.row, one.error) for one in failures] == [
        (2, "unknown_label"),
        (3, "no_question"),
        (4, "no_question"),
        (5, "no_question"),
        (6, "no_answer"),
        (7, "no_question"),
        (8, "not_json"),
    ]


inputs = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(inputs, max_size=12), st.integers(0, 3), st.floats(0, 0.99))
def test_equal_inputs_fall_on_the_same_side_and_a_larger_share_only_adds(
    texts: list[str], seed: int, share: float
) -> None:
    for text in texts:
        row = {"input": text, "output": "x"}
        same = {"input": f"  {text} ", "output": "y", "more": 1}
        assert is_held_out(row, share, seed) == is_held_out(same, share, seed)
        assert not is_held_out(row, 0.0, seed)
        assert is_held_out(row, share, seed) <= is_held_out(row, (1 + share) / 2, seed)
    without = [
        is_held_out({"q": text, "label": k}, share, seed, "label") for text in texts for k in "ab"
    ]
    assert without[::2] == without[1::2]


def test_more_rows_move_no_row_and_about_the_share_is_held_out(tmp_path: Path) -> None:
    data = {"path": "a.jsonl", "held_out": 0.2}
    rows = [{"input": f"row {n}", "output": str(n)} for n in range(1000)]
    write_rows(tmp_path / "a.jsonl", rows[:500])
    _, few = read(tmp_path, data)
    write_rows(tmp_path / "a.jsonl", rows[::-1])
    _, many = read(tmp_path, data)
    assert few is not None
    assert many is not None
    assert {row["output"] for row in few.held_out} <= {row["output"] for row in many.held_out}
    assert {row["output"] for row in few.instances} <= {row["output"] for row in many.instances}
    assert len(many.instances) + len(many.held_out) == 1000
    assert 150 < len(many.held_out) < 250


def test_held_out_rows_may_have_a_file_of_their_own(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", NEWS[:2])
    write_rows(tmp_path / "b.csv", [*NEWS[2:], {"text": "", "label": 1, "id": "d"}])
    columns = {"input": "text", "output": "label"}
    data = {"path": "a.csv", "columns": columns, "held_out": {"path": "b.csv"}}
    failures, task = read(tmp_path, data)
    assert task is not None
    assert [row["id"] for row in task.held_out] == ["c"]
    assert [row["id"] for row in task.instances] == ["a", "b"]
    assert [(one.source, one.row, one.error) for one in failures] == [("b.csv", 3, "no_question")]
    assert task_inputs(tmp_path / "t.yaml") == (tmp_path / "a.csv", tmp_path / "b.csv")


def test_a_file_without_a_header_gets_names(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Is ice cold?\tyes\nIs fire cold?\tno\na\tb\tc\n")
    data = {"path": "a.tsv", "header": ["input", "output"]}
    failures, task = read(tmp_path, data)
    assert task is not None
    assert [(row["input"], row["output"]) for row in task.instances] == [
        ("Is ice cold?", "yes"),
        ("Is fire cold?", "no"),
    ]
    assert [one.row for one in failures] == [3]
    with pytest.raises(DataError, match="3 names, 2 different columns"):
        read(tmp_path, {**data, "header": ["input", "output", "more"]})


def test_the_limit_counts_failures_and_holds_over_all_files(tmp_path: Path) -> None:
    rows = [{"input": f"row {n}", "output": "" if n == 1 else "x"} for n in range(4)]
    write_rows(tmp_path / "a.jsonl", rows)
    write_rows(tmp_path / "b.jsonl", rows)
    failures, task = read(tmp_path, {"path": ["a.jsonl", "b.jsonl"], "limit": 5})
    assert task is not None
    assert (len(task.instances), len(failures)) == (4, 1)


def test_a_task_with_no_row_left_says_so(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"input": "x", "output": ""}] * 3)
    failures, task = read(tmp_path, {"path": "a.jsonl"})
    assert task is None
    assert [one.error for one in failures] == ["no_answer"] * 3 + ["no_instances"]
    assert "3 rows of its data failed" in failures[-1].got
    with pytest.raises(DataError, match="no-usable-rows"):
        list(read_source(tmp_path / "t.yaml"))


def test_templates_may_ask_by_the_columns_of_the_data(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"premise": "p", "label": 0}])
    with pytest.raises(DataError, match="no column 'input'"):
        read(tmp_path, {"path": "a.jsonl"})
    template = {"name": "a", "input": "{{ premise }}", "output": "{{ label }}"}
    failures, task = read(tmp_path, {"path": "a.jsonl"}, templates=[template])
    assert failures == []
    assert task is not None
    assert task.instances == ({"premise": "p", "label": 0},)


def test_templates_of_a_collection_are_taken_by_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"first": "p", "second": "h", "label": 0}])
    entries = [
        f"  {key}: !Template\n    answer_choices: null\n    id: {key}\n"
        f"    jinja: '{{{{first}}}} {key} {{{{second}}}} ||| {{{{label}}}}'\n    name: {name}\n"
        f"    reference: ''\n    metadata: !TemplateMetadata\n      choices_in_prompt: false\n"
        f"      metrics: [Accuracy]\n      original_task: true\n      languages: [en]\n"
        for key, name in (("k1", "one"), ("k2", "two"))
    ]
    folder = tmp_path / "collected" / "mine"
    folder.mkdir(parents=True)
    text = "dataset: mine\ntemplates:\n" + "".join(entries)
    (folder / "templates.yaml").write_text(text)
    asked: dict[str, Any] = {"path": "collected", "dataset": "mine"}
    failures, task = read(tmp_path, {"path": "a.jsonl"}, templates_from=asked)
    assert failures == []
    assert task is not None
    assert [template.name for template in task.templates] == ["one", "two"]
    _, task = read(tmp_path, {"path": "a.jsonl"}, templates_from={**asked, "names": ["two"]})
    assert task is not None
    assert [template.name for template in task.templates] == ["two"]
    assert task_inputs(tmp_path / "t.yaml") == (tmp_path / "a.jsonl", tmp_path / "collected")
    with pytest.raises(DataError, match="Did you mean 'mine'"):
        read(tmp_path, {"path": "a.jsonl"}, templates_from={**asked, "dataset": "mime"})
    with pytest.raises(DataError, match="templates_from has no dataset"):
        read(tmp_path, {"path": "a.jsonl"}, templates_from={"path": "collected"})


def test_large_rows_and_every_script_survive(tmp_path: Path) -> None:
    texts = [
        "x" * (10 << 20),
        "שלום עולם",
        "e\u0301 ȩ́",
        "\u202bمرحبا\u202c",
        "👩‍👩‍👧 a\u200bb",
        "a|||b",
    ]
    rows = [{"input": text, "output": text[:9]} for text in texts]
    for name in ("a.jsonl", "a.parquet", "a.csv"):
        write_rows(tmp_path / name, rows)
        failures, task = read(tmp_path, {"path": name})
        assert failures == []
        assert task is not None
        assert [row["input"] for row in task.instances] == texts


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        ("  path: a.csv\n  dataset: a/b\n", 2, "exactly one of path and dataset"),
        ("  split: train\n", 2, "exactly one of path and dataset"),
        ("  path: a.csv\n  colums: {}\n", 4, "Did you mean 'columns'?"),
        ("  path: a.csv\n  columns: {inputs: text}\n", 4, "Did you mean 'input'?"),
        ("  path: a.csv\n  columns: {output: [a, b]}\n", 4, "not the name of a column"),
        ("  path: a.csv\n  answer: leter\n", 4, "Did you mean 'letter'?"),
        ("  path: a.csv\n  held_out: 1.5\n", 4, "not a share below 1"),
        ("  path: a.csv\n  held_out: {limit: 3}\n", 4, "names no rows"),
        ("  path: a.csv\n  limit: none\n", 4, "not a whole number"),
        ("  path: a.csv\n  labels: {0: a}\n", 4, "Put quotes around the key"),
        ("  path: {}\n", 3, "not a text"),
    ],
)
def test_errors_of_the_section_name_the_line(
    tmp_path: Path, data: str, line: int, says: str
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(f"name: t\ndata:\n{data}")
    with pytest.raises(DataError) as caught:
        list(read_task_file(file))
    assert says in str(caught.value)
    assert caught.value.where.startswith(f"{file}:{line}:")


def test_a_column_that_is_not_there_has_a_near_name(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.csv", NEWS)
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"path": "a.csv", "columns": {"input": "texts", "output": "label"}})
    assert caught.value.slug == "unknown-columns"
    assert "Did you mean 'text'?" in caught.value.fix
    assert "t.yaml:2" in caught.value.where
    with pytest.raises(DataError, match="file-missing"):
        read(tmp_path, {"path": "missing.csv"})
