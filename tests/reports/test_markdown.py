"""pytest tests/reports/test_markdown.py"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from regimen.reports import write_markdown
from regimen.reports.markdown import MOST_LINES, markdown, plain
from regimen.reports.rundata import read_run


def test_the_twin_says_the_same_in_few_lines(full_run: Path, tmp_path: Path) -> None:
    path = write_markdown(full_run, tmp_path / "report.md")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Tuned answers ")
    assert len(text.splitlines()) <= MOST_LINES
    for heading in ("Worth a look", "What this run cannot tell you", "Systems side by side",
                    "What moved, item by item", "Safety and retention", "Training"):  # fmt: skip
        assert f"## {heading}\n" in text
    assert "<script" not in text


def test_every_row_of_a_table_has_its_columns(full_run: Path) -> None:
    rows: list[int] = []
    for line in [*markdown(read_run(full_run)).splitlines(), ""]:
        if line.startswith("|"):
            rows.append(len(re.findall(r"(?<!\\)\|", line)))
        else:
            assert len(set(rows)) <= 1
            rows = []


def test_a_long_report_is_cut_and_says_so(full_run: Path) -> None:
    run = read_run(full_run)
    text = markdown(replace(run, ledger=run.ledger * 60))
    assert len(text.splitlines()) == MOST_LINES
    assert text.endswith("The rest is in report.html.\n")


def test_a_run_of_build_only(run_of: Callable[..., Path]) -> None:
    path = write_markdown(run_of("build"))
    text = path.read_text(encoding="utf-8")
    assert path.name == "report.md"
    assert "- Any evaluation, written by `regimen evaluate`" in text
    assert "Systems side by side" not in text


@given(st.text())
def test_text_cannot_become_markup(text: str) -> None:
    found = plain(text)
    assert "\n" not in found
    assert "<" not in found
    assert not re.search(r"(?<!\\)(\\\\)*[|*_`\[]", found)


def test_text_is_cut() -> None:
    assert plain("a  b\nc", 4) == "a b…"
