"""Calibration. Run: pytest tests/evaluation/test_calibration.py"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.evaluation.calibration import (
    Graded,
    answer_confidence,
    auroc,
    bins_of,
    brier,
    calibration_error,
    fit_temperature,
    nll,
    probabilities,
    reliability,
)
from regimen.evaluation.calibration_blocks import answer_calibration, choice_calibration
from regimen.evaluation.systems import Answer

SHARE = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
ROWS = st.lists(
    st.tuples(SHARE, st.booleans(), st.sampled_from("abcdefghijkl")), min_size=1, max_size=80
)


def simulated(rng, n=600, clusters=40, distort=lambda p: p):
    """Confidence, correctness and cluster of items; the truth is ``distort(confidence)``."""
    confidence = rng.uniform(0.3, 1.0, n)
    correct = rng.random(n) < distort(confidence)
    return confidence, correct.astype(float), [f"c{i}" for i in rng.integers(0, clusters, n)]


def test_a_calibrated_model_has_an_error_of_zero_within_the_interval():
    rng = np.random.default_rng(3)
    found = [calibration_error(*simulated(rng)) for _ in range(150)]
    # What the plain estimate shows is noise alone, and it grows as items become fewer.
    assert np.mean([one.ece for one in found]) > 0.04
    fewer = [calibration_error(*simulated(rng, n=200)).ece for _ in range(50)]
    assert np.mean(fewer) > 1.3 * np.mean([one.ece for one in found])
    # The squared error is unbiased; its root, cut at 0, keeps some of the noise.
    assert np.mean([one.rms for one in found]) < 0.025
    assert np.mean([one.rms == 0 for one in found]) > 0.4
    assert np.mean([one.low == 0 for one in found]) >= 0.93


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("clusters", [12, 40])
def test_a_miscalibrated_model_has_its_own_error_within_the_interval(shift, clusters):
    rng = np.random.default_rng(4)
    found = [
        calibration_error(*simulated(rng, clusters=clusters, distort=lambda p: p - shift))
        for _ in range(60)
    ]
    assert np.mean([one.rms for one in found]) == pytest.approx(shift, abs=0.012)
    # 60 repeats have a standard error of 3 points; the median of larger simulations is 95%.
    assert np.mean([one.low <= shift <= one.high for one in found]) >= 0.83


def test_tasks_that_are_right_or_wrong_together_are_no_miscalibration():
    rng = np.random.default_rng(5)
    rms, alone = [], []
    for _ in range(60):
        confidence = rng.uniform(0.3, 1.0, 600)
        names = rng.integers(0, 30, 600)
        correct = (rng.random(30)[names] < confidence).astype(float)
        rms.append(calibration_error(confidence, correct, names.astype(str)))
        alone.append(calibration_error(confidence, correct, [str(n) for n in range(600)]))
    assert np.mean([one.low == 0 for one in rms]) >= 0.85
    assert np.mean([one.low == 0 for one in alone]) < np.mean([one.low == 0 for one in rms])


@given(ROWS, st.randoms())
def test_errors_are_shares_and_the_order_of_the_items_says_nothing(rows, random):
    mixed = list(rows)
    random.shuffle(mixed)
    found = []
    for each in (rows, mixed):
        confidence, correct, clusters = zip(*each, strict=True)
        one = calibration_error(confidence, [float(c) for c in correct], clusters)
        assert 0 <= one.ece <= 1
        assert 0 <= one.rms <= 1
        if one.low is not None:
            assert 0 <= one.low <= one.rms <= one.high <= 1
        found.append(one)
    assert found[0].ece == pytest.approx(found[1].ece)
    assert found[0].rms ** 2 == pytest.approx(found[1].rms ** 2, abs=1e-12)


@given(ROWS)
def test_the_table_holds_every_item_once_and_gives_the_error(rows):
    confidence, correct, clusters = zip(*rows, strict=True)
    correct = [float(c) for c in correct]
    table = reliability(confidence, correct, clusters)
    assert sum(one.items for one in table) == len(rows)
    assert [one.confidence for one in table] == sorted(one.confidence for one in table)
    gaps = sum(one.items * abs(one.confidence - one.accuracy.estimate) for one in table)
    ece = calibration_error(confidence, correct, clusters).ece
    assert gaps / len(rows) == pytest.approx(ece, abs=1e-9)


@given(st.lists(SHARE, min_size=1, max_size=300))
def test_bins_hold_about_as_many_and_never_part_equal_confidences(confidence):
    values = np.asarray(confidence)
    found = bins_of(values)
    for value in set(confidence):
        assert len(set(found[values == value])) == 1
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= 0).all()
    if len(set(confidence)) == len(confidence) >= 150:
        assert np.bincount(found).max() - np.bincount(found).min() <= 2


def test_brier_and_likelihood_by_hand():
    one = Graded(score_C=np.log([0.5, 0.3, 0.2]), right=(False, True, False))
    p = probabilities(one.score_C)
    assert list(p) == pytest.approx([0.5, 0.3, 0.2])
    assert brier(p, one.right) == pytest.approx(0.5**2 + 0.7**2 + 0.2**2)
    assert nll(one) == pytest.approx(-math.log(0.3))
    both = Graded(score_C=one.score_C - 7, right=(True, True, False))
    assert brier(probabilities(both.score_C), both.right) == pytest.approx(0.2**2 + 0.2**2)
    assert nll(both) == pytest.approx(-math.log(0.8))


def test_the_temperature_is_found_and_lowers_the_loss():
    rng = np.random.default_rng(0)
    graded = []
    for score in rng.normal(0, 1.5, (1000, 4)):
        # The Gumbel trick draws from the softmax.
        drawn = (score + rng.gumbel(size=4)).argmax()
        graded.append(Graded(score_C=2.5 * score, right=tuple(n == drawn for n in range(4))))
    found = fit_temperature(graded)
    assert found.value == pytest.approx(2.5, rel=0.15)
    assert (found.items, found.at_bound) == (1000, False)
    losses = [np.mean([nll(one, t) for one in graded]) for t in (found.value, 1.0, 3.5)]
    assert losses[0] == min(losses)
    assert fit_temperature([]) is None


def test_a_temperature_at_the_end_of_the_range_is_told():
    always = [Graded(score_C=np.asarray([1.0, 0.0]), right=(True, False))] * 5
    assert fit_temperature(always).at_bound


@given(ROWS)
def test_the_area_is_the_share_of_pairs_in_order(rows):
    confidence, correct, clusters = zip(*rows, strict=True)
    found = auroc(confidence, correct, clusters)
    wins = [c for c, right in zip(confidence, correct, strict=True) if right]
    losses = [c for c, right in zip(confidence, correct, strict=True) if not right]
    if not wins or not losses:
        assert found is None
        return
    pairs = [(a > b) + (a == b) / 2 for a in wins for b in losses]
    assert found.estimate == pytest.approx(np.mean(pairs))
    if found.low is not None:
        assert 0 <= found.low <= found.estimate + 1e-12
        assert found.estimate - 1e-12 <= found.high <= 1


def test_the_interval_of_the_area_covers():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        right = rng.random(300) < 0.6
        confidence = rng.normal(right * 1.0, 1.0)
        names = [f"c{i}" for i in rng.integers(0, 30, 300)]
        found = auroc(confidence, right, names)
        held += found.low <= 0.7602 <= found.high  # Phi(1 / sqrt 2)
    assert 0.91 <= held / 200 <= 0.99


def test_clusters_that_agree_widen_the_interval():
    rng = np.random.default_rng(2)
    confidence, correct, _ = simulated(rng, distort=lambda p: p - 0.2)
    alone = calibration_error(confidence, correct, [str(n) for n in range(600)])
    tasks = np.argsort(np.argsort(correct + rng.normal(0, 0.5, 600))) // 50
    together = calibration_error(confidence, correct, [str(t) for t in tasks])
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_generated_answers():
    answers = [
        Answer(text="a", tokens=1, finish="stop", logp=2 * math.log(0.9)),
        Answer(text="b", tokens=4, finish="length", logp=4 * math.log(0.5)),
        Answer(text="c", tokens=1),
        Answer(error="unreachable", finish="error", logp=-1.0),
    ]
    found = answer_calibration(answers, [True, False, True, False], list("abcd"))
    assert (found["items"], found["without"]) == (2, 2)
    assert found["confidence"] == pytest.approx((0.9 + 0.5) / 2)
    assert found["auroc"]["estimate"] == 1
    assert answer_calibration(answers[2:], [True, False], list("ab")) is None
    assert answer_confidence(0.0, 0) == 1


@pytest.mark.parametrize(("confidence", "correct"), [([], []), ([1.5], [1]), ([0.5], [-1])])
def test_what_is_no_share_is_refused(confidence, correct):
    with pytest.raises(ValueError, match=r"0\.\.1"):
        calibration_error(confidence, correct, ["a"] * len(confidence))


@examples(10)
@given(st.integers(1, 30))
def test_small_samples_have_every_number(n):
    one = Graded(score_C=np.log([0.7, 0.3]), right=(True, False))
    block = choice_calibration([(f"c{i}", one) for i in range(n)])
    assert block["items"] == n
    assert block["ece"] == pytest.approx(0.3)
    assert block["temperature"] is None
    assert choice_calibration([]) is None
