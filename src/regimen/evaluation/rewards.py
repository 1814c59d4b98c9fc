"""How good a reward model is on prompts that it did not learn from.

Accuracy: how often the better answer has the higher score, a tie as half. Calibration: the model
says s(r_w - r_l) of a pair (Bradley and Terry 1952), s(r) of a step and s(r - b_j) of a level
beyond border j; the likelier side is the prediction and its probability the confidence (see
:mod:`regimen.evaluation.calibration`). Length bias: the rank correlation of scores and lengths, and
accuracy apart where the better answer is the longer one and where it is the shorter one (Singhal et
al. 2023, *A Long Way to Go*, arXiv 2310.03716). Intervals are clustered by prompt.

Shape letters: N comparisons, steps or answers; A answers; J borders; M members of an ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy import special, stats

from regimen.evaluation.calibration import calibration_error, reliability
from regimen.evaluation.jackknife import Rows, jackknife
from regimen.evaluation.ratios import Floats
from regimen.evaluation.statistics import Interval, clustered_mean, clustered_rate

Prompts = Sequence[str]


def pair_quality(difference_N: Floats, longer_N: Floats, prompts: Prompts) -> dict[str, Any]:
    """How well the better of two answers is told.

    Args:
        difference_N: score of the better answer less that of the worse.
        longer_N: tokens of the better answer less those of the worse.
        prompts: the prompt of each pair.

    Returns:
        ``accuracy``, ``log_loss`` and, apart by which answer is longer, ``accuracy_longer_better``
        and ``accuracy_shorter_better`` (value, low, high, n; None without such pairs);
        ``calibration`` as of :func:`calibrated`.
    """
    right_N = _wins(difference_N)
    apart = {"longer": longer_N > 0, "shorter": longer_N < 0}
    return {
        "accuracy": as_json(clustered_rate(right_N, prompts)),
        "log_loss": as_json(clustered_mean(np.logaddexp(0, -difference_N), prompts)),
        **{
            f"accuracy_{which}_better": _rate(right_N, own_N, prompts)
            for which, own_N in apart.items()
        },
        "calibration": calibrated(special.expit(np.abs(difference_N)), right_N, prompts),
    }


def label_quality(score_N: Floats, label_N: Floats, prompts: Prompts) -> dict[str, Any]:
    """How well right steps are told from wrong ones; labels of 0.5 and less are wrong.

    Returns:
        ``accuracy``, ``log_loss``; ``commoner``, the accuracy of always saying the commoner label;
        ``calibration``.
    """
    right_N = ((score_N > 0) == (label_N > 0.5)).astype(np.float64)
    share = float((label_N > 0.5).mean())
    loss_N = np.logaddexp(0, score_N) - label_N * score_N
    return {
        "accuracy": as_json(clustered_rate(right_N, prompts)),
        "commoner": max(share, 1 - share),
        "log_loss": as_json(clustered_mean(loss_N, prompts)),
        "calibration": calibrated(special.expit(np.abs(score_N)), right_N, prompts),
    }


def level_quality(
    score_N: Floats, level_N: Floats, border_J: Floats, prompts: Prompts
) -> dict[str, Any]:
    """How well the levels of answers are told.

    Args:
        score_N: of answers.
        level_N: numbers of their levels.
        border_J: between the levels, ascending.
        prompts: the prompt of each answer.

    Returns:
        ``accuracy`` of the level that the score lies in, ``commoner`` (of always saying the
        commonest level), ``error`` (mean levels between the two); ``calibration`` of all borders
        together.
    """
    lying_N = np.searchsorted(border_J, score_N)
    beyond_NJ = score_N[:, None] - border_J[None, :]
    right_NJ = (beyond_NJ > 0) == (level_N[:, None] > np.arange(len(border_J))[None, :])
    repeated = [prompt for prompt in prompts for _ in border_J]
    counts = np.unique(level_N, return_counts=True)[1]
    error_N = np.abs(lying_N - level_N).astype(np.float64)
    return {
        "accuracy": as_json(clustered_rate((error_N == 0).astype(np.float64), prompts)),
        "commoner": float(counts.max() / len(level_N)),
        "error": as_json(clustered_mean(error_N, prompts)),
        "calibration": calibrated(
            special.expit(np.abs(beyond_NJ)).ravel(), right_NJ.astype(float).ravel(), repeated
        ),
    }


def calibrated(confidence_N: Floats, right_N: Floats, prompts: Prompts) -> dict[str, Any]:
    """``ece``, ``rms`` with ``low`` and ``high``, and ``bins``: items, confidence, accuracy."""
    bins = [
        {
            "items": one.items,
            "confidence": one.confidence,
            "accuracy": one.accuracy.estimate,
            "low": one.accuracy.low,
            "high": one.accuracy.high,
        }
        for one in reliability(confidence_N, right_N, prompts)
    ]
    return {**asdict(calibration_error(confidence_N, right_N, prompts)), "bins": bins}


def length_bias(score_A: Floats, length_A: Floats, prompts: Prompts) -> dict[str, Any] | None:
    """Rank correlation of scores and lengths in tokens, with interval; None where one of them is
    constant or there are fewer than three answers."""
    if len(score_A) < 3 or np.ptp(score_A) == 0 or np.ptp(length_A) == 0:
        return None

    def rho(rows: Rows) -> float:
        some, other = score_A[rows], length_A[rows]
        if np.ptp(some) == 0 or np.ptp(other) == 0:
            return math.nan
        return float(stats.spearmanr(some, other).statistic)

    found = as_json(jackknife(rho, list(prompts), bounds=(-1.0, 1.0)))
    return {**found, "pearson": float(np.corrcoef(score_A, length_A)[0, 1])}


def ensemble_quality(difference_NM: Floats, prompts: Prompts) -> dict[str, Any]:
    """What the members of an ensemble say of pairs, one by one and of each other.

    Returns:
        ``members`` (accuracy of each), ``disagreement`` (standard deviation over members of the
        difference in scores: ``all``, ``right`` and ``wrong`` pairs of the mean), ``split`` (share
        of pairs whose members do not all prefer one answer).
    """
    mean_N, spread_N = difference_NM.mean(1), difference_NM.std(1)
    wins_NM = difference_NM > 0
    split_N: Floats = np.asarray(wins_NM.any(1) & ~wins_NM.all(1), dtype=np.float64)
    members: list[Floats] = [difference_NM[:, number] for number in range(difference_NM.shape[1])]
    every = {"all": np.ones(len(mean_N), bool), "right": mean_N > 0, "wrong": mean_N <= 0}
    return {
        "members": [as_json(clustered_rate(_wins(one_N), prompts)) for one_N in members],
        "disagreement": {
            name: float(spread_N[some].mean()) if some.any() else None
            for name, some in every.items()
        },
        "split": as_json(clustered_rate(split_N, prompts)),
    }


def _wins(difference_N: Floats) -> Floats:
    """1 where the better answer has the higher score, a tie as half."""
    wins_N: Floats = (difference_N > 0) + 0.5 * (difference_N == 0)
    return wins_N


def _rate(values_N: Floats, own_N: np.ndarray[Any, Any], prompts: Prompts) -> dict[str, Any] | None:
    places = np.flatnonzero(own_N).tolist()
    if not places:
        return None
    return as_json(clustered_rate(values_N[places], [prompts[place] for place in places]))


def as_json(found: Interval) -> dict[str, Any]:
    """An interval as value, low, high, n."""
    return {"value": found.estimate, "low": found.low, "high": found.high, "n": found.n}
