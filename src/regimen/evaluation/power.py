"""What a design can find: the smallest resolvable difference, and the tasks that one needs.

A difference between two systems on one item has the variance of its task, of the item within the
task, of the training seed and of task and seed together. With G tasks of m items and S seeds the
mean over all has the variance (Snijders and Bosker 1993)

    task / G + item / (G m) + (task x seed) / (G S)   and   seed / S

which are the two parts that :mod:`regimen.evaluation.seeds` estimates. The power is the noncentral
t's, with the degrees of freedom that make one t as wide as the interval that will be computed.
Items are the same under every seed, so more seeds do not average them away.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from regimen.evaluation.ratios import cluster_index, equal_df
from regimen.evaluation.seeds import score_table, variance_parts
from regimen.evaluation.statistics import (
    MIN_CLUSTERS,
    POWER,
    noncentral_difference,
    noncentral_power,
)

MOST_CLUSTERS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Variances:
    """Variances of one item's paired difference: task, item, training seed, task with seed."""

    task: float
    item: float
    seed: float = 0.0
    task_seed: float = 0.0

    def __post_init__(self) -> None:
        parts = (self.task, self.item, self.seed, self.task_seed)
        if not all(math.isfinite(part) and part >= 0 for part in parts):
            raise ValueError(f"variances must be finite and 0 or more, got {parts}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How much will be measured: tasks, items of each, training seeds."""

    clusters: int
    items: float = 1.0
    seeds: int = 1

    def __post_init__(self) -> None:
        if self.clusters < 2 or self.items < 1 or self.seeds < 1:
            raise ValueError(f"a design takes 2 tasks, 1 item and 1 seed or more, got {self}")


def variances_of(sd: float, correlation: float, *, seed_sd: float = 0.0) -> Variances:
    """Variances from the item differences' standard deviation and intra-cluster correlation.

    Args:
        sd: of the differences of single items (0..1 scores: about 0.5 to 0.7).
        correlation: share of their variance that lies between tasks, 0..1.
        seed_sd: standard deviation of the whole difference between training seeds.
    """
    if not 0 <= correlation <= 1:
        raise ValueError(f"a correlation within tasks is in 0..1, got {correlation}")
    return Variances(task=correlation * sd**2, item=(1 - correlation) * sd**2, seed=seed_sd**2)


def pilot_variances(differences: ArrayLike, clusters: Sequence[str]) -> Variances:
    """Variances of the differences of a pilot, by the two analyses of variance.

    Task and item come from the one-way analysis of the mean over seeds (tasks may have different
    numbers of items), seed and task with seed from the crossed one; a negative estimate is 0. The
    last holds the noise of the pilot's own number of items of a task.

    Args:
        differences: S x N paired differences, a row per training seed, or N of one seed, whose
            part of the seeds is then 0 because it is not known.
        clusters: the task of each item; two or more, one of them with two items or more.

    Raises:
        ValueError: as :func:`~regimen.evaluation.seeds.seeded_mean`; too few tasks or items.
    """
    scores_SN = score_table(differences, clusters)
    parts = variance_parts(scores_SN, clusters)
    mean_N = scores_SN.mean(axis=0)
    index_N = cluster_index(clusters)
    sizes_G = np.bincount(index_N)
    groups, rows = len(sizes_G), len(mean_N)
    if groups < 2 or rows == groups:
        raise ValueError(f"a pilot takes 2 tasks and a task of 2 items, got {groups} and {rows}")
    means_G = np.bincount(index_N, weights=mean_N) / sizes_G
    item = float(((mean_N - means_G[index_N]) ** 2).sum()) / (rows - groups)
    between = float((sizes_G * (means_G - mean_N.mean()) ** 2).sum()) / (groups - 1)
    typical = (rows - float((sizes_G**2).sum()) / rows) / (groups - 1)
    seeds = len(scores_SN)
    task_seed = parts.noise * groups * seeds
    return Variances(
        task=max(0.0, (between - item) / typical - task_seed / seeds),
        item=item,
        seed=parts.seeds * seeds,
        task_seed=task_seed,
    )


def error_parts(variances: Variances, design: Design) -> tuple[float, float]:
    """Variances of the mean difference: over tasks, and over training seeds."""
    tasks = variances.task + variances.item / design.items + variances.task_seed / design.seeds
    return tasks / design.clusters, variances.seed / design.seeds


def smallest_difference(variances: Variances, design: Design, *, power: float = POWER) -> float:
    """Smallest true difference that a design finds with probability ``power``.

    With one seed the seeds' variance is not part of it: the interval does not cover seeds.
    """
    error, df = _error(variances, design)
    return noncentral_difference(error, df, power=power)


def power_of(variances: Variances, design: Design, difference: float) -> float:
    """Probability that the 95% interval excludes 0 on the right side."""
    error, df = _error(variances, design)
    if error == 0:
        return 1.0 if difference else 0.0
    return noncentral_power(abs(difference) / error, df)


def clusters_needed(
    variances: Variances,
    difference: float,
    *,
    items: float = 1.0,
    seeds: int = 1,
    power: float = POWER,
) -> int | None:
    """Fewest tasks, 10 or more, with which a difference is found with probability ``power``.

    Returns:
        None where no number of tasks is enough, because the training seeds alone hide it: more
        seeds are needed then.

    Raises:
        ValueError: a difference of 0.
    """
    if difference == 0:
        raise ValueError("no number of tasks finds a difference of 0")

    def enough(clusters: int) -> bool:
        design = Design(clusters=clusters, items=items, seeds=seeds)
        return power_of(variances, design, difference) >= power

    if enough(MIN_CLUSTERS):
        return MIN_CLUSTERS
    low, high = MIN_CLUSTERS, 2 * MIN_CLUSTERS
    while not enough(high):
        if high > MOST_CLUSTERS:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _error(variances: Variances, design: Design) -> tuple[float, float]:
    """Standard error, and the degrees of the t that is as wide as the interval."""
    tasks, seeds = error_parts(variances, design)
    df = float(design.clusters - 1)
    if design.seeds == 1 or seeds == 0:
        return math.sqrt(tasks), df
    return math.sqrt(tasks + seeds), equal_df(tasks, seeds, df, design.seeds)
