"""What a design can find. Run: pytest tests/evaluation/test_power.py"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regimen.evaluation.power import (
    Design,
    Variances,
    clusters_needed,
    error_parts,
    pilot_variances,
    power_of,
    smallest_difference,
    variances_of,
)
from regimen.evaluation.ratios import half_width
from regimen.evaluation.statistics import noncentral_difference, resolvable_difference


def found_in_simulation(rng, variances, design, difference, repeats=4000):
    """Share of repetitions whose 95% interval lies above 0, from means of tasks and seeds."""
    tasks, seeds = design.clusters, design.seeds
    shape = (repeats, seeds, tasks)
    means = difference + rng.normal(0, variances.task**0.5, (repeats, 1, tasks))
    means = means + rng.normal(0, (variances.item / design.items) ** 0.5, (repeats, 1, tasks))
    means = means + rng.normal(0, variances.task_seed**0.5, shape)
    means = means + rng.normal(0, variances.seed**0.5, (repeats, seeds, 1))
    by_task, by_seed = means.mean(axis=1), means.mean(axis=2)
    tasks_part = by_task.var(axis=1, ddof=1) / tasks
    estimate = by_task.mean(axis=1)
    if seeds == 1:
        half = stats.t.ppf(0.975, tasks - 1) * np.sqrt(tasks_part)
        return float((estimate - half > 0).mean())
    own = means - by_task[:, None] - by_seed[..., None] + estimate[:, None, None]
    noise = (own**2).sum(axis=(1, 2)) / ((tasks - 1) * (seeds - 1) * tasks * seeds)
    seeds_part = np.maximum(0, by_seed.var(axis=1, ddof=1) / seeds - noise)
    half = [half_width(a, b, tasks - 1, seeds) for a, b in zip(tasks_part, seeds_part, strict=True)]
    return float((estimate - half > 0).mean())


@pytest.mark.parametrize("clusters", [10, 20, 60])
@pytest.mark.parametrize("correlation", [0.0, 0.3])
def test_the_smallest_difference_is_found_in_80_percent(clusters, correlation):
    variances, design = variances_of(0.6, correlation), Design(clusters=clusters, items=8)
    found = smallest_difference(variances, design)
    rng = np.random.default_rng(clusters)
    # 4,000 repeats have a standard error of 0.6 points.
    assert found_in_simulation(rng, variances, design, found) == pytest.approx(0.8, abs=0.02)
    assert power_of(variances, design, found) == pytest.approx(0.8, abs=1e-6)
    assert found_in_simulation(rng, variances, design, 0.0) == pytest.approx(0.025, abs=0.01)


@pytest.mark.parametrize("seeds", [3, 5])
def test_with_seeds_the_promise_is_kept_within_some_points(seeds):
    variances = Variances(task=0.05, item=0.3, seed=0.0015, task_seed=0.02)
    design = Design(clusters=20, items=8, seeds=seeds)
    found = smallest_difference(variances, design)
    rng = np.random.default_rng(seeds)
    assert 0.76 <= found_in_simulation(rng, variances, design, found, 2000) <= 0.9


def test_noncentral_and_closed_form_agree_where_there_are_tasks():
    for df in (9, 19, 59):
        assert noncentral_difference(2.0, df) == pytest.approx(
            resolvable_difference(2.0, df), rel=0.01
        )
    assert noncentral_difference(1.0, 1.0) > noncentral_difference(1.0, 2.0) > 4.3
    assert noncentral_difference(0.0, 5) == 0
    with pytest.raises(ValueError, match="power"):
        noncentral_difference(1.0, 9, power=1.0)


def test_the_error_by_hand():
    # 0.04 / 10 + 0.32 / (10 * 4) + 0.06 / (10 * 3) = 0.014; 0.009 / 3 = 0.003.
    variances = Variances(task=0.04, item=0.32, seed=0.009, task_seed=0.06)
    parts = error_parts(variances, Design(clusters=10, items=4, seeds=3))
    assert parts == pytest.approx((0.014, 0.003))
    found = variances_of(0.5, 0.2, seed_sd=0.1)
    assert (found.task, found.item, found.seed) == pytest.approx((0.05, 0.2, 0.01))


@given(st.floats(0.02, 0.5), st.floats(0, 0.8), st.integers(1, 30))
def test_the_tasks_needed_are_the_fewest(difference, correlation, items):
    variances = variances_of(0.6, correlation)
    needed = clusters_needed(variances, difference, items=items)
    assert needed >= 10
    assert power_of(variances, Design(clusters=needed, items=items), difference) >= 0.8
    if needed > 10:
        fewer = Design(clusters=needed - 1, items=items)
        assert power_of(variances, fewer, difference) < 0.8


def test_no_number_of_tasks_outweighs_too_few_seeds():
    variances = variances_of(0.5, 0.1, seed_sd=0.05)
    assert clusters_needed(variances, 0.04, items=10, seeds=3) is None
    assert clusters_needed(variances, 0.04, items=10, seeds=30) is not None
    with pytest.raises(ValueError, match="difference of 0"):
        clusters_needed(variances, 0.0)


@given(st.floats(0.1, 1), st.floats(0, 1), st.integers(2, 60), st.integers(1, 9))
def test_more_of_anything_resolves_no_less(sd, correlation, clusters, items):
    variances = variances_of(sd, correlation)
    small = smallest_difference(variances, Design(clusters=clusters, items=items))
    more_tasks = smallest_difference(variances, Design(clusters=clusters + 1, items=items))
    more_items = smallest_difference(variances, Design(clusters=clusters, items=items + 1))
    assert more_tasks <= small + 1e-9
    assert more_items <= small + 1e-9


def test_a_pilot_gives_back_the_variances():
    rng = np.random.default_rng(6)
    tasks, items, seeds = 400, 6, 5
    shape = (seeds, tasks * items)
    index = np.repeat(np.arange(tasks), items)
    table = (
        rng.normal(0, 0.3, tasks)[index]
        + rng.normal(0, 0.5, tasks * items)
        + np.linspace(-0.2, 0.2, seeds)[:, None]
        + rng.normal(0, 0.2, (seeds, tasks))[:, index]
        + np.zeros(shape)
    )
    found = pilot_variances(table, index.astype(str).tolist())
    assert math.sqrt(found.task) == pytest.approx(0.3, abs=0.05)
    assert math.sqrt(found.item) == pytest.approx(0.5, abs=0.03)
    assert math.sqrt(found.task_seed) == pytest.approx(0.2, abs=0.03)
    assert found.seed == pytest.approx(np.linspace(-0.2, 0.2, seeds).var(ddof=1), rel=0.1)
    one = pilot_variances(table[0], index.astype(str).tolist())
    assert (one.seed, one.task_seed) == (0, 0)


def test_what_is_no_design_is_refused():
    with pytest.raises(ValueError, match="2 tasks"):
        Design(clusters=1)
    with pytest.raises(ValueError, match="finite"):
        Variances(task=-1.0, item=0.0)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        variances_of(1.0, 2.0)
    with pytest.raises(ValueError, match="task of 2 items"):
        pilot_variances([1.0, 2.0], ["a", "b"])
    assert power_of(Variances(task=0.0, item=0.0), Design(clusters=12), 0.1) == 1
