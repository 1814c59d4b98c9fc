"""Clustered statistics for scores of items: intervals, paired verdicts, power, McNemar.

The estimator and its error are in :mod:`regimen.evaluation.ratios`. A claim of "better" is the
paired difference's 95% interval, clustered by task, excluding 0; under 10 clusters the verdict is
"no evidence".

Coverage of the 95% intervals over 3,000 simulations each, with 0/1 scores, intra-cluster
correlations of 0.05 to 0.5, 10, 20 and 60 clusters of equal, mildly unequal and skewed sizes
(``tests/evaluation/test_coverage.py``): paired differences 93.9 to 96.2%, single rates of 20 to
50% 93.7 to 95.9%; two equal systems are told apart in 4.5 to 5.4% of the cases. Known limit: at
rates of 2 to 5% (or 95 to 98%) with an intra-cluster correlation of 0.3 most clusters look alike,
and the interval of a single rate covers 92.6 to 98.7% (88 to 98% before its degrees of freedom
followed the fourth moment); differences still cover 93.5% or more there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scipy import optimize, stats

from regimen.evaluation.ratios import (
    LEVEL,
    Ratio,
    Values,
    check_rows,
    clustered_ratio,
    largest,
    t_interval,
    t_quantile,
)

Verdict = Literal["better", "worse", "no difference shown", "no evidence"]

MIN_CLUSTERS = 10
POWER = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95% interval; ``low`` and ``high`` are None with a single cluster.

    ``se`` is the clustered standard error and ``df`` the degrees of freedom of its t.
    """

    estimate: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    se: float | None = None
    df: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A difference between two systems on the same items, and what may be said about it.

    ``resolvable`` is the smallest true difference that this design finds with 80% power; ``p``
    is the two-sided p-value (for corrections over many comparisons), None with a single cluster
    and where there is no spread and no known range. ``seeds`` is the number of training seeds
    behind the answers: with one, the interval covers other tasks and items, not other training
    runs (:mod:`regimen.evaluation.seeds` covers both).
    """

    difference: float
    low: float | None
    high: float | None
    verdict: Verdict
    n: int
    clusters: int
    seeds: int
    resolvable: float | None
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class McNemar:
    """Exact and mid-p values of "as many items regressed as were fixed".

    They take items as independent, so with several items per task they are descriptive; the
    verdict comes from the clustered interval.
    """

    regressed: int
    fixed: int
    exact: float
    mid_p: float


def clustered_mean(
    values: Values,
    clusters: Sequence[str],
    *,
    sizes: Values | None = None,
    bounds: tuple[float, float] | None = None,
) -> Interval:
    """Mean of the rows (or sum of ``values`` over sum of ``sizes``) with its clustered interval.

    Args:
        values: one number per row; totals when ``sizes`` is given.
        clusters: the cluster of each row.
        sizes: positive sizes of the rows, one each by default.
        bounds: the range a cluster's mean can have; the interval is kept within it, and it
            decides what a sample without spread may claim.

    Raises:
        ValueError: no rows, lengths that differ, numbers that are not finite, sizes not positive.
    """
    totals_N, sizes_N = check_rows(values, clusters, sizes)
    ratio = clustered_ratio(totals_N, sizes_N, clusters, scale=largest(totals_N, sizes_N))
    low, high = t_interval(ratio, bounds)
    return _interval(ratio, low, high)


def clustered_rate(values: Values, clusters: Sequence[str]) -> Interval:
    """Mean of scores in 0..1 with a clustered interval that stays within 0..1.

    Wilson's interval with the effective number of items p (1 - p) / variance and the quantile of
    t (Dean and Pagano 2015 compare such intervals for clustered rates). Near 0 and 1 it covers
    far better than estimate plus or minus t times error: 97% instead of 82% at a rate of 5%,
    10 clusters of 5 to 20 items and an intra-cluster correlation of 0.3. The degrees of freedom
    are those of :func:`~regimen.evaluation.ratios.moment_df` where these are fewer: a rare score
    is found in a few clusters only, and their spread says little about the next.

    Raises:
        ValueError: as :func:`clustered_mean`, and for values outside 0..1.
    """
    totals_N, sizes_N = check_rows(values, clusters, None)
    if totals_N.min() < 0 or totals_N.max() > 1:
        raise ValueError(f"a rate needs values in 0..1, got {totals_N.min()}..{totals_N.max()}")
    ratio = clustered_ratio(totals_N, sizes_N, clusters, scale=1.0)
    rate = ratio.estimate
    if ratio.se is None or ratio.tail_df is None or ratio.flat or not 0 < rate < 1:
        return _interval(ratio, *t_interval(ratio, (0.0, 1.0)))
    pull = t_quantile((1 + LEVEL) / 2, ratio.tail_df) ** 2 * ratio.se**2 / (rate * (1 - rate))
    ratio = replace(ratio, df=ratio.tail_df)
    centre = (rate + pull / 2) / (1 + pull)
    half = math.sqrt(pull * rate * (1 - rate) + pull**2 / 4) / (1 + pull)
    return _interval(ratio, max(0.0, centre - half), min(1.0, centre + half))


def paired_difference(
    a: Values,
    b: Values,
    clusters: Sequence[str],
    *,
    sizes: Values | None = None,
    bounds: tuple[float, float] | None = None,
    lower_is_better: bool = False,
    seeds: int = 1,
) -> Paired:
    """Difference a - b of two systems on the same rows, with interval and verdict.

    Args:
        a, b: one number per row; totals when ``sizes`` is given.
        clusters: the cluster of each row.
        sizes: positive sizes of the rows, one each by default.
        bounds: the range of the difference, (-1, 1) for scores in 0..1.
        lower_is_better: a negative difference is "better" (losses, harmful compliance).
        seeds: training seeds behind the answers; recorded, not used.

    Raises:
        ValueError: as :func:`clustered_mean`.
    """
    a_N, sizes_N = check_rows(a, clusters, sizes)
    b_N, _ = check_rows(b, clusters, sizes)
    scale = max(largest(a_N, sizes_N), largest(b_N, sizes_N))
    ratio = clustered_ratio(a_N - b_N, sizes_N, clusters, scale=scale)
    low, high = t_interval(ratio, bounds)
    resolvable = None
    if low is not None and high is not None and ratio.flat:
        resolvable = max(high - ratio.estimate, ratio.estimate - low)
    elif ratio.se is not None and ratio.df is not None:
        resolvable = resolvable_difference(ratio.se, ratio.df)
    return Paired(
        difference=ratio.estimate,
        low=low,
        high=high,
        verdict=verdict(low, high, ratio.clusters, lower_is_better=lower_is_better),
        n=ratio.n,
        clusters=ratio.clusters,
        seeds=seeds,
        resolvable=resolvable,
        p=p_value(ratio, bounds),
    )


def p_value(ratio: Ratio, bounds: tuple[float, float] | None) -> float | None:
    """Two-sided p of "the true value is 0", the level at which the interval would end there.

    Where every cluster has the same mean d within known bounds it is 2 (1 - s)^G with s the share
    of unseen, most different clusters that would bring d to 0; without bounds there is none.
    """
    if ratio.se is None or ratio.df is None:
        return None
    if not ratio.flat:
        return float(2 * stats.t.sf(abs(ratio.estimate) / ratio.se, ratio.df))
    if bounds is None:
        return None
    if ratio.estimate == 0:
        return 1.0
    far = bounds[0] if ratio.estimate > 0 else bounds[1]
    share = min(1.0, ratio.estimate / (ratio.estimate - far))
    return min(1.0, 2 * (1 - share) ** ratio.clusters)


def verdict(
    low: float | None, high: float | None, clusters: int, *, lower_is_better: bool = False
) -> Verdict:
    """What a paired 95% interval allows to be said.

    Under 10 clusters, without an interval, or with an interval of width 0 away from 0 it is "no
    evidence"; otherwise "better" or "worse" where the interval excludes 0.
    """
    if low is None or high is None or clusters < MIN_CLUSTERS or low == high != 0:
        return "no evidence"
    if low <= 0 <= high:
        return "no difference shown"
    return "better" if (low > 0) != lower_is_better else "worse"


def resolvable_difference(se: float, df: float, *, power: float = POWER) -> float:
    """Smallest true difference whose 95% interval excludes 0 with probability ``power``.

    (t_0.975 + t_power) * se with ``df`` degrees of freedom: the usual closed form; within 1% of
    the solution with the noncentral t from 9 degrees of freedom on.
    """
    return (t_quantile((1 + LEVEL) / 2, df) + t_quantile(power, df)) * se


def noncentral_difference(error: float, df: float, *, power: float = POWER) -> float:
    """Smallest true difference of an estimate with this error whose 95% interval excludes 0.

    The noncentrality at which a t with ``df`` degrees lies beyond its own 97.5% quantile with
    probability ``power``, times the error.
    """
    if not 0.025 < power < 1:
        raise ValueError(f"a power is above 0.025 and below 1, got {power}")
    if error == 0:
        return 0.0
    top = 2 * (t_quantile((1 + LEVEL) / 2, df) + t_quantile(power, df))

    def gap(shift: float) -> float:
        return noncentral_power(shift, df) - power

    return error * float(optimize.brentq(gap, 0.0, top))


def noncentral_power(shift: float, df: float) -> float:
    """Probability that a t with ``df`` degrees and this noncentrality is beyond its 97.5%."""
    return float(stats.nct.sf(t_quantile((1 + LEVEL) / 2, df), df, shift))


def mcnemar(regressed: int, fixed: int) -> McNemar:
    """McNemar's test on the items that changed between right and wrong.

    Exact: twice the smaller tail of Binomial(regressed + fixed, 1/2). Mid-p: half of the observed
    point's probability less per tail (Fagerland, Lydersen and Laake 2013), which keeps the level
    with more power. Both are 1 when no item changed.
    """
    if regressed < 0 or fixed < 0:
        raise ValueError(f"counts cannot be negative, got {regressed} and {fixed}")
    changed = regressed + fixed
    if changed == 0:
        return McNemar(regressed=0, fixed=0, exact=1.0, mid_p=1.0)
    fewer = min(regressed, fixed)
    tail = float(stats.binom.cdf(fewer, changed, 0.5))
    point = float(stats.binom.pmf(fewer, changed, 0.5))
    mid_p = 1 - point / 2 if regressed == fixed else 2 * tail - point
    return McNemar(regressed=regressed, fixed=fixed, exact=min(1.0, 2 * tail), mid_p=mid_p)


def _interval(ratio: Ratio, low: float | None, high: float | None) -> Interval:
    """The public record of a ratio and its interval."""
    return Interval(
        estimate=ratio.estimate,
        low=low,
        high=high,
        n=ratio.n,
        clusters=ratio.clusters,
        se=ratio.se,
        df=ratio.df,
    )
