"""Saved data sets and those of the hub: pytest tests/instances/test_hub.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from regimen.errors import DataError, MissingExtraError
from regimen.instances.hub import class_labels, dataset_splits, is_saved, open_dataset, open_rows
from regimen.instances.readers import RawRow
from regimen.instances.task_files import parse_task
from regimen.records import Task

FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["bad", "good"], "_type": "ClassLabel"},
}
ROWS = [{"text": f"text {n}", "label": n % 2} for n in range(600)]


def save(folder: Path, rows: list[dict[str, Any]], features: dict[str, Any] = FEATURES) -> Path:
    """A folder such as ``save_to_disk`` writes, in two files."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    names = []
    for number, part in enumerate((table.slice(0, 400), table.slice(400))):
        names.append(f"data-{number:05d}-of-00002.arrow")
        with (
            pa.OSFile(str(folder / names[-1]), "wb") as sink,
            pa.ipc.new_stream(sink, part.schema) as writer,
        ):
            writer.write_table(part)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def test_a_saved_folder_gives_its_rows_in_order_and_its_labels(tmp_path: Path) -> None:
    folder = save(tmp_path / "d", ROWS)
    assert is_saved(folder)
    assert not is_saved(tmp_path)
    opened = open_rows(folder)
    assert opened.labels == {"label": ("bad", "good")}
    rows = [row for row in opened.rows if isinstance(row, RawRow)]
    assert [row.values for row in rows] == ROWS
    assert [row.row for row in rows] == list(range(1, 601))
    assert len(list(open_rows(folder, limit=7).rows)) == 7


def test_a_saved_folder_of_splits_is_read_by_split(tmp_path: Path) -> None:
    save(tmp_path / "d" / "train", ROWS[:3])
    save(tmp_path / "d" / "test", [*ROWS[3:5], {"text": "hidden", "label": -1}])
    (tmp_path / "d" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    text = (
        "name: t\ndata:\n  path: d\n  columns: {input: text, output: label}\n"
        "  held_out: {split: test}\n"
    )
    failure, task = parse_task(text, str(tmp_path / "t.yaml"))
    assert isinstance(task, Task)
    assert task.options == ("bad", "good")
    assert [row["output"] for row in task.instances] == ["bad", "good", "bad"]
    assert [row["output"] for row in task.held_out] == ["good", "bad"]
    assert not isinstance(failure, Task)
    assert (failure.row, failure.error) == (3, "unknown_label")
    with pytest.raises(DataError, match="Did you mean 'test'"):
        list(parse_task(text.replace("split: test", "split: tests"), str(tmp_path / "t.yaml")))


@pytest.mark.parametrize("name", ["state.json", "data-00001-of-00002.arrow", "dataset_info.json"])
def test_a_damaged_folder_is_an_error(tmp_path: Path, name: str) -> None:
    folder = save(tmp_path / "d", ROWS)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match="file-format"):
        list(open_rows(folder).rows)


def test_a_parquet_file_of_the_library_knows_its_labels(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS[:4])
    said = json.dumps({"info": {"features": FEATURES}})
    pq.write_table(table.replace_schema_metadata({"huggingface": said}), tmp_path / "a.parquet")
    assert open_rows(tmp_path / "a.parquet").labels == {"label": ("bad", "good")}
    pq.write_table(table, tmp_path / "b.parquet")
    assert open_rows(tmp_path / "b.parquet").labels == {}


def test_the_library_itself_writes_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    made = datasets.Dataset.from_list(ROWS, features=features)
    assert class_labels(made.features) == {"label": ("bad", "good")}
    made.shuffle(seed=1).save_to_disk(tmp_path / "one")
    rows = [row.values for row in open_rows(tmp_path / "one").rows if isinstance(row, RawRow)]
    assert rows == made.shuffle(seed=1).to_list()
    assert rows != ROWS
    datasets.DatasetDict({"train": made}).save_to_disk(tmp_path / "all")
    assert len(list(open_rows(tmp_path / "all").rows)) == 600
    made.to_parquet(tmp_path / "a.parquet")
    assert open_rows(tmp_path / "a.parquet").labels == {"label": ("bad", "good")}


def test_a_name_is_loaded_by_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "org" / "name"
    folder.mkdir(parents=True)
    for split, rows in (("train", ROWS[:5]), ("test", ROWS[5:7])):
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    opened = open_dataset("org/name", limit=4)
    assert [row.values for row in opened.rows if isinstance(row, RawRow)] == ROWS[:4]
    assert dataset_splits("org/name") == ("train", "test")
    for asked in ({"name": "org/name", "split": "dev"}, {"name": "org/missing"}):
        with pytest.raises(DataError) as caught:
            open_dataset(**asked)
        assert caught.value.slug == "dataset-unavailable"
        assert caught.value.got.startswith(asked["name"])


def test_without_the_library_a_name_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"regimen\[hub\]"):
        open_dataset("org/name")
