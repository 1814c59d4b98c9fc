"""Rows of files, whole or broken: pytest tests/instances/test_readers.py."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.readers import RawRow, RowFailure, read_rows

ROWS = [{"prompt": "one", "completion": "1"}, {"prompt": "zwei, drei\n«4»", "completion": '"5"'}]
PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def as_bytes(suffix: str, rows: list[dict[str, Any]]) -> bytes:
    if suffix == ".parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return buffer.getvalue()
    if suffix in (".csv", ".tsv"):
        text = io.StringIO(newline="")
        delimiter = "," if suffix == ".csv" else "\t"
        writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
    if suffix == ".json":
        return json.dumps(rows, indent=1).encode()
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def values(path: Path) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(path) if isinstance(row, RawRow)]


def failures(path: Path) -> list[RowFailure]:
    return [row for row in read_rows(path) if isinstance(row, RowFailure)]


@pytest.mark.parametrize("compression", PLAIN)
@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_container_gives_the_same_rows(tmp_path: Path, suffix: str, compression: str) -> None:
    data = PLAIN[compression](as_bytes(suffix, ROWS))
    path = write(tmp_path / f"rows{suffix}{compression}", data)
    assert values(path) == ROWS
    assert [row.row for row in read_rows(path, limit=1)] == [2 if suffix in (".csv", ".tsv") else 1]


@given(
    st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.integers() | st.none()}), min_size=1)
)
def test_json_lines_and_arrays_hold_any_text(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    directory = tmp_path_factory.mktemp("rows")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    assert values(write(directory / "a.jsonl", lines)) == rows
    assert values(write(directory / "a.json", json.dumps(rows))) == rows


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\x00")), min_size=2, max_size=2
        ).filter(any),
        min_size=1,
        max_size=5,
    )
)
def test_csv_holds_any_text(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    named = [dict(zip(("a", "b"), row, strict=True)) for row in rows]
    path = write(tmp_path_factory.mktemp("rows") / "a.csv", as_bytes(".csv", named))
    assert values(path) == named


def test_a_broken_line_is_counted_with_its_line_and_a_fix(tmp_path: Path) -> None:
    lines = [
        '{"a": 1}',
        "",
        "{'a': 2}",
        '{"a": 3',
        '{"a": 4},',
        "7",
        '{"a": "\\ud800"}',
        '{"a": 8}',
    ]
    path = write(tmp_path / "rows.jsonl", "\r\n".join(lines))
    found = list(read_rows(path))
    assert [(r.row, r.error if isinstance(r, RowFailure) else "") for r in found] == [
        (1, ""),
        (3, "not_json"),
        (4, "not_json"),
        (5, "not_json"),
        (6, "not_an_object"),
        (7, "not_unicode"),
        (8, ""),
    ]
    fixes = [failure.fix for failure in failures(path)]
    assert "double quotes" in fixes[0]
    assert "cut off" in fixes[1]
    assert "comma" in fixes[2]
    assert all(failure.got and failure.source == "rows.jsonl" for failure in failures(path))


def test_bytes_that_are_not_utf8_cost_their_row_only(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", b'{"a": "\xff"}\n{"a": "b"}\n')
    assert [failure.error for failure in failures(path)] == ["not_utf8"]
    assert values(path) == [{"a": "b"}]
    table = write(tmp_path / "rows.csv", b"a,b\n\xff,2\n3,4\n")
    assert [(f.row, f.error) for f in failures(table)] == [(2, "not_utf8")]
    assert values(table) == [{"a": "3", "b": "4"}]


def test_shapes_of_json_documents(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}]
    shapes: list[tuple[Any, list[dict[str, Any]]]] = [
        ({"version": 1, "data": ROWS}, ROWS),
        ({"messages": turns}, [{"messages": turns}]),
        ([turns, turns], [{"messages": turns}] * 2),
        ({"Definition": ["d"], "Instances": ROWS}, [{"Definition": ["d"], "Instances": ROWS}]),
    ]
    for document, rows in shapes:
        assert values(write(tmp_path / "rows.json", json.dumps(document, indent=2))) == rows
    assert values(write(tmp_path / "rows.json", as_bytes(".jsonl", ROWS))) == ROWS
    assert values(write(tmp_path / "rows.jsonl", as_bytes(".json", ROWS))) == ROWS


def test_dialects_of_separated_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert values(write(path, "\ufeffa;b\r\n1,5;2\r\n")) == [{"a": "1,5", "b": "2"}]
    assert values(write(path, "a,b\n1,2\n".encode("utf-16"))) == [{"a": "1", "b": "2"}]
    assert values(write(path, f"a,b\n{'x' * 300_000},2\n"))[0]["a"] == "x" * 300_000
    stray = 'a\tb\n"Go, she said\t1\nno " end\t2\n'
    found = values(write(tmp_path / "rows.tsv", stray))
    assert [row["a"] for row in found] == ['"Go, she said', 'no " end']


def test_rows_of_a_table_are_numbered_by_the_line_on_which_they_start(tmp_path: Path) -> None:
    text = 'a,b\n"two\nlines",1\n3,4,5\n6,7\n8,"never closed\n9,10\n'
    found = list(read_rows(write(tmp_path / "rows.csv", text)))
    assert [(r.row, getattr(r, "error", "")) for r in found] == [
        (2, ""),
        (4, "csv_fields"),
        (5, ""),
        (6, "csv_quotes"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "slug"),
    [
        ("a.jsonl", b"", "file-empty"),
        ("a.jsonl", b" \n\n", "file-empty"),
        ("a.json", b"[]", "file-empty"),
        ("a.json", b"", "file-empty"),
        ("a.csv", b"a,b\n", "file-empty"),
        ("a.json", b'[{"a": 1}, {"a": ', "file-format"),
        ("a.json", b'["\xff"]', "file-encoding"),
        ("a.csv", b"\xff\xfea\x00,", "file-encoding"),
        ("a.parquet", b"PAR1 no", "file-format"),
        ("a.xlsx", b"x", "file-format"),
        ("a.jsonl.gz", b"no gzip", "file-compression"),
        ("a.jsonl.zst", b"no zstandard", "file-compression"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "file-compression"),
        ("a.jsonl.zst", PLAIN[".zst"](b'{"a": 1}\n' * 99)[:-3], "file-compression"),
        ("a.jsonl", b"no json\nnor this\n", "no-usable-rows"),
    ],
)
def test_a_file_without_rows_is_an_error(
    tmp_path: Path, name: str, content: bytes, slug: str
) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        list(read_rows(path))
    assert caught.value.slug == slug
    assert caught.value.fix


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", "{}")
    with pytest.raises(DataError, match=r"file-missing[\s\S]*'train.jsonl'"):
        list(read_rows(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match="file-missing"):
        list(read_rows(tmp_path / "nowhere" / "train.jsonl"))


def test_several_zstandard_frames_are_one_file(tmp_path: Path) -> None:
    data = b"".join(PLAIN[".zst"](line) for line in (b'{"a": 1}\n', b'{"a": 2}\n'))
    assert values(write(tmp_path / "a.jsonl.zst", data)) == [{"a": 1}, {"a": 2}]


def test_a_directory_is_read_in_order_and_its_bad_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "c.jsonl", '{"n": 3}')
    write(tmp_path / "b.jsonl", "")
    write(tmp_path / "a.jsonl", '{"n": 1}')
    write(tmp_path / ".hidden.jsonl", '{"n": 0}')
    write(tmp_path / "LICENSE", "words")
    found = list(read_rows(tmp_path))
    assert [(row.source, row.row, getattr(row, "error", "")) for row in found] == [
        ("a.jsonl", 1, ""),
        ("b.jsonl", 0, "file_empty"),
        ("sub/c.jsonl", 1, ""),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="file-format"):
        list(read_rows(tmp_path / "empty"))
