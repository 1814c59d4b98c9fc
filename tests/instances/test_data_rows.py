"""Rows under the names of a task: pytest tests/instances/test_data_rows.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.task_tables import read, write_rows


@pytest.mark.parametrize(
    ("options", "key", "answer", "word"),
    [
        (["x", "y"], 1, "index", "y"),
        (["x", "y"], "1", "index", "y"),
        (["x", "y"], 1.0, "index", "y"),
        (["x", "y"], 1, "number", "x"),
        ('["x", "y"]', "B", "letter", "y"),
        ("['x', 'y']", "(b)", "letter", "y"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "B", "letter", "y"),
        ({"text": ["x", "y"], "label": ["1", "2"]}, "2", "letter", "y"),
        ({"A": "x", "B": "y"}, "A.", "letter", "x"),
        ([{"text": "x", "label": "B"}, {"text": "y", "label": "A"}], "A", "letter", "y"),
        (["x", "y"], "y", "text", "y"),
        (["x", "y"], 2, "index", None),
        (["x", "y"], -1, "index", None),
        (["x", "y"], 0, "number", None),
        (["x", "y"], "C", "letter", None),
        (["x", "y"], "first", "letter", None),
        (["x", "y"], "", "index", None),
        ("x or y", 0, "index", None),
        ([], 0, "index", None),
    ],
)
def test_an_answer_that_points_at_an_option_becomes_its_text(
    tmp_path: Path, options: Any, key: Any, answer: str, word: str | None
) -> None:
    row = {"q": "Which?", "choices": options, "key": key}
    write_rows(tmp_path / "a.jsonl", [row, {"q": "And?", "choices": ["m", "n"], "key": "n"}])
    columns = {"input": "q", "output": "key", "options": "choices"}
    failures, task = read(tmp_path, {"path": "a.jsonl", "columns": columns, "answer": answer})
    rows = {made["input"]: made for made in task.instances} if task else {}
    if word is None:
        assert failures[0].error in ("not_an_option", "bad_options", "no_answer")
        assert "Which?" not in rows
    else:
        assert rows["Which?"]["output"] == word
        assert rows["Which?"]["options"] == ["x", "y"]
    lost = sum(one.error != "no_instances" for one in failures)
    assert len(rows) + lost == 2


def test_several_columns_become_an_input_or_options(tmp_path: Path) -> None:
    rows = [{"first_text": "A dog.", "other": "A cat.", "A": "yes", "B": "no", "key": "B"}]
    write_rows(tmp_path / "a.csv", rows)
    columns = {"input": ["first_text", "other"], "options": ["A", "B"], "output": "key"}
    _, task = read(tmp_path, {"path": "a.csv", "columns": columns, "answer": "letter"})
    assert task is not None
    (row,) = task.instances
    assert row["input"] == "First text: A dog.\nOther: A cat."
    assert (row["options"], row["output"]) == (["yes", "no"], "no")
    columns["input"] = {"One": "first_text", "Two": "other"}  # type: ignore[assignment]
    _, task = read(tmp_path, {"path": "a.csv", "columns": columns, "answer": "letter"})
    assert task is not None
    assert task.instances[0]["input"] == "One: A dog.\nTwo: A cat."


def test_outputs_may_be_lists_mappings_and_parts_of_columns(tmp_path: Path) -> None:
    rows = [
        {"t": {"en": "dog", "es": "perro"}, "a": {"text": ["x", "y", "x"], "start": [1, 2, 1]}},
        {"t": {"en": "cat", "es": None}, "a": {"text": [], "start": []}},
    ]
    write_rows(tmp_path / "a.jsonl", rows)
    _, task = read(tmp_path, {"path": "a.jsonl", "columns": {"input": "t.en", "output": "a"}})
    assert task is not None
    assert [row["output"] for row in task.instances] == [["x", "y"]]
    failures, task = read(
        tmp_path,
        {"path": "a.jsonl", "columns": {"input": "t.en", "output": "t.es", "rationale": "a.text"}},
    )
    assert task is not None
    assert task.instances[0]["output"] == "perro"
    assert task.instances[0]["rationale"] == "x\ny\nx"
    assert [(one.row, one.error) for one in failures] == [(2, "no_answer")]


cells = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["A", "0", "[", '["a", "b"]', "{'a': 1}"])
)
values = st.recursive(
    cells,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "label", "a"]), inner)
    ),
    max_leaves=5,
)


@given(
    st.lists(
        st.fixed_dictionaries({"q": values, "o": values, "k": values}), min_size=1, max_size=4
    ),
    st.sampled_from(["text", "index", "number", "letter"]),
)
def test_every_row_is_used_or_counted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], answer: str
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder / "a.jsonl", rows)
    columns = {"input": "q", "output": "k", "options": "o"}
    failures, task = read(
        folder, {"path": "a.jsonl", "columns": columns, "answer": answer, "held_out": 0.5}
    )
    kept = (*task.instances, *task.held_out) if task else ()
    lost = [one for one in failures if one.error != "no_instances"]
    if task is not None:
        assert len(kept) + len(lost) == len(rows)
    for row in kept:
        assert row["input"].strip()
        assert all(isinstance(text, str) for text in row.get("options", []))
        if answer != "text":
            outputs = row["output"] if isinstance(row["output"], list) else [row["output"]]
            assert set(outputs) <= set(row["options"])
