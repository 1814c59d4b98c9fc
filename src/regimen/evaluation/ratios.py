"""Ratios of cluster totals with an error that knows about clusters.

Items of one task share its difficulty, so the task (the cluster) is what was sampled, not the
item. Every estimate is a ratio: the sum of the rows' totals over the sum of their sizes (a mean
of items has sizes of one, bits per byte has bytes). Its variance is the delete-one-cluster
jackknife: with e_g = T_g - estimate * M_g for cluster totals T and sizes M, and the share
h_g = M_g / sum M,

    variance = (G - 1) / G * sum_g (e_g / (1 - h_g))^2 / (sum M)^2

which for clusters of equal size is the linearised cluster-robust variance with the G / (G - 1)
correction, exactly, and for unequal ones does not understate the large clusters (the "CR3"
variance of MacKinnon, Nielsen and Webb 2023). It is studentised with t(G* - 1), where
G* = 1 / sum_g h_g^2 is the effective number of clusters (Kish; Carter, Schnepel and Steigerwald
2017); G* = G for clusters of equal size, so that the rule is t(G - 1) there. A closed form was
kept over a bootstrap because it reaches the coverage wanted and has no seed.

Samples without spread. When every cluster has the same mean the variance is 0, which says
nothing about clusters that were not seen. With a known range of the scores the interval is then
widened by what a share 1 - 0.025^(1/G) of unseen, most different clusters could do (the exact
binomial bound for 0 of G). Without a known range it has width 0, and no verdict rests on it.

Shape suffixes: N rows, G clusters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

Floats = npt.NDArray[np.float64]
Values = Sequence[float] | Floats

LEVEL = 0.95
# Differences of scores smaller than this share of the scores are rounding, not spread.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio estimate with its jackknife error; ``se`` and ``df`` are None for one cluster.

    ``flat`` says that every cluster has the same mean, up to rounding. ``tail_df`` is ``df``, or
    less where a few clusters carry most of the variance.
    """

    estimate: float
    n: int
    clusters: int
    se: float | None
    df: float | None
    flat: bool
    tail_df: float | None = None


def check_rows(
    values: Values, clusters: Sequence[str], sizes: Values | None
) -> tuple[Floats, Floats]:
    """Values and sizes as arrays, checked."""
    values_N = np.asarray(values, dtype=np.float64)
    sizes_N = np.ones_like(values_N) if sizes is None else np.asarray(sizes, dtype=np.float64)
    if values_N.ndim != 1 or not len(values_N) == len(clusters) == len(sizes_N):
        raise ValueError(
            f"one value, cluster and size per row: got shapes {values_N.shape}, "
            f"({len(clusters)},), {sizes_N.shape}"
        )
    if not len(values_N):
        raise ValueError("no rows to average")
    if not (np.isfinite(values_N).all() and np.isfinite(sizes_N).all()):
        raise ValueError("values and sizes must be finite")
    if sizes_N.min() <= 0:
        raise ValueError(f"sizes must be positive, got {sizes_N.min()}")
    return values_N, sizes_N


def largest(totals_N: Floats, sizes_N: Floats) -> float:
    """Size of the largest row mean: what rounding errors are relative to."""
    return float(np.abs(totals_N / sizes_N).max())


def cluster_index(clusters: Sequence[str]) -> npt.NDArray[np.int64]:
    """The cluster of each row as a number from 0, in the order of the clusters' names."""
    return np.unique(np.asarray(clusters, dtype=np.str_), return_inverse=True)[1]


def effective_df(share_G: Floats) -> float:
    """Degrees of freedom from the effective number of clusters of these shares, G* - 1.

    At least 1: a dominating cluster must not ask for the quantile of a t with 0 degrees.
    """
    return max(1.0, 1 / float((share_G**2).sum()) - 1)


def clustered_ratio(
    totals_N: Floats, sizes_N: Floats, clusters: Sequence[str], *, scale: float
) -> Ratio:
    """Sum of totals over sum of sizes, with the delete-one-cluster jackknife error.

    Args:
        totals_N, sizes_N: checked rows.
        clusters: the cluster of each row.
        scale: magnitude of the numbers the totals were made of; differences far below it are
            rounding.
    """
    index_N = cluster_index(clusters)
    totals_G = np.bincount(index_N, weights=totals_N)
    sizes_G = np.bincount(index_N, weights=sizes_N)
    estimate, count = float(totals_G.sum() / sizes_G.sum()), len(sizes_G)
    if count == 1:
        return Ratio(estimate=estimate, n=len(totals_N), clusters=1, se=None, df=None, flat=False)
    share_G = sizes_G / sizes_G.sum()
    means_G = totals_G / sizes_G
    flat = float(np.ptp(means_G)) <= ROUNDING * scale
    if flat and abs(estimate) <= ROUNDING * scale:
        estimate = 0.0
    pull_G = share_G * (means_G - estimate) / (1 - share_G)
    df = effective_df(share_G)
    return Ratio(
        estimate=estimate,
        n=len(totals_N),
        clusters=count,
        se=math.sqrt((count - 1) / count * float((pull_G**2).sum())),
        df=df,
        flat=flat,
        tail_df=df if flat else min(df, moment_df(pull_G)),
    )


def moment_df(pull_G: Floats) -> float:
    """Degrees of freedom of a variance by the fourth moment of what it is the mean of.

    The variance of G numbers with kurtosis k varies as that of a chi-square with 2 G / (k - 1)
    degrees (Shoemaker 2003, *Fixing the F test for equal variances*): G for a normal
    distribution, few where one cluster in ten has all of the spread. At least 3, because with few
    clusters the kurtosis itself is uncertain.
    """
    off_G = pull_G - pull_G.mean()
    variance = float((off_G**2).mean())
    if variance <= 0:
        return math.inf
    kurtosis = float((off_G**4).mean()) / variance**2
    return max(3.0, 2 * len(off_G) / (kurtosis - 1)) if kurtosis > 1 else math.inf


def t_interval(
    ratio: Ratio, bounds: tuple[float, float] | None
) -> tuple[float | None, float | None]:
    """Estimate plus or minus t times error, within the bounds; widened where spread is 0."""
    if ratio.se is None or ratio.df is None:
        return None, None
    estimate = ratio.estimate
    if ratio.flat:
        if bounds is None:
            return estimate, estimate
        share = unseen_share(ratio.clusters)
        return (
            estimate - share * (estimate - bounds[0]),
            estimate + share * (bounds[1] - estimate),
        )
    half = t_quantile((1 + LEVEL) / 2, ratio.df) * ratio.se
    low, high = estimate - half, estimate + half
    return (low, high) if bounds is None else (max(low, bounds[0]), min(high, bounds[1]))


def unseen_share(clusters: int) -> float:
    """Largest share of different clusters that 0 of ``clusters`` is compatible with (97.5%)."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / clusters))


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """Quantile of t; kept, because reports ask for the same few over and over."""
    return float(stats.t.ppf(probability, df))


def half_width(tasks: float, seeds: float, df: float, count: int) -> float:
    """Half of the 95% interval: sqrt(t(df)^2 tasks + t(count - 1)^2 seeds)."""
    square = t_quantile((1 + LEVEL) / 2, df) ** 2 * tasks
    if seeds > 0:
        square += t_quantile((1 + LEVEL) / 2, count - 1) ** 2 * seeds
    return math.sqrt(square)


def equal_df(tasks: float, seeds: float, df: float, count: int) -> float:
    """Degrees of freedom of the one t that is as wide as the interval over tasks and seeds."""
    if seeds == 0 or df == count - 1:
        return df
    quantile = half_width(tasks, seeds, df, count) / math.sqrt(tasks + seeds)
    low, high = sorted((df, float(count - 1)))
    if not t_quantile((1 + LEVEL) / 2, high) < quantile < t_quantile((1 + LEVEL) / 2, low):
        return low if quantile >= t_quantile((1 + LEVEL) / 2, low) else high

    def gap(some: float) -> float:
        return t_quantile((1 + LEVEL) / 2, some) - quantile

    return float(optimize.brentq(gap, low, high))
