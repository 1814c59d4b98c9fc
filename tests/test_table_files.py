"""Parquet files written piece by piece: pytest tests/test_table_files.py."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.records import Instance, Lineage, Message
from regimen.table_files import TableWriter
from regimen.tables import instances_schema, instances_to_table, read_table, table_to_instances


def rows(count: int) -> list[Instance]:
    return [
        Instance(messages=(Message(role="user", content=f"{n}"),), lineage=Lineage(row=n))
        for n in range(count)
    ]


def write(path: Path, sizes: list[int], per_group: int) -> None:
    wanted, start = rows(sum(sizes)), 0
    with TableWriter(path, instances_schema(), per_group) as writer:
        for size in sizes:
            writer.write(instances_to_table(wanted[start : start + size]))
            start += size
    assert writer.rows == sum(sizes)


@examples(25)
@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 8))
def test_the_bytes_depend_on_the_rows_alone(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], per_group: int
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    write(folder / "pieces.parquet", sizes, per_group)
    write(folder / "whole.parquet", [sum(sizes)], per_group)
    assert (folder / "pieces.parquet").read_bytes() == (folder / "whole.parquet").read_bytes()
    table = read_table(folder / "pieces.parquet")
    assert list(table_to_instances(table)) == rows(sum(sizes))
    groups = pq.ParquetFile(folder / "pieces.parquet").num_row_groups
    assert groups == -(-sum(sizes) // per_group)


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> None:
        with TableWriter(tmp_path / "x.parquet", instances_schema()) as writer:
            writer.write(instances_to_table(rows(3)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert list(tmp_path.iterdir()) == []
