"""Criteria on an evaluation. Run: pytest tests/evaluation/test_gate.py"""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import SettingsError
from regimen.evaluation.criteria import (
    Gain,
    NoRegression,
    Retention,
    SafetyRate,
    Score,
    StopRate,
)
from regimen.evaluation.gate import gate, overall
from regimen.evaluation.gate_tables import check_line, gate_table
from regimen.evaluation.margins import decide


def pair(low, high, *, clusters=20, p=0.001, **more):
    middle = None if low is None else (low + high) / 2
    return {
        "difference": 0.0 if middle is None else middle,
        "low": low,
        "high": high,
        "verdict": "better",
        "n": 100,
        "clusters": clusters,
        "seeds": 1,
        "p": p,
        **more,
    }


def suite(paired, *, clusters=20, score=0.6):
    systems = {
        "base": {"score": 0.1, "low": 0.05, "high": 0.2},
        "tuned": {
            "score": score,
            "low": score - 0.05,
            "high": score + 0.05,
            "stop_rate": 0.97,
            "stop_low": 0.96,
            "stop_high": 0.98,
        },
    }
    block = {"items": 100, "clusters": clusters, "systems": systems}
    return {**block, "paired": {"tuned-base": paired}}


def text(low, high, *, base=2.0, clusters=20):
    return {
        "systems": {"base": {"bits_per_byte": base}, "tuned": {"bits_per_byte": base}},
        "paired": {"tuned-base": pair(low, high, clusters=clusters)},
    }


def evaluation(*, first=(0.1, 0.3), second=(-0.01, 0.05), kept=(0.0, 0.04)):
    rate = {"score": 0.1, "low": 0.05, "high": 0.15}
    return {
        "suites": {
            "unseen_tasks": suite(pair(*first)),
            "unseen_families": suite(pair(*second, p=0.4)),
        },
        "retention": text(*kept) if kept else {},
        "safety": {
            "harmful": {"n": 400, "clusters": 40, "systems": {"tuned": {"compliance": rate}}},
            "harmless": {"n": 400, "clusters": 40, "systems": {"tuned": {"over_refusal": rate}}},
        },
    }


@pytest.mark.parametrize(
    ("low", "high", "clusters", "outcome"),
    [
        (-0.01, 0.05, 20, "pass"),
        (-0.02, 0.05, 20, "pass"),
        (-0.03, 0.05, 20, "cannot tell"),
        (-0.05, -0.02, 20, "cannot tell"),
        (-0.05, -0.021, 20, "fail"),
        (0.10, 0.20, 9, "cannot tell"),
        (-0.9, -0.8, 9, "cannot tell"),
        (None, None, 1, "cannot tell"),
        (0.3, 0.3, 50, "cannot tell"),
        (0.0, 0.0, 50, "pass"),
    ],
)
def test_not_worse_than_two_points(low, high, clusters, outcome):
    assert decide(low, high, clusters, -0.02).outcome == outcome
    if low is not None:
        assert decide(-high, -low, clusters, 0.02, at_most=True).outcome == outcome


def test_a_gain_of_nothing_is_none():
    assert decide(0.0, 0.2, 20, 0.0, strict=True).outcome == "cannot tell"
    assert decide(-0.2, 0.0, 20, 0.0, strict=True).outcome == "fail"
    assert decide(0.01, 0.2, 20, 0.0, strict=True).outcome == "pass"


ENDS = st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)
ORDER = {"fail": 0, "cannot tell": 1, "pass": 2}


@given(ENDS, st.integers(1, 40), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_wider_margin_never_turns_a_pass_into_a_fail(ends, clusters, margin, more):
    before = decide(*ends, clusters, -margin).outcome
    after = decide(*ends, clusters, -(margin + more)).outcome
    assert ORDER[after] >= ORDER[before]
    body = evaluation(second=ends, kept=ends)
    narrow = (NoRegression(margin=margin), Retention(margin=margin, unit="bits_per_byte"))
    wide = (
        NoRegression(margin=margin + more),
        Retention(margin=margin + more, unit="bits_per_byte"),
    )
    assert ORDER[gate(body, wide).verdict] >= ORDER[gate(body, narrow).verdict]


@given(st.lists(st.sampled_from(sorted(ORDER)), max_size=6))
def test_one_word_for_all(outcomes):
    word = overall(outcomes)
    assert (word == "fail") == ("fail" in outcomes)
    assert (word == "pass") == (bool(outcomes) and set(outcomes) == {"pass"})


def test_the_default_gate():
    found = gate(evaluation())
    assert (found.verdict, found.exit_status) == ("pass", 0)
    assert [check.what for check in found.checks] == [
        "unseen_tasks: tuned against base",
        "unseen_tasks: tuned against base",
        "unseen_families: tuned against base",
        "retention of plain text: tuned against base",
    ]
    assert found.checks[0].requirement == "better on at least one of 2 suites"
    assert found.checks[3].bound == pytest.approx(0.1)
    assert found.unchecked == (
        "safety has no default limit: name a highest rate in evaluate.gate.safety",
    )
    body = found.to_json()
    assert json.loads(json.dumps(body, allow_nan=False)) == body
    worse = gate(evaluation(second=(-0.3, -0.1)))
    assert (worse.verdict, worse.exit_status) == ("fail", 2)
    unclear = gate(evaluation(second=(-0.3, 0.1)))
    assert (unclear.verdict, unclear.exit_status) == ("cannot tell", 3)
    assert "-2.0 points inside" in unclear.checks[2].reason
    dear = gate(evaluation(kept=(0.11, 0.2)))
    assert dear.verdict == "fail"
    without = gate(evaluation(kept=None))
    assert "retention" in without.unchecked[0]
    assert len(without.checks) == 3


def test_a_gain_somewhere_is_adjusted_for_the_suites():
    body = evaluation()
    body["suites"]["unseen_tasks"]["paired"]["tuned-base"]["p"] = 0.03
    once = gate(body, [Gain()])
    assert once.verdict == "cannot tell"
    assert once.checks[0].reason == "no gain shown, adjusted for all suites"
    body["suites"]["unseen_tasks"]["paired"]["tuned-base"]["p"] = 0.02
    assert gate(body, [Gain()]).verdict == "pass"
    assert gate(evaluation(first=(-0.3, -0.1), second=(-0.2, 0.0)), [Gain()]).verdict == "fail"
    for block in body["suites"].values():
        block["paired"]["tuned-base"]["clusters"] = 9
    few = gate(body, [Gain()])
    assert (few.verdict, few.checks[0].reason) == (
        "cannot tell",
        "no evidence: no suite has 10 clusters",
    )


@pytest.mark.parametrize(
    ("criterion", "verdict", "words"),
    [
        (Gain(suite="unseen_tasks"), "pass", "better"),
        (Gain(suite="unseen_tasks", at_least=0.05), "pass", "+5.0 points or more"),
        (Gain(suite="unseen_tasks", at_least=0.2), "cannot tell", "+20.0 points"),
        (Gain(suite="unseen_tasks", at_least=0.5), "fail", "+50.0 points"),
        (Gain(suite="unseen_families"), "cannot tell", "better"),
        (NoRegression(suite="unseen_families", margin=0.005), "cannot tell", "0.5 points"),
        (Retention(margin=0.01), "cannot tell", "at most 1%"),
        (Retention(margin=0.05, unit="bits_per_byte"), "pass", "0.05 bits per byte"),
        (SafetyRate(rate="compliance", at_most=0.2), "pass", "at most 20.0%"),
        (SafetyRate(rate="over_refusal", at_most=0.1), "cannot tell", "at most 10.0%"),
        (SafetyRate(rate="over_refusal", at_most=0.01), "fail", "at most 1.0%"),
        (Score(suite="unseen_tasks", at_least=0.5), "pass", "at least 50.0%"),
        (Score(suite="unseen_tasks", at_least=0.7), "fail", "at least 70.0%"),
        (Score(suite="unseen_tasks", at_least=0.6), "cannot tell", "at least 60.0%"),
        (StopRate(), "pass", "at least 95.0%"),
        (StopRate(suite="unseen_tasks", at_least=0.99), "fail", "at least 99.0%"),
    ],
)
def test_each_criterion(criterion, verdict, words):
    found = gate(evaluation(), [criterion])
    assert found.verdict == verdict
    assert words in found.checks[0].requirement
    assert found.unchecked == ()


def test_each_text_of_a_panel_has_to_be_kept():
    body = evaluation()
    body["retention"]["texts"] = {"german": text(0.0, 0.05), "code": text(0.3, 0.4)}
    found = gate(body, [Retention()])
    assert [check.outcome for check in found.checks] == ["pass", "fail"]
    assert gate(body, [Retention(text="german")]).verdict == "pass"


@pytest.mark.parametrize(
    ("criterion", "got", "fix"),
    [
        (NoRegression(suite="unseen_familys"), "unseen_familys", "unseen_families"),
        (Gain(suite="unseen_tasks", system="tune"), "tune-base", "tuned-base"),
        (Retention(text="german"), "german", "plain text"),
        (SafetyRate(rate="compliance", at_most=0.1, system="tunde"), "tunde", "tuned"),
        (Score(suite="nothing", at_least=0.1), "nothing", "Known"),
    ],
)
def test_what_is_not_there_is_told_with_a_near_match(criterion, got, fix):
    with pytest.raises(SettingsError) as caught:
        gate(evaluation(), [criterion])
    assert (caught.value.slug, caught.value.got) == ("gate-unknown", got)
    assert fix in caught.value.fix


def test_what_was_not_measured_cannot_be_told():
    body = {**evaluation(kept=None), "safety": {}}
    for criterion in (Retention(), SafetyRate(rate="compliance", at_most=0.1)):
        found = gate(body, [criterion])
        assert (found.verdict, found.checks[0].reason) == ("cannot tell", "it was not measured")
    silent = copy.deepcopy(evaluation())
    silent["suites"]["judged"] = {**suite(pair(0, 0)), "paired": {}}
    silent["suites"]["judged"]["systems"]["tuned"]["score"] = None
    for criterion in (Gain(suite="judged"), Score(suite="judged", at_least=0.1)):
        assert gate(silent, [criterion]).verdict == "cannot tell"
    assert "judged has no score to compare" in gate(silent).unchecked
    empty = gate({"suites": {}, "retention": {}})
    assert (empty.verdict, empty.checks[0].reason) == (
        "cannot tell",
        "no suite has a score to compare",
    )


def test_the_last_trained_system_is_meant():
    body = evaluation()
    for block in body["suites"].values():
        block["systems"]["aligned"] = block["systems"]["tuned"]
        block["paired"]["aligned-base"] = pair(-0.3, -0.2)
    assert gate(body, [NoRegression()]).verdict == "fail"
    assert gate(body, [NoRegression(system="tuned")]).verdict == "pass"


def test_a_smallest_gain_needs_a_suite():
    with pytest.raises(ValueError, match="needs a suite"):
        Gain(at_least=0.1)


def test_the_table_says_value_interval_and_basis():
    body = evaluation()
    body["safety"] = {}
    criteria = [NoRegression(), Retention(), SafetyRate(rate="compliance", at_most=0.1)]
    table = gate_table(gate(body, criteria).to_json())
    assert table.title == "Gate: cannot tell"
    assert table.rows[0][2:] == ("+20.0", "[+10.0, +30.0]", "-2.0", "100", "20", "1")
    assert table.rows[2][2:5] == ("+0.020", "[+0.000, +0.040]", "+0.100")
    assert table.rows[3][2:] == ("-", "-", "10.0%", "-", "-", "-")
    found = gate(evaluation(second=(-0.3, 0.1)), [NoRegression()]).to_json()
    assert check_line(found["checks"][1]) == (
        "cannot tell: unseen_families: tuned against base, not worse by more than 2 points: "
        "the interval has -2.0 points inside"
    )
