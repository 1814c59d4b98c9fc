"""pytest tests/evaluation/test_rewards.py: what is said of a reward model on held-out prompts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regimen.evaluation.rewards import (
    ensemble_quality,
    label_quality,
    length_bias,
    level_quality,
    pair_quality,
)

PROMPTS = [f"p{n // 2}" for n in range(40)]


def drawn(seed: int = 0, *, scale: float = 1.0) -> np.ndarray:
    """Differences of scores whose signs are right as often as the scores say."""
    rng = np.random.default_rng(seed)
    said = rng.normal(0, 2, len(PROMPTS))
    right = rng.random(len(said)) < 1 / (1 + np.exp(-np.abs(said)))
    return np.where(right, np.abs(said), -np.abs(said)) * scale


def test_accuracy_counts_ties_as_half_and_is_told_by_length() -> None:
    difference = np.asarray([1.0, -2.0, 0.0, 3.0])
    longer = np.asarray([5, 5, -1, 0])
    found = pair_quality(difference, longer, ["a", "b", "c", "d"])
    assert found["accuracy"]["value"] == pytest.approx(2.5 / 4)
    assert found["accuracy_longer_better"]["value"] == 0.5
    assert found["accuracy_shorter_better"]["value"] == 0.5
    assert found["accuracy_longer_better"]["n"] == 2
    wanted = sum(math.log(1 + math.exp(-x)) for x in difference) / 4
    assert found["log_loss"]["value"] == pytest.approx(wanted)
    assert pair_quality(difference, np.ones(4), list("abcd"))["accuracy_shorter_better"] is None


def test_scores_that_claim_too_much_are_badly_calibrated() -> None:
    many = [f"p{n}" for n in range(4000)]
    rng = np.random.default_rng(0)
    said = np.abs(rng.normal(0, 1.5, 4000))
    signed = np.where(rng.random(4000) < 1 / (1 + np.exp(-said)), said, -said)
    honest = pair_quality(signed, np.ones(4000), many)["calibration"]
    loud = pair_quality(6 * signed, np.ones(4000), many)["calibration"]
    assert honest["ece"] < 0.03 < 0.1 < loud["ece"]
    assert honest["low"] == 0.0 < loud["low"]
    assert sum(one["items"] for one in honest["bins"]) == 4000


@given(st.integers(0, 50))
def test_the_scale_of_scores_leaves_accuracy_alone(seed: int) -> None:
    one, two = (pair_quality(drawn(seed, scale=s), np.ones(40), PROMPTS) for s in (1.0, 7.0))
    assert one["accuracy"] == two["accuracy"]
    assert one["calibration"]["ece"] != two["calibration"]["ece"]


def test_steps_are_compared_with_the_commoner_label() -> None:
    found = label_quality(np.asarray([2.0, -1.0, 1.0]), np.asarray([1.0, 1.0, 1.0]), list("abc"))
    assert found["commoner"] == 1.0
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    wanted = sum(math.log(1 + math.exp(-x)) for x in (2.0, -1.0, 1.0)) / 3
    assert found["log_loss"]["value"] == pytest.approx(wanted)


def test_levels_lie_between_their_borders() -> None:
    border = np.asarray([-1.0, 1.0])
    score = np.asarray([-2.0, 0.0, 3.0, 0.5])
    found = level_quality(score, np.asarray([0, 1, 0, 2]), border, list("abcd"))
    assert found["accuracy"]["value"] == 0.5
    assert found["error"]["value"] == pytest.approx((2 + 1) / 4)
    assert found["commoner"] == 0.5
    assert sum(one["items"] for one in found["calibration"]["bins"]) == 8


def test_length_bias_is_the_rank_correlation() -> None:
    length = np.asarray([3.0, 9.0, 4.0, 20.0, 8.0, 1.0])
    score = length**2
    found = length_bias(score, length, list("abcdef"))
    assert found is not None
    assert found["value"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(stats.pearsonr(score, length).statistic)
    assert length_bias(score, np.ones(6), list("abcdef")) is None


def test_members_that_disagree_are_told() -> None:
    same = np.tile(drawn()[:, None], (1, 3))
    assert ensemble_quality(same, PROMPTS)["disagreement"]["all"] == pytest.approx(0.0)
    assert ensemble_quality(same, PROMPTS)["split"]["value"] == 0.0
    apart = same * np.asarray([1.0, 1.0, -1.0])
    found = ensemble_quality(apart, PROMPTS)
    assert found["split"]["value"] == 1.0
    first, _, last = (one["value"] for one in found["members"])
    assert first + last == pytest.approx(1.0)
