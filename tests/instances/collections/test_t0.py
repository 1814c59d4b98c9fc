"""Rendered rows of T0 as tasks: pytest tests/instances/collections/test_t0.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.collections.files import FileText
from regimen.instances.collections.t0 import END_MARKS, clean_answer, parse_t0, read_t0
from regimen.instances.readers import RowFailure
from regimen.records import Task


def read(*rows: Any) -> list[Task | RowFailure]:
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return list(parse_t0(FileText("dir/pets_name.jsonl", text, "t", lone=True)))


@pytest.mark.parametrize(
    "names",
    [
        ("prompt", "completion"),
        ("prompt", "output"),
        ("inputs_pretokenized", "targets_pretokenized"),
        ("inputs", "targets"),
        ("input", "target"),
    ],
)
def test_rows_are_read_under_the_names_they_are_published_with(names: tuple[str, str]) -> None:
    (task,) = read({names[0]: "Who barks?\n", names[1]: "a dog", "idx": 4})
    assert task == Task(
        name="pets_name",
        source="t0",
        instances=({"input": "Who barks?\n", "output": "a dog"},),
        tags={"template": "pets_name", "left_out": "idx"},
    )


def test_answers_are_cleaned_and_counted_and_options_kept() -> None:
    (task,) = read(
        {"prompt": "a", "completion": "x <|endoftext|>", "answer_choices": ["x", "y"]},
        {"prompt": "b", "completion": "y</s></s>\n", "answer_choices": []},
        {"prompt": "c", "completion": "</s> inside", "answer_choices": None},
        "",
        {"prompt": "d", "completion": " z"},
    )
    assert isinstance(task, Task)
    assert [row["output"] for row in task.instances] == ["x", "y", "</s> inside", "z"]
    assert [row.get("options") for row in task.instances] == [["x", "y"], None, None, None]
    assert task.tags == {"template": "pets_name", "end_marks": "2", "white_space": "3"}


def test_unusable_rows_are_failures_with_their_line() -> None:
    bad = [
        {"prompt": " ", "completion": "x"},
        {"prompt": "a", "completion": "<|endoftext|>"},
        {"prompt": "a", "completion": None},
        {"prompt": ["a"], "completion": "x"},
        {"question": "a", "answer": "x"},
        {"prompt": "a", "completion": "x", "answer_choices": "x"},
        [1],
        "{broken",
        '{"prompt": "a", "completion": "\\ud800"}',
        '{"prompt": "\udcff", "completion": "x"}',
    ]
    *failed, task = read(*bad, {"prompt": "a", "completion": "x"})
    assert isinstance(task, Task)
    assert len(task.instances) + len(failed) == len(bad) + 1
    assert [(f.row, f.error) for f in failed if isinstance(f, RowFailure)] == list(
        enumerate(
            [
                *("no_question", "no_answer", "no_answer", "no_question", "unknown_columns"),
                *("no_options", "not_an_object", "not_json", "not_unicode", "not_utf8"),
            ],
            start=1,
        )
    )


def test_files_bundles_and_trees(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "a", "completion": "x"})
    (tmp_path / "one.jsonl").write_text(row)
    (tmp_path / "two.jsonl").write_text("")
    members = [{"path": "d/three.jsonl", "text": row}, {"path": "d/notes.txt", "text": "n"}]
    (tmp_path / "bundle.jsonl").write_text("\n".join(map(json.dumps, members)))
    found = list(read_t0(tmp_path))
    assert [record.name for record in found if isinstance(record, Task)] == ["three", "one"]
    failures = [(f.error, f.source) for f in found if isinstance(f, RowFailure)]
    assert failures == [("file_empty", "two.jsonl")]
    with pytest.raises(DataError, match="file-empty"):
        list(read_t0(tmp_path / "two.jsonl"))


pieces = st.lists(st.sampled_from(["a", " ", "\n", "<", "</s>", "<|endoftext|>", "é"]), max_size=8)


@given(pieces.map("".join))
def test_a_clean_answer_has_nothing_to_clean_and_says_what_went(answer: str) -> None:
    cleaned, changes = clean_answer(answer)
    assert clean_answer(cleaned) == (cleaned, [])
    assert cleaned in answer
    assert not cleaned.endswith(END_MARKS)
    assert cleaned == cleaned.strip()
    assert (cleaned == answer) == (not changes)
    assert ("end_marks" in changes) == answer.rstrip().endswith(END_MARKS)


@pytest.mark.realdata
def test_every_real_row_is_kept_or_counted(shared_data: Path) -> None:
    kept, cleaned, files, failed = 0, 0, set(), []
    for record in read_t0(shared_data / "t0-train-50k"):
        if isinstance(record, Task):
            kept += len(record.instances)
            cleaned += int(record.tags["end_marks"])
            files.add(record.name)
            assert not any(row["output"].endswith(END_MARKS) for row in record.instances)
        else:
            failed.append(record)
    rows = [failure for failure in failed if failure.row]
    empty = {failure.source for failure in failed if not failure.row}
    assert kept + len(rows) == 55_185
    # answers of seven templates are end marks alone
    assert {failure.error for failure in rows} == {"no_answer"}
    blank = {Path(failure.source).stem for failure in rows} - files
    assert len(files) + len(blank) + len(empty) == 294
    assert cleaned == kept
    assert (kept, len(rows), len(empty)) == (53_785, 1_400, 11)
