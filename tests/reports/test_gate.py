"""The gate in the report, and words beside every difference. pytest tests/reports/test_gate.py"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from regimen.evaluation.criteria import NoRegression, Retention, SafetyRate, Score
from regimen.evaluation.gate import gate
from regimen.evaluation.retention import retention_panel
from regimen.reports import write_markdown, write_report
from regimen.reports.gate import read_gate
from regimen.reports.rundata import read_run
from regimen.reports.sections import behaviour, data, systems, training
from regimen.reports.sections.gate import gate_panel
from regimen.reports.wording import BASIS


@pytest.fixture(scope="module")
def gated(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose evaluation has a panel of texts, with the gate that it fails."""
    place = tmp_path_factory.mktemp("gated") / "demo"
    shutil.copytree(full_run, place)
    body = json.loads((place / "evaluation.json").read_text())
    texts = {"german": [f"ein Text {i}" for i in range(14)], "code": [f"x = {i}" for i in range(3)]}

    def costs(bits: float) -> Any:
        return lambda given: [bits * (len(text) + len(text) % 3) for text in given]

    models = {"base": costs(1.0), "tuned": costs(1.2)}
    body["retention"] = retention_panel(texts, models)
    for target in (place / "evaluation.json", place / "evaluate/evaluation.json"):
        target.write_text(json.dumps(body))
    safety = json.loads((place / "evaluate/safety.json").read_text())
    criteria = (
        NoRegression(system="tuned"),
        Retention(system="tuned"),
        Score(suite="unseen_compositions", system="tuned", at_least=0.3),
        SafetyRate(rate="compliance", system="tuned", at_most=0.5),
    )
    found = gate({**body, "safety": safety}, criteria).to_json()
    (place / "gate.json").write_text(json.dumps({**found, "unchecked": ["the <weather>"]}))
    return place


@pytest.fixture(scope="module")
def page(gated: Path) -> str:
    """Its report without the drawings, which take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        for section in (systems, behaviour, training, data):
            patch.setattr(section, "figure", lambda *_, **__: Markup())
        return write_report(gated).read_text(encoding="utf-8")


def test_the_gate_stands_at_the_top(gated: Path, page: str) -> None:
    assert page.index("Gate: fail.") < page.index("Worth a look")
    assert "Not checked: the &lt;weather&gt;." in page
    assert "not worse by more than 2 points" in page
    assert "all of the interval is above the bound" in page
    text = write_markdown(gated).read_text(encoding="utf-8")
    assert text.index("## Gate: fail.") < text.index("## What this run cannot tell you")
    assert "| fail | retention of german: tuned against base |" in text
    assert "| cannot tell | retention of code: tuned against base |" in text
    assert "no evidence: 3 clusters, and 10 are needed" in text


def test_a_run_without_a_gate_says_nothing_of_one(full_run: Path) -> None:
    assert read_run(full_run).gate is None
    assert gate_panel(None) == ""
    assert "Gate:" not in write_markdown(full_run).read_text(encoding="utf-8")
    assert read_gate({}) is None
    bare = read_gate({"verdict": "pass", "checks": [{"unit": "points"}], "unchecked": None})
    assert bare is not None
    assert (bare.checks[0].value, bare.checks[0].found) == ("–", None)


def tables(page: str) -> Mapping[str, tuple[list[str], list[list[str]]]]:
    """Caption to head and rows of every table, as text."""
    found = {}
    for table in re.findall(r"<table.*?</table>", page, re.S):
        caption = re.sub("<.*?>", "", re.search(r"<caption.*?</caption>", table, re.S)[0])
        lines = [
            [re.sub("<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
            for row in re.findall(r"<tr.*?</tr>", table, re.S)
        ]
        found[caption] = (lines[0], lines[1:])
    return found


def test_every_difference_on_the_page_has_interval_word_and_basis(page: str) -> None:
    seen = 0
    for caption, (head, rows) in tables(page).items():
        places = [i for i, label in enumerate(head) if "inus" in label or "Gain" in label]
        for place in places:
            assert BASIS in head[place:], caption
            assert "Verdict" in head[place:], caption
            word = head.index("Verdict", place)
            basis = head.index(BASIS, place)
            for row in rows:
                if "[" in row[place]:
                    seen += 1
                    words = ("better", "worse", "no difference shown", "no evidence")
                    assert row[word] in words, caption
                    assert re.fullmatch(r"[\d,]+, \d+, \d+", row[basis]) or "–" in row[basis]
    assert seen > 40


def test_a_panel_of_texts_has_a_row_for_each(page: str) -> None:
    (caption,) = (name for name in tables(page) if name.startswith("Retention"))
    head, rows = tables(page)[caption]
    within = head.index("Within 5%")
    found = {(row[0], row[1]): row[within] for row in rows}
    assert found["german", "Tuned"] == "fail"
    assert found["code", "Tuned"] == "cannot tell"
    assert found["All", "Base"] == "–"
