"""pytest tests/reports/test_wording.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.reports.evidence import Estimate, Group, SystemScore, read_evaluation
from regimen.reports.wording import (
    answers_line,
    count,
    evidence_line,
    families_line,
    interval,
    percent,
    points,
    probability,
    signed,
    significant,
    things,
)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0.0, "0%"),
        (0.004, "0.4%"),
        (0.613, "61%"),
        (0.996, "99.6%"),
        (1.0, "100%"),
    ],
)
def test_percent_never_rounds_to_none_or_all(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(value=0.61, low=0.57, high=0.65), "+61 points [57, 65]"),
        (Estimate(value=-0.034, low=-0.06, high=-0.008), "−3 points [−6, −1]"),
        (Estimate(value=0.012, low=-0.004, high=0.028), "+1.2 points [−0.4, 2.8]"),
        (Estimate(value=0.0, low=-0.02, high=0.02), "0 points [−2, 2]"),
        (Estimate(value=0.2), "+20 points"),
    ],
)
def test_points(estimate: Estimate, text: str) -> None:
    assert points(estimate) == text


@given(st.floats(-1, 1), st.floats(0, 0.5))
def test_an_interval_is_written_with_the_sign_of_its_value(value: float, half: float) -> None:
    text = points(Estimate(value=value, low=value - half, high=value + half))
    assert "-" not in text
    assert "+-" not in text
    assert "[−0," not in text
    assert "−0]" not in text


def test_small_words() -> None:
    assert interval(Estimate(value=0.61, low=0.57, high=0.65)) == "61% [57, 65]"
    assert interval(None) == "–"
    assert [things(1, "item"), things(480, "item"), count(12345)] == [
        "1 item",
        "480 items",
        "12,345",
    ]
    assert [probability(1e-9), probability(0.0312), probability(0.5)] == [
        "p < 0.001", "p = 0.031", "p = 0.50",
    ]  # fmt: skip
    assert [significant(0.00152), significant(12), significant(True), significant("a")] == [
        "0.00152", "12", "True", "a",
    ]  # fmt: skip
    assert [signed(-0.04, 1), signed(2.0, 0)] == ["0.0", "+2"]


def suite(paired: dict[str, object], families: dict[str, object] | None = None) -> Group:
    systems = {"base": {"score": 0.0}, "tuned": {"score": 0.61}}
    block = {
        "items": 480, "clusters": 96, "systems": systems, "paired": paired,
        "by_family": families or {},
    }  # fmt: skip
    evaluation = read_evaluation({"suites": {"unseen_compositions": block}}, {})
    assert evaluation is not None
    return evaluation.suites[0]


def test_the_verdict_in_words() -> None:
    pair = {"difference": 0.61, "low": 0.57, "high": 0.65, "verdict": "better", "n": 480,
            "clusters": 96, "seeds": 3}  # fmt: skip
    found = suite({"tuned-base": pair})
    line = answers_line(found, "tuned")
    assert line == "Tuned answers 61% of 480 unseen compositions; its base answers 0%."
    text = evidence_line(found.pair("tuned", "base"), found)
    assert text == "+61 points [57, 65], better (480 items in 96 clusters, 3 seeds)."


def test_without_a_paired_interval_nothing_is_claimed() -> None:
    found = suite({})
    assert "cannot say" in evidence_line(found.pair("tuned", "base"), found)


def test_families_are_counted_by_sign_and_by_verdict() -> None:
    def family(tuned: float, verdict: str) -> dict[str, object]:
        pair = {"difference": tuned - 0.2, "low": 0.0, "high": 0.1, "verdict": verdict}
        systems = {"base": {"score": 0.2}, "tuned": {"score": tuned}}
        return {"items": 9, "systems": systems, "paired": {"tuned-base": pair}}

    families = {"a": family(0.5, "better"), "b": family(0.4, "no evidence"), "c": family(0.1, "")}
    line = families_line(suite({}, families), "tuned")
    assert line.startswith("Tuned scores higher than its base in 2 of 3 families, lower in 1;")
    assert "in 1 of them" in line
    assert families_line(suite({}, {"a": family(0.5, "better")}), "tuned") == ""


def test_a_base_that_was_not_asked_is_said() -> None:
    score = SystemScore(score=Estimate(value=0.5), metrics={}, faults={})
    alone = Group(
        name="s",
        metric="exact",
        right_at=1.0,
        items=None,
        clusters=None,
        systems={"tuned": score},
        paired=(),
    )
    assert answers_line(alone, "tuned") == "Tuned answers 50% of s. The base was not asked."
