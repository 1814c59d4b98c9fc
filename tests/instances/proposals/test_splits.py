"""Parts that a data set has: pytest tests/instances/proposals/test_splits.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from regimen.errors import DataError
from regimen.instances.proposals.splits import (
    Parts,
    first_line_is_a_row,
    header_for,
    parts_of,
    split_parts,
)
from regimen.instances.proposals.tables import table_of


def files(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_text("{}\n")
    return folder


def names(parts: Parts) -> tuple[list[str], list[list[str]]]:
    return [path.name for path in parts.paths], [[p.name for p in one] for one in parts.apart]


@pytest.mark.parametrize(
    ("there", "data", "paths", "apart"),
    [
        (["a.csv", "test.csv"], "a.csv", ["a.csv"], []),
        (
            ["train.csv", "test.csv", "dev.csv"],
            "train.csv",
            ["train.csv"],
            [["test.csv"], ["dev.csv"]],
        ),
        (["train.csv", "test.jsonl"], "train.csv", ["train.csv"], []),
        (["x_train.csv", "y_test.csv"], "x_train.csv", ["x_train.csv"], []),
        (["x_train.csv", "x_validation.csv"], "", ["x_train.csv"], [["x_validation.csv"]]),
        (["test.csv", "train.csv"], "test.csv", ["test.csv"], []),
        (
            [f"{n}-0000{k}-of-00002.jsonl" for n in ("train", "test") for k in (0, 1)],
            "",
            ["train-00000-of-00002.jsonl", "train-00001-of-00002.jsonl"],
            [["test-00000-of-00002.jsonl", "test-00001-of-00002.jsonl"]],
        ),
        (["train.jsonl.gz", "test.jsonl.gz"], "", ["train.jsonl.gz"], [["test.jsonl.gz"]]),
        (["a.jsonl"], "", ["a.jsonl"], []),
        (["train.csv", "train_extra.csv"], "", ["train.csv"], []),
    ],
)
def test_files_are_known_by_their_names(
    tmp_path: Path, there: list[str], data: str, paths: list[str], apart: list[list[str]]
) -> None:
    assert names(parts_of(files(tmp_path, *there) / data)) == (paths, apart)


def test_a_directory_without_a_training_file_is_taken_whole(tmp_path: Path) -> None:
    assert parts_of(files(tmp_path, "a.csv", "b.csv")).paths == (tmp_path,)
    with pytest.raises(DataError, match="file-missing"):
        parts_of(tmp_path / "c.csv")


def test_splits_are_known_by_their_names() -> None:
    assert split_parts(("test", "train", "validation")) == Parts(
        split="train", splits=("test", "validation")
    )
    assert split_parts(("test",)) == Parts(split="test")
    assert split_parts(()) == Parts()


@pytest.mark.parametrize(
    ("rows", "is_row"),
    [
        ([{"text": "a", "label": "b"}, {"text": "c", "label": "label of it"}], False),
        ([{"Is it?": "a", "no": "yes"}, {"Is it?": "b", "no": "no"}], True),
        ([{"x": "1", "72": "10"}, {"x": "2", "72": "11"}], True),
        ([{"x" * 61: "a", "y": "b"}], True),
        ([{"Which of these two is the larger?": "a", "y": "b"}], True),
        ([{"2020": "a", "y": "b"}], False),
    ],
)
def test_a_first_line_that_is_a_row_shows(rows: list[dict[str, str]], is_row: bool) -> None:
    columns = table_of(rows).columns
    assert first_line_is_a_row(Path("a.csv"), columns) is is_row
    assert not first_line_is_a_row(Path("a.jsonl"), columns)


def test_names_for_columns_without_any() -> None:
    rows = [
        {"some words here": f"row {n} of it", "yes": "no", "why it is so": "so it is"}
        for n in range(4)
    ]
    assert header_for(table_of(rows).columns) == ("input", "output", "rationale")
    assert header_for(table_of([{"no": "yes", "a b": "c d e"}]).columns) == ("output", "input")
    four = [{"a b": "c d e", "1": "2", "x": "y z", "p": "q r"}]
    assert header_for(table_of(four).columns) == ("input", "output", "column_3", "column_4")
