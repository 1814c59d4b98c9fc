"""Tables written in any format, and what a task file that names one gives."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from regimen.instances.readers import RowFailure
from regimen.instances.task_files import read_task_file
from regimen.records import Task
from regimen.settings import yaml12


def _cell(value: Any) -> Any:
    """Lists and mappings as JSON, which is how CSV files hold them."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def save(folder: Path, rows: list[dict[str, Any]], features: Any = None) -> Path:
    """A folder such as ``save_to_disk`` writes."""
    folder.mkdir(parents=True)
    table = pa.Table.from_pylist(rows)
    with (
        pa.OSFile(str(folder / "data.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Rows as the file's ending says; without one, as ``save_to_disk`` writes them."""
    if not path.suffix:
        return save(path, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    else:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write = gzip.compress if path.suffix == ".gz" else bytes
        path.write_bytes(write(text.encode()))
    return path


def read(
    folder: Path, data: Mapping[str, Any], **more: Any
) -> tuple[list[RowFailure], Task | None]:
    """What a task file with this data section gives: failures and the task."""
    file = folder / "t.yaml"
    file.write_text(yaml12.dump({"name": "t", **more, "data": data}))
    found = list(read_task_file(file))
    failures = [one for one in found if isinstance(one, RowFailure)]
    tasks = [one for one in found if isinstance(one, Task)]
    assert len(tasks) <= 1
    return failures, tasks[0] if tasks else None
