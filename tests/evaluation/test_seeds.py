"""Tasks and training seeds. Run: pytest tests/evaluation/test_seeds.py [-m slow]"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ndtr

from regimen.evaluation.ratios import Ratio, equal_df, half_width, t_quantile
from regimen.evaluation.seeds import (
    Parts,
    seeded_difference,
    seeded_mean,
    seeded_p,
    variance_parts,
)
from regimen.evaluation.statistics import clustered_mean, paired_difference


def crossed(rng, *, clusters, seeds, kind="mild", seed_variance=0.05, gain=None):
    """0/1 scores of S seeds on N items by a probit of task, seed and task-with-seed effects.

    Returns the table (with ``gain`` a base's row too), the tasks and the true mean or difference.
    """
    if kind == "equal":
        sizes = np.full(clusters, 10)
    elif kind == "mild":
        sizes = rng.integers(5, 21, clusters)
    else:
        sizes = np.maximum(1, np.round(np.exp(rng.normal(2.0, 0.8, clusters)))).astype(int)
    index = np.repeat(np.arange(clusters), sizes)
    task = rng.normal(0, 0.3**0.5, clusters)[index]
    own = rng.normal(0, 0.15**0.5, clusters)[index]
    seed = rng.normal(0, seed_variance**0.5, (seeds, 1))
    both = rng.normal(0, 0.1**0.5, (seeds, clusters))[:, index]
    level = -0.3 if gain is None else -0.5 + gain
    chance = ndtr(level + task + own + seed + both)
    scores = (rng.random(chance.shape) < chance).astype(float)
    true = ndtr(level / math.sqrt(1.55 + seed_variance))
    names = index.astype(str).tolist()
    if gain is None:
        return scores, names, true
    base = (rng.random(len(index)) < ndtr(-0.5 + task)).astype(float)
    return scores, base, names, true - ndtr(-0.5 / math.sqrt(1.3))


def coverage(seed, repeats, **design):
    """Shares of intervals that hold the truth: over tasks and seeds, and over tasks only."""
    rng = np.random.default_rng(seed)
    held, tasks_only = 0, 0
    for _ in range(repeats):
        if "gain" in design:
            scores, base, names, true = crossed(rng, **design)
            found = seeded_difference(scores, base, names, bounds=(-1, 1)).paired
            alone = paired_difference(scores.mean(axis=0), base, names, bounds=(-1, 1))
        else:
            scores, names, true = crossed(rng, **design)
            found = seeded_mean(scores, names, bounds=(0, 1)).interval
            alone = clustered_mean(scores.mean(axis=0), names, bounds=(0, 1))
        held += found.low <= true <= found.high
        tasks_only += alone.low <= true <= alone.high
    return held / repeats, tasks_only / repeats


@pytest.mark.parametrize("clusters", [10, 20, 60])
def test_intervals_over_tasks_and_seeds_cover_quickly(clusters):
    # 250 repeats have a standard error of 1.4 points.
    held, tasks_only = coverage(clusters, 250, clusters=clusters, seeds=3, seed_variance=0.15)
    assert 0.915 <= held <= 0.985
    assert tasks_only < held - 0.05


@pytest.mark.simulation
@pytest.mark.parametrize("clusters", [10, 20, 60])
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("kind", ["equal", "mild", "skewed"])
@pytest.mark.parametrize("seed_variance", [0.0, 0.01, 0.05, 0.15])
@pytest.mark.parametrize("more", [{}, {"gain": 0.7}], ids=["mean", "difference"])
def test_intervals_over_tasks_and_seeds_cover_93_to_97_percent(
    clusters, seeds, kind, seed_variance, more
):
    design = {"clusters": clusters, "seeds": seeds, "kind": kind, "seed_variance": seed_variance}
    held, _ = coverage(17, 2000, **design, **more)
    # 2,000 repeats have a standard error of 0.5 points.
    assert 0.93 <= held <= 0.975


def test_parts_are_the_mean_squares_of_the_crossed_analysis():
    rng = np.random.default_rng(3)
    groups, seeds, items = 7, 4, 5
    cells = rng.normal(0, 1, (seeds, groups))
    names = [f"t{g}" for g in range(groups) for _ in range(items)]
    scores = np.repeat(cells, items, axis=1)
    parts = variance_parts(scores, names)
    by_seed, by_task, mean = cells.mean(axis=1), cells.mean(axis=0), cells.mean()
    rest = cells - by_seed[:, None] - by_task + mean
    square = seeds * ((by_task - mean) ** 2).sum() / (groups - 1)
    square_seeds = groups * ((by_seed - mean) ** 2).sum() / (seeds - 1)
    square_rest = (rest**2).sum() / ((groups - 1) * (seeds - 1))
    whole = groups * seeds
    assert parts.tasks == pytest.approx(square / whole)
    assert parts.noise == pytest.approx(square_rest / whole)
    assert parts.seeds == pytest.approx(max(0.0, (square_seeds - square_rest) / whole))


def test_one_seed_covers_tasks_only_and_equals_the_paired_interval():
    rng = np.random.default_rng(1)
    a, b = rng.random(60), rng.random(60)
    names = [str(i % 12) for i in range(60)]
    one = seeded_difference(a, b, names, bounds=(-1, 1))
    plain = paired_difference(a, b, names, bounds=(-1, 1))
    assert one.covers == "tasks"
    assert (one.paired.low, one.paired.high) == pytest.approx((plain.low, plain.high))
    assert (one.paired.p, one.paired.verdict) == (pytest.approx(plain.p), plain.verdict)
    assert one.paired.resolvable == pytest.approx(plain.resolvable, rel=0.01)
    assert (one.spread.sd, one.spread.seed_share) == (None, None)
    assert seeded_mean(a, names).covers == "tasks"


def test_seeds_that_agree_add_nothing_and_seeds_that_differ_widen():
    rng = np.random.default_rng(2)
    row, names = rng.random(120), [str(i % 20) for i in range(120)]
    alone = clustered_mean(row, names)
    agree = seeded_mean([row, row, row], names)
    assert agree.covers == "tasks and seeds"
    assert (agree.interval.low, agree.interval.high) == pytest.approx((alone.low, alone.high))
    assert agree.spread.seed_share == pytest.approx(0, abs=1e-12)
    differ = seeded_mean([row - 0.3, row, row + 0.3], names)
    assert differ.interval.high - differ.interval.low > 3 * (alone.high - alone.low)
    assert differ.spread.sd == pytest.approx(0.3)
    assert differ.spread.lowest == pytest.approx(row.mean() - 0.3)
    assert differ.spread.highest == pytest.approx(differ.spread.per_seed[2])
    assert differ.spread.task_share + differ.spread.seed_share == pytest.approx(1)
    # Seeds without spread of tasks: the t interval of three means.
    flat = seeded_mean([[0.3] * 40, [0.4] * 40, [0.5] * 40], [str(i) for i in range(40)])
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert flat.interval.high == pytest.approx(0.4 + half)


def test_p_value_ends_the_interval_at_0_and_agrees_with_the_verdict():
    rng = np.random.default_rng(8)
    names = [str(i % 15) for i in range(60)]
    words = set()
    for shift in np.linspace(-0.6, 0.6, 25):
        table = rng.normal(shift, 1, (3, 60)) + rng.normal(0, 0.1, (3, 1))
        found = seeded_difference(table, np.zeros(60), names).paired
        assert (found.p < 0.05) == (found.verdict in ("better", "worse"))
        words.add(found.verdict)
    assert words == {"better", "worse", "no difference shown"}


@given(st.floats(1, 60), st.integers(2, 9), st.floats(-6, 3))
def test_p_values_are_numbers_for_any_degrees(df, count, magnitude):
    """Also where few dominating tasks leave fractional degrees, and for any size of difference."""
    ratio = Ratio(estimate=10**magnitude, n=9, clusters=9, se=0.1, df=df, flat=False)
    parts = Parts(ratio=ratio, per_seed_S=np.zeros(count), tasks=0.01, seeds=0.003, noise=0.0)
    p = seeded_p(parts, None)
    assert 0 < p <= 1
    if 1e-29 < p < 1:
        tasks, seeds = (stats.t.isf(p / 2, d) for d in (df, count - 1))
        assert math.hypot(tasks * 0.1, seeds * 0.003**0.5) == pytest.approx(10**magnitude)


def test_under_ten_tasks_no_seeds_make_evidence():
    rng = np.random.default_rng(4)
    table = rng.normal(5, 0.1, (9, 18))
    found = seeded_difference(table, np.zeros(18), [str(i % 9) for i in range(18)])
    assert found.paired.low > 0
    assert found.paired.verdict == "no evidence"
    one = seeded_difference(table, np.zeros(18), ["a"] * 18)
    assert (one.paired.low, one.paired.p, one.paired.verdict) == (None, None, "no evidence")


@given(st.integers(2, 5), st.integers(2, 6), st.integers(1, 3), st.randoms(use_true_random=False))
def test_intervals_hold_the_estimate_and_the_interval_over_tasks(seeds, groups, items, rng):
    names = [f"t{g}" for g in range(groups) for _ in range(items)]
    table = [[rng.randint(0, 4) / 4 for _ in names] for _ in range(seeds)]
    both = seeded_mean(table, names)
    alone = clustered_mean(np.mean(table, axis=0), names)
    assert both.interval.low <= alone.low + 1e-12
    assert both.interval.high >= alone.high - 1e-12
    swapped = seeded_mean(table[::-1], names)
    assert swapped.interval.low == pytest.approx(both.interval.low, abs=1e-9)


@given(st.floats(0.01, 10), st.floats(0, 10), st.integers(2, 80), st.integers(2, 9))
def test_one_t_is_as_wide_as_both(tasks, seeds, df, count):
    found = equal_df(tasks, seeds, df, count)
    wide = t_quantile(0.975, found) * math.sqrt(tasks + seeds)
    assert wide == pytest.approx(half_width(tasks, seeds, df, count), rel=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([[1.0, 2.0]], [[1.0], [2.0]], "one value"),
        ([[1.0, 2.0]] * 3, [[1.0, 2.0]] * 2, "3 seeds against 2"),
        ([[1.0, math.nan]], [1.0, 2.0], "finite"),
        ([[[1.0, 2.0]]], [1.0, 2.0], "row per seed"),
    ],
)
def test_wrong_tables_are_refused(a, b, words):
    with pytest.raises(ValueError, match=words):
        seeded_difference(a, b, ["x", "y"])
