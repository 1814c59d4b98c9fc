"""Calibration: does a probability of 0.7 mean right in 7 of 10 cases?

Of choices: their probabilities are the softmax of their log-probabilities, and an item's confidence
is that of its likeliest choice. Measured are

``brier``        sum over choices of (p - y)^2, 0 to 2 (Brier 1950), the right choices as one
``nll``          -log p(right), nats
``ece``          expected calibration error, sum_b n_b / n |confidence_b - accuracy_b| (Naeini et
                 al. 2015), over bins of equal mass (Nguyen and O'Connor 2015, arXiv 1508.05154)
``rms``          root of the mean squared gap, debiased (Kumar et al. 2019, arXiv 1909.10155)

The plain error is never 0: noise has no sign once it is in |.|, so a perfectly calibrated model
shows an error that only shrinks with n (also Roelofs et al. 2022, arXiv 2012.08668). The squared
gap of a bin exceeds the true one by its variance, which can be taken off: sum_b p_b (gap_b^2 -
V_bb) is unbiased. Here V is the covariance of the gaps over clusters, so that tasks that are
right or wrong together do not look like miscalibration. Its interval is that of a quadratic form
in gaps with covariance V, variance 2 tr(PVPV) + 4 gap' PVP gap, with t of the effective number of
clusters. Over 60 simulations of 200 draws each (12 and 40 clusters, 200 to 3,000 items, true errors
of 0 to 0.2, with and without correlation in clusters) it covers 83 to 100%, 95% in the median.

Of generated answers: confidence is exp(mean log-probability of the answer's tokens), and the area
under the ROC curve says how well it tells right answers from wrong ones.

Intervals are clustered by task (:mod:`regimen.evaluation.statistics`).

Shape suffixes: N items, B bins, G clusters, C choices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from regimen.evaluation.ratios import (
    LEVEL,
    Floats,
    Values,
    cluster_index,
    effective_df,
    t_quantile,
)
from regimen.evaluation.statistics import Interval, clustered_mean, clustered_rate

BINS = 15
ITEMS_PER_BIN = 10
"""Fewer make a bin's accuracy say nothing; small samples get fewer bins."""

TEMPERATURES = (0.02, 50.0)
"""The range that is searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graded:
    """The scores of an item's choices (nats) and which of them are right."""

    score_C: Floats
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A row of the reliability table: items, mean confidence, accuracy with its interval."""

    items: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationError:
    """The plain expected calibration error, and the debiased root of the mean squared gap with its
    interval; ``low`` and ``high`` are None with a single cluster."""

    ece: float
    rms: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """Temperature that minimises the mean negative log-likelihood of ``items`` items.

    ``at_bound``: the minimum lies beyond the range that was searched.
    """

    value: float
    items: int
    at_bound: bool


def probabilities(score_C: Floats, temperature: float = 1.0) -> Floats:
    """Softmax of the scores over the temperature: the probabilities of the choices."""
    found: Floats = special.softmax(np.asarray(score_C, dtype=np.float64) / temperature)
    return found


def brier(p_C: Floats, right: Sequence[bool]) -> float:
    """Sum over choices of (p - y)^2, the right ones taken together (Brier 1950), 0 to 2."""
    right_C = np.asarray(right)
    return float((1 - p_C[right_C].sum()) ** 2 + (p_C[~right_C] ** 2).sum())


def nll(one: Graded, temperature: float = 1.0) -> float:
    """-log of the probability of the right choices, nats."""
    scaled_C = one.score_C / temperature
    right_C = np.asarray(one.right)
    return float(special.logsumexp(scaled_C) - special.logsumexp(scaled_C[right_C]))


def fit_temperature(items: Sequence[Graded]) -> Temperature | None:
    """The temperature that minimises the mean NLL (Guo et al. 2017, arXiv 1706.04599); None
    without items.

    Fit it on validation items and use it on others: on its own items it flatters.
    """
    if not items:
        return None
    width = max(len(one.right) for one in items)
    score_NC = np.full((len(items), width), -np.inf)
    right_NC = np.zeros((len(items), width), dtype=bool)
    for n, one in enumerate(items):
        score_NC[n, : len(one.right)], right_NC[n, : len(one.right)] = one.score_C, one.right

    def loss(log_t: float) -> float:
        scaled_NC = score_NC / math.exp(log_t)
        right_N = special.logsumexp(np.where(right_NC, scaled_NC, -np.inf), axis=1)
        return float((special.logsumexp(scaled_NC, axis=1) - right_N).mean())

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    found = optimize.minimize_scalar(loss, bounds=bounds, method="bounded")
    at_bound = bool(min(map(loss, bounds)) <= found.fun)
    return Temperature(value=float(np.exp(found.x)), items=len(items), at_bound=at_bound)


def bins_of(confidence_N: Floats, bins: int = BINS) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The bin of each item: of about equal mass, equal confidences in one bin.

    At most ``bins``, and fewer where they would hold under ``ITEMS_PER_BIN`` items each.
    """
    count = max(1, min(bins, len(confidence_N) // ITEMS_PER_BIN))
    edges = np.quantile(confidence_N, np.arange(1, count) / count, method="higher")
    return np.unique(np.searchsorted(edges, confidence_N, side="right"), return_inverse=True)[1]


def calibration_error(
    confidence: Values, correct: Values, clusters: Sequence[str], *, bins: int = BINS
) -> CalibrationError:
    """How far confidence and accuracy are apart over bins of equal mass.

    Args:
        confidence, correct: in 0..1, one per item; a tie may be correct in part.
        clusters: the cluster of each item; with one in all, items count as independent and there
            is no interval.
        bins: at most so many.

    Raises:
        ValueError: no items, or numbers outside 0..1.
    """
    confidence_N, correct_N = _shares(confidence), _shares(correct)
    bin_N = bins_of(confidence_N, bins)
    gap_N = confidence_N - correct_N
    size_B = np.bincount(bin_N)
    gap_B = np.bincount(bin_N, gap_N) / size_B
    share_B = size_B / len(gap_N)
    cluster_N = cluster_index(clusters)
    single = bool(cluster_N.max() == 0)
    unit_N = np.arange(len(gap_N)) if single else cluster_N
    # scaled by the root of the shares, the form is the squared length of one vector
    pull_GB = np.zeros((int(unit_N.max()) + 1, len(size_B)))
    np.add.at(pull_GB, (unit_N, bin_N), ((gap_N - gap_B[bin_N]) / size_B[bin_N]))
    pull_GB *= np.sqrt(share_B)
    scaled_B = np.sqrt(share_B) * gap_B
    groups = len(pull_GB)
    spread_BB = pull_GB.T @ pull_GB * (groups / max(groups - 1, 1))
    squared = float(scaled_B @ scaled_B - np.trace(spread_BB))
    noise = float((spread_BB**2).sum())
    variance = 2 * noise + 4 * max(float(scaled_B @ spread_BB @ scaled_B) - noise, 0.0)
    weight_G = np.bincount(unit_N) / len(gap_N)
    half = t_quantile((1 + LEVEL) / 2, effective_df(weight_G)) * math.sqrt(variance)
    low, root, high = (
        math.sqrt(min(1.0, max(0.0, value))) for value in (squared - half, squared, squared + half)
    )
    return CalibrationError(
        ece=float(share_B @ np.abs(gap_B)),
        rms=root,
        low=None if single else low,
        high=None if single else high,
    )


def reliability(
    confidence: Values, correct: Values, clusters: Sequence[str], *, bins: int = BINS
) -> list[Bin]:
    """The reliability table, least confident first (DeGroot and Fienberg 1983)."""
    confidence_N, correct_N = _shares(confidence), _shares(correct)
    bin_N = bins_of(confidence_N, bins)
    return [
        Bin(
            items=int((bin_N == number).sum()),
            confidence=float(confidence_N[bin_N == number].mean()),
            accuracy=clustered_rate(
                correct_N[bin_N == number],
                [name for name, own in zip(clusters, bin_N, strict=True) if own == number],
            ),
        )
        for number in range(int(bin_N.max()) + 1)
    ]


def auroc(confidence: Values, correct: Sequence[bool], clusters: Sequence[str]) -> Interval | None:
    """Chance that a right answer has more confidence than a wrong one, ties as half.

    The interval is that of the structural components (DeLong et al. 1988) summed by cluster
    (Obuchowski 1997). None where all answers are right, or all are wrong.
    """
    confidence_N, right_N = np.asarray(confidence, dtype=np.float64), np.asarray(correct, bool)
    wins, losses = confidence_N[right_N], confidence_N[~right_N]
    if not len(wins) or not len(losses):
        return None
    place_N = np.empty_like(confidence_N)
    place_N[right_N] = _below(losses, wins)
    place_N[~right_N] = 1 - _below(wins, losses)
    area = float(place_N[right_N].mean())
    share = len(wins) / len(confidence_N)
    weight_N = np.where(right_N, share, 1 - share)
    found = clustered_mean(area + (place_N - area) / weight_N, clusters)
    return replace(
        found,
        estimate=area,
        low=None if found.low is None else max(0.0, found.low),
        high=None if found.high is None else min(1.0, found.high),
    )


def _below(values: Floats, at: Floats) -> Floats:
    """Share of ``values`` below each of ``at``, equal ones as half."""
    ordered = np.sort(values)
    both = np.searchsorted(ordered, at, "left") + np.searchsorted(ordered, at, "right")
    share: Floats = both / (2 * len(values))
    return share


def answer_confidence(logp: float, tokens: int) -> float:
    """exp(mean log-probability of an answer's tokens), 0..1.

    Args:
        logp: their sum, nats.
        tokens: how many they are, with the one that ended the answer.
    """
    return min(1.0, math.exp(logp / max(tokens, 1)))


def _shares(values: Values) -> Floats:
    values_N = np.asarray(values, dtype=np.float64)
    if not len(values_N) or not ((values_N >= 0) & (values_N <= 1)).all():
        raise ValueError("one number in 0..1 per item, and one item or more")
    return values_N
