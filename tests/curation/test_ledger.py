"""The ledger reconciles or raises: pytest tests/curation/test_ledger.py"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation import ledger as module
from regimen.curation.ledger import Ledger, record_json
from regimen.records import Instance, Item, Lineage, Message, Preference, Task


def instance(text: str, row: int = 1) -> Instance:
    return Instance(
        messages=(
            Message(role="user", content=text),
            Message(role="assistant", content="ok"),
        ),
        lineage=Lineage(source="s.jsonl", row=row, task="t"),
    )


def test_removed_rows_are_on_disk_with_reason_and_whole_record(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    bad = instance("héllo", 7)
    with ledger.step("read", entered=1) as step:
        step.keep()
    with ledger.step("length", entered=3) as step:
        step.keep(1)
        step.remove(bad, "too_long", "9 characters, at most 4")
        step.fail("s.jsonl:3", "not_json", got="{", fix="Close the brace.")
    summary = ledger.write()
    assert summary["length"] == {
        "in": 3,
        "kept": 1,
        "removed": {"too_long": 1},
        "failed": {"not_json": 1},
    }
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    table = pq.read_table(tmp_path / "02-length.removed.parquet")
    assert table.schema.metadata[b"schema_version"] == b"1"
    (row,) = table.to_pylist()
    record = json.loads(row.pop("record"))
    assert row == {
        "record_id": bad.instance_id,
        "content_id": bad.content_id,
        "kind": "instance",
        "source": "s.jsonl",
        "row": 7,
        "task": "t",
        "reason": "too_long",
        "detail": "9 characters, at most 4",
    }
    assert record["messages"][0]["content"] == "héllo"
    assert record["lineage"]["row"] == 7
    (line,) = (tmp_path / "02-length.failed.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "where": "s.jsonl:3",
        "error": "not_json",
        "got": "{",
        "fix": "Close the brace.",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "02-length.failed.jsonl",
        "02-length.removed.parquet",
        "summary.json",
    ]


@given(
    entered=st.integers(0, 5), kept=st.integers(0, 5), removed=st.integers(0, 3),
    failed=st.integers(0, 3),
)  # fmt: skip
def test_write_raises_exactly_when_a_row_is_lost_or_invented(
    tmp_path_factory: pytest.TempPathFactory, entered: int, kept: int, removed: int, failed: int
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    step = ledger.step("s")
    step.enter(entered)
    step.keep(kept)
    for _ in range(removed):
        step.remove({"a": 1}, "why")
    for _ in range(failed):
        step.fail("here", "what")
    if entered == kept + removed + failed:
        ledger.check()
        assert ledger.write()["s"]["in"] == entered
    else:
        with pytest.raises(ValueError, match="does not reconcile"):
            ledger.check()
        with pytest.raises(ValueError, match=f"{entered} in"):
            ledger.write()


def test_leaving_a_step_checks_it(tmp_path: Path) -> None:
    step = Ledger(tmp_path).step("s", entered=2)
    step.remove("row", "why")
    with pytest.raises(ValueError, match="2 in, but 0 kept"), step:
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_raises_leaves_no_files(tmp_path: Path) -> None:
    def broken() -> None:
        with Ledger(tmp_path).step("s", entered=1) as step:
            step.remove("text", "why")
            step.fail("here", "what")
            raise KeyError("cause")

    with pytest.raises(KeyError, match="cause"):
        broken()
    assert list(tmp_path.iterdir()) == []


def test_many_rows_are_written_in_groups_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_GROUP", 10)
    ledger = Ledger(tmp_path)
    with ledger.step("s", entered=25) as step:
        for n in range(25):
            step.remove({"n": n}, "odd" if n % 2 else "even")
    assert ledger.write()["s"]["removed"] == {"even": 13, "odd": 12}
    file = pq.ParquetFile(tmp_path / "01-s.removed.parquet")
    assert file.num_row_groups == 3
    assert [json.loads(text)["n"] for text in file.read()["record"].to_pylist()] == list(range(25))


def test_a_new_ledger_removes_what_an_earlier_one_left(tmp_path: Path) -> None:
    for name in ("01-old.removed.parquet", "02-x.failed.jsonl.partial", "summary.json"):
        (tmp_path / name).write_text("old")
    (tmp_path / "notes.txt").write_text("mine")
    Ledger(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["", "Read", "a b", "../up", "read"])
def test_step_names_are_slugs_and_unique(tmp_path: Path, name: str) -> None:
    ledger = Ledger(tmp_path)
    ledger.step("read")
    with pytest.raises(ValueError, match="step name"):
        ledger.step(name)


def test_a_closed_step_takes_nothing_more(tmp_path: Path) -> None:
    step = Ledger(tmp_path).step("s")
    step.close()
    with pytest.raises(ValueError, match="closed"):
        step.remove("x", "why")


def test_changes_are_counted_beside_the_account(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.step("chats", entered=1) as step:
        step.keep()
        step.change("turns_merged", 2)
    assert ledger.write()["chats"]["changed"] == {"turns_merged": 2}


def _generate(seed: int, n: int) -> list[dict[str, str]]:
    return [{"input": str(seed)}] * n


def test_every_kind_of_record_becomes_json() -> None:
    message = (Message(role="user", content="q"),)
    pair = Preference(prompt=message, chosen=message, rejected=message)
    task = Task(name="t", instances=({"input": "a"},), generator=_generate)
    item = Item(suite="s", messages=message, references=("r",))
    assert json.loads(record_json(pair))["chosen"][0]["content"] == "q"
    assert json.loads(record_json(task))["generator"] == "_generate"
    assert json.loads(record_json(item))["references"] == ["r"]
    assert json.loads(record_json("text")) == "text"


def test_two_ledgers_of_the_same_rows_are_equal_to_the_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ledger = Ledger(tmp_path / name)
        with ledger.step("s", entered=2) as step:
            step.remove(instance("x"), "why")
            step.fail("here", "what")
        ledger.write()
    files = [sorted((tmp_path / name).iterdir()) for name in ("a", "b")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert len(files[0]) == 3
