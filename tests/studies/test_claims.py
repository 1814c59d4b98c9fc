"""Verdicts in words: pytest tests/studies/test_claims.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.studies.claims import Claim, Measured, in_words, summary, verdict_of

BOUNDS = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)


def measured(low: float | None, high: float | None, clusters: int = 20) -> Measured:
    middle = 0.0 if low is None or high is None else (low + high) / 2
    return Measured(difference=middle, low=low, high=high, n=40, clusters=clusters, seeds=3)


@pytest.mark.parametrize(
    ("expected", "low", "high", "verdict"),
    [
        ("more", 0.01, 0.2, "reproduced"),
        ("more", -0.2, -0.01, "the opposite"),
        ("more", -0.01, 0.2, "cannot tell"),
        ("more", 0.0, 0.2, "cannot tell"),
        ("less", -0.2, -0.01, "reproduced"),
        ("less", 0.01, 0.2, "the opposite"),
        ("less", -0.2, 0.0, "cannot tell"),
        ("no more", -0.3, 0.019, "reproduced"),
        ("no more", 0.001, 0.019, "reproduced"),
        ("no more", -0.01, 0.02, "cannot tell"),
        ("no more", -0.3, 0.5, "cannot tell"),
        ("no more", 0.001, 0.02, "not reproduced"),
        ("no more", 0.1, 0.2, "not reproduced"),
    ],
)
def test_the_interval_decides(expected: Any, low: float, high: float, verdict: str) -> None:
    assert verdict_of(expected, measured(low, high)) == verdict


@given(BOUNDS)
def test_less_is_more_with_the_sign_swapped(bounds: list[float]) -> None:
    low, high = bounds
    other = measured(-high, -low)
    assert verdict_of("more", measured(low, high)) == verdict_of("less", other)
    assert verdict_of("less", measured(low, high)) == verdict_of("more", other)


@given(BOUNDS, st.floats(0.001, 0.5))
def test_no_more_depends_on_its_margin_alone(bounds: list[float], margin: float) -> None:
    low, high = bounds
    verdict = verdict_of("no more", measured(low, high), margin)
    assert (verdict == "reproduced") == (high < margin)
    assert (verdict == "not reproduced") == (low > 0 and high >= margin)
    assert verdict != "the opposite"
    wider = verdict_of("no more", measured(low, high), margin + 1)
    assert wider == "reproduced"


@given(st.sampled_from(["more", "less", "no more"]), BOUNDS, st.integers(0, 9))
def test_under_ten_clusters_nothing_is_evidence(
    expected: Any, bounds: list[float], clusters: int
) -> None:
    assert verdict_of(expected, measured(*bounds, clusters=clusters)) == "no evidence"
    assert verdict_of(expected, measured(*bounds, clusters=10)) != "no evidence"
    assert verdict_of(expected, measured(None, None)) == "no evidence"


def claim(name: str, low: float | None, high: float | None) -> Claim:
    return Claim(name=name, text="text", source="us", expected="more", measured=measured(low, high))


def test_a_claim_is_json_with_its_verdict_and_obeys_its_own_margin() -> None:
    one = replace(claim("a", -0.01, 0.04), expected="no more", margin=0.05)
    assert one.verdict == "reproduced"
    body = json.loads(json.dumps(one.as_dict()))
    assert (body["verdict"], body["margin"], body["measured"]["clusters"]) == (
        "reproduced",
        0.05,
        20,
    )


def test_differences_are_told_in_points() -> None:
    assert in_words(measured(0.012, 0.07)) == "+4.1 points [1.2, 7.0]"
    assert in_words(measured(None, None)) == "+0.0 points"


def test_a_summary_counts_every_claim_once() -> None:
    claims = [
        claim("a", 0.1, 0.2),
        claim("b", 0.1, 0.2),
        claim("c", -0.1, 0.2),
        claim("d", None, None),
        claim("e", -0.2, -0.1),
    ]
    words = summary(claims)
    assert words == "2 of 5 claims reproduced, 1 cannot tell, 1 no evidence, 1 the opposite"
    assert summary([]) == "0 of 0 claims reproduced"
