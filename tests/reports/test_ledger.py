"""pytest tests/reports/test_ledger.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regimen.curation.ledger import Ledger
from regimen.errors import RunError
from regimen.records import Instance, Lineage, Message
from regimen.reports.flow import GEOMETRIES, draw_flow
from regimen.reports.ledger import Step, read_ledger, record_text


def instance(text: str) -> Instance:
    turns = (Message(role="user", content=text), Message(role="assistant", content="yes"))
    return Instance(messages=turns, lineage=Lineage(source="s"))


def test_a_ledger_is_read_as_it_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.step("read", entered=3) as step:
        step.keep(2)
        step.fail("a.jsonl:7", "row_not_json", got="{oops", fix="Close the brace.")
    with ledger.step("length", entered=2) as step:
        step.keep(1)
        step.remove(instance("a long question"), "too_long", "900 characters")
    ledger.write()
    read, length = read_ledger(tmp_path)
    assert (read.rows_in, read.kept, read.failed, read.unexplained) == (
        3,
        2,
        {"row_not_json": 1},
        0,
    )
    assert read.samples["row_not_json"][0].text == "{oops"
    assert "a.jsonl:7" in read.samples["row_not_json"][0].detail
    lost = length.samples["too_long"][0]
    assert (lost.text, lost.detail) == ("user: a long question\nassistant: yes", "900 characters")


def test_three_rows_are_shown_per_reason(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.step("length", entered=9) as step:
        for i in range(9):
            step.remove(instance(str(i)), "too_long" if i % 2 else "too_short")
    ledger.write()
    (step_read,) = read_ledger(tmp_path)
    assert {reason: len(rows) for reason, rows in step_read.samples.items()} == {
        "too_long": 3, "too_short": 3,
    }  # fmt: skip
    assert step_read.removed == {"too_long": 4, "too_short": 5}


def test_a_broken_summary_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text("{", encoding="utf-8")
    with pytest.raises(RunError, match=r"summary\.json") as caught:
        read_ledger(tmp_path)
    assert caught.value.slug == "run-file-unreadable"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (None, ""),
        ("plain", "plain"),
        ("[not json", "[not json"),
        (json.dumps({"input": "a", "empty": ""}), "input: a"),
        (json.dumps({"prompt": [{"role": "user", "content": "q"}], "chosen": [
            {"role": "assistant", "content": "a"}]}), "user: q\nassistant: a"),
        (json.dumps([{"role": "user", "content": [{"kind": "text", "text": "q"}]}]), "user: q"),
    ],
)  # fmt: skip
def test_records_as_text(record: str | None, text: str) -> None:
    assert record_text(record) == text


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_the_flow_names_every_loss_and_folds_the_tail(kind: str) -> None:
    removed = {f"reason_{i}": 10 - i for i in range(8)}
    steps = [
        Step(name="read", rows_in=100, kept=99, removed={}, failed={"<b>": 1}),
        Step(
            name="filter", rows_in=99, kept=99 - sum(removed.values()), removed=removed, failed={}
        ),
        Step(name="other", rows_in=400, kept=0, removed={"all": 400}, failed={}),
    ]
    svg = str(draw_flow(steps, GEOMETRIES[kind], "f", "name", "text"))
    assert "reason 0" in svg
    assert "4 more reasons" in svg
    assert "reason 7" not in svg
    assert "&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert "nan" not in svg


def test_an_empty_ledger_can_be_drawn() -> None:
    steps = [Step(name="read", rows_in=0, kept=0, removed={}, failed={})]
    svg = str(draw_flow(steps, GEOMETRIES["wide"], "f", "name", "text"))
    assert "Read" in svg
    assert "nan" not in svg
