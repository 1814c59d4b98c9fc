"""pytest tests/reports/test_contamination.py"""

from __future__ import annotations

from typing import Any

from regimen.reports.contamination import (
    contamination_findings,
    contamination_limits,
    read_contamination,
)


def suite(**block: Any) -> dict[str, Any]:
    return {"systems": {"tuned": {"score": 0.5}}, "contamination": block}


KNOWN = suite(
    checked=50,
    flagged=5,
    contaminated=True,
    score_clean={"tuned": {"score": 0.4}, "gone": {"score": 0.1}, "judged": None},
)
UNKNOWN = suite(checked=None, flagged=None, reason="not checked: training rows unknown")


def test_flagged_items_are_a_finding_with_the_score_on_the_others() -> None:
    found = read_contamination({"own_suite": KNOWN, "older": {"systems": {}}, "odd": 3})
    assert list(found) == ["own_suite"]
    assert found["own_suite"].scores == {"tuned": (0.5, 0.4)}
    ((level, text),) = contamination_findings(found, "tuned")
    assert level == "bad"
    assert "5 of 50 items of own suite" in text
    assert "tuned scores 40.0%, with them 50.0%" in text


def test_a_few_flagged_items_are_a_note_and_none_are_nothing() -> None:
    few = suite(checked=500, flagged=5, contaminated=False)
    none = suite(checked=50, flagged=0, contaminated=False)
    found = read_contamination({"few": few, "none": none})
    assert [level for level, _ in contamination_findings(found, "tuned")] == ["note"]


def test_unknown_training_rows_are_a_limit_and_never_clean() -> None:
    found = read_contamination({"known": KNOWN, "un_known": UNKNOWN})
    assert found["un_known"].checked is None
    unknown, undetectable = contamination_limits(found)
    assert "un known" in unknown
    assert "not checked" in unknown
    assert "paraphrase" in undetectable
    only = list(contamination_limits(read_contamination({"un_known": UNKNOWN})))
    assert only == [unknown]
    assert list(contamination_findings(read_contamination({"un_known": UNKNOWN}), "tuned")) == []
