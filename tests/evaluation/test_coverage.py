"""Do 95% intervals cover 95%? Run: pytest tests/evaluation/test_coverage.py [-m slow]

0/1 scores; the tasks' rates are Beta with the given mean and intra-cluster correlation; sizes are
equal (10 items), mild (5 to 20) or skewed (log-normal, a few large tasks). For differences the
correlation is that of each system's scores, and tuned is right 20 points more often than base.
"""

import numpy as np
import pytest

from regimen.evaluation.statistics import clustered_rate, paired_difference


def sizes(rng, clusters, kind):
    if kind == "equal":
        return np.full(clusters, 10)
    if kind == "mild":
        return rng.integers(5, 21, clusters)
    return np.maximum(1, np.round(np.exp(rng.normal(2.0, 0.8, clusters)))).astype(int)


def outcomes(rng, per_task, mean, correlation):
    strength = (1 - correlation) / correlation
    rates = rng.beta(mean * strength, (1 - mean) * strength, len(per_task))
    return (rng.random(per_task.sum()) < np.repeat(rates, per_task)).astype(float)


def paired_coverage(seed, *, clusters, kind, base, correlation, gain=0.2, repeats=400):
    """Share of intervals that hold the true difference, and share of verdicts by word."""
    rng = np.random.default_rng(seed)
    held, claims = 0, 0
    for _ in range(repeats):
        per_task = sizes(rng, clusters, kind)
        tasks = np.repeat(np.arange(clusters), per_task).astype(str).tolist()
        a = outcomes(rng, per_task, base + gain, correlation)
        b = outcomes(rng, per_task, base, correlation)
        paired = paired_difference(a, b, tasks, bounds=(-1, 1))
        held += paired.low <= gain <= paired.high
        claims += paired.verdict in ("better", "worse")
    return held / repeats, claims / repeats


def rate_coverage(seed, *, clusters, kind, mean, correlation, repeats=400):
    rng = np.random.default_rng(seed)
    held = 0
    for _ in range(repeats):
        per_task = sizes(rng, clusters, kind)
        tasks = np.repeat(np.arange(clusters), per_task).astype(str).tolist()
        interval = clustered_rate(outcomes(rng, per_task, mean, correlation), tasks)
        held += interval.low <= mean <= interval.high
    return held / repeats


@pytest.mark.parametrize("clusters", [10, 20, 60])
def test_differences_cover_quickly(clusters):
    # 400 repeats have a standard error of 1.1 points: 92 to 98% is what they can tell.
    held, _ = paired_coverage(clusters, clusters=clusters, kind="mild", base=0.3, correlation=0.2)
    assert 0.92 <= held <= 0.98


def test_items_taken_as_independent_would_not_cover():
    """The same data with every item its own cluster: the mistake that clustering repairs."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        per_task = sizes(rng, 20, "equal")
        scores = outcomes(rng, per_task, 0.4, 0.5)
        interval = clustered_rate(scores, [str(i) for i in range(len(scores))])
        held += interval.low <= 0.4 <= interval.high
    assert held / 200 < 0.8


@pytest.mark.simulation
@pytest.mark.parametrize("clusters", [10, 20, 60])
@pytest.mark.parametrize("kind", ["equal", "mild", "skewed"])
@pytest.mark.parametrize(("base", "correlation"), [(0.5, 0.05), (0.5, 0.2), (0.2, 0.2), (0.3, 0.5)])
def test_differences_cover_93_to_97_percent(clusters, kind, base, correlation):
    held, _ = paired_coverage(
        11, clusters=clusters, kind=kind, base=base, correlation=correlation, repeats=3000
    )
    assert 0.93 <= held <= 0.97


@pytest.mark.simulation
@pytest.mark.parametrize("clusters", [10, 20, 60])
@pytest.mark.parametrize("kind", ["equal", "mild", "skewed"])
@pytest.mark.parametrize(("mean", "correlation"), [(0.5, 0.05), (0.5, 0.2), (0.2, 0.2), (0.3, 0.3)])
def test_rates_cover_93_to_97_percent(clusters, kind, mean, correlation):
    held = rate_coverage(
        12, clusters=clusters, kind=kind, mean=mean, correlation=correlation, repeats=3000
    )
    assert 0.93 <= held <= 0.97


@pytest.mark.simulation
@pytest.mark.parametrize("clusters", [10, 20, 60])
def test_equal_systems_are_rarely_told_apart(clusters):
    _, claims = paired_coverage(
        13, clusters=clusters, kind="mild", base=0.4, correlation=0.2, gain=0.0, repeats=3000
    )
    assert claims <= 0.07
