"""The delete-one-cluster jackknife of any estimate, for what is no ratio of sums.

For a ratio of sums it gives the error of :mod:`regimen.evaluation.ratios` exactly:

    variance = (G - 1) / G * sum_g (estimate without g - estimate)^2

studentised with the same effective number of clusters. Many clusters are first put into groups, by
turns in the order of their names, so that no more than ``MOST_GROUPS`` estimates are made; a group
of whole clusters is still a valid unit to delete.

Shape suffixes: N rows, G clusters or groups of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from regimen.evaluation.ratios import LEVEL, cluster_index, effective_df, t_quantile
from regimen.evaluation.statistics import Interval

MOST_GROUPS = 200
Rows = npt.NDArray[np.int64]
Estimates = npt.NDArray[np.float64]


def jackknife(
    estimator: Callable[[Rows], float],
    clusters: Sequence[str],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    show: Callable[[float], float] = float,
) -> Interval:
    """An estimate with its clustered 95% interval.

    Args:
        estimator: of the rows with the given positions; NaN where it is not defined.
        clusters: the cluster of each row.
        bounds: the range of what is shown.
        show: a growing function from the scale on which the interval is symmetric, such as the
            inverse of the logit. ``se`` stays on the estimator's scale.

    Returns:
        The interval; without bounds for one cluster, or where leaving out a cluster leaves an
        estimate that is not defined.
    """
    (found,) = jackknife_all(
        lambda rows: np.asarray([estimator(rows)]), clusters, bounds=bounds, show=show
    )
    return found


def jackknife_all(
    estimator: Callable[[Rows], Estimates],
    clusters: Sequence[str],
    *,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    show: Callable[[float], float] = float,
) -> tuple[Interval, ...]:
    """As :func:`jackknife` for several estimates that are made together."""
    estimates, without, share_G = _deleted(estimator, clusters)
    found = []
    for place, estimate in enumerate(map(float, estimates)):
        se, df = _error(without[:, place], estimate, share_G)
        low = high = None
        if se is not None and df is not None:
            half = t_quantile((1 + LEVEL) / 2, df) * se
            low, high = (_within(show(x), bounds) for x in (estimate - half, estimate + half))
        found.append(
            Interval(
                estimate=_within(show(estimate), bounds),
                low=low,
                high=high,
                n=len(clusters),
                clusters=len(set(clusters)),
                se=se,
                df=df,
            )
        )
    return tuple(found)


def _deleted(
    estimator: Callable[[Rows], Estimates], clusters: Sequence[str]
) -> tuple[Estimates, Estimates, Estimates]:
    """The estimates from all rows, and without each group; the groups' shares of the rows."""
    if not len(clusters):
        raise ValueError("no rows to estimate from")
    index_N = cluster_index(clusters) % MOST_GROUPS
    every = np.arange(len(clusters), dtype=np.int64)
    groups = int(index_N.max()) + 1
    without = [estimator(every[index_N != g]) for g in range(groups)] if groups > 1 else []
    share_G = np.bincount(index_N) / len(index_N)
    estimates = np.asarray(estimator(every), dtype=np.float64)
    return estimates, np.asarray(without).reshape(len(without), len(estimates)), share_G


def _error(
    without_G: Estimates, estimate: float, share_G: Estimates
) -> tuple[float | None, float | None]:
    """Standard error and degrees of freedom; None where they cannot be had."""
    count = len(without_G)
    if count < 2 or not (np.isfinite(without_G).all() and math.isfinite(estimate)):
        return None, None
    variance = (count - 1) / count * float(((without_G - estimate) ** 2).sum())
    return math.sqrt(variance), effective_df(share_G)


def _within(value: Any, bounds: tuple[float, float]) -> float:
    return float(min(max(value, bounds[0]), bounds[1]))
