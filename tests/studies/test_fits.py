"""Curves over levels: pytest tests/studies/test_fits.py."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.studies.fits import (
    STEPS,
    choose,
    fit_levels,
    fit_log,
    interval,
    knees_of,
    replicates,
    steps_of,
)

LEVELS = np.asarray([4.0, 16.0, 64.0, 256.0, 1024.0])


def test_a_power_law_is_recovered_and_chosen() -> None:
    y = 0.8 - 1.1 * LEVELS**-0.7
    choice = choose(LEVELS, y)
    assert choice.curve.kind == "power"
    assert choice.errors["power"] < choice.errors["log"]
    assert choice.curve.at(LEVELS) == pytest.approx(y, abs=2e-3)


def test_a_log_linear_curve_is_recovered_and_chosen() -> None:
    rng = np.random.default_rng(0)
    y = 0.1 + 0.07 * np.log(LEVELS) + rng.normal(0, 0.004, len(LEVELS))
    choice = choose(LEVELS, y)
    assert choice.curve.kind == "log"
    assert (choice.curve.a, choice.curve.b) == pytest.approx((0.1, 0.07), abs=0.02)


def test_three_levels_are_fitted_by_the_curve_of_two_parameters() -> None:
    assert choose(LEVELS[:3], np.asarray([0.1, 0.3, 0.4])).curve.kind == "log"


@pytest.mark.parametrize("levels", [[1.0, 2.0], [1.0, 2.0, 2.0], [0.0, 1.0, 2.0]])
def test_levels_that_no_curve_goes_through_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="3 distinct positive levels"):
        choose(np.asarray(levels), np.zeros(len(levels)))


def test_from_the_knee_on_every_doubling_gains_less() -> None:
    along = steps_of(LEVELS)
    curve = 0.8 - 1.1 * along**-0.7
    (knee,) = knees_of(curve[None, :], along, 0.02)
    at = int(np.flatnonzero(along == knee)[0])
    assert curve[at + STEPS] - curve[at] < 0.02 <= curve[at + STEPS - 1] - curve[at - 1]
    assert knees_of(curve[None, :], along, 0.2)[0] < knee


def test_a_curve_that_still_rises_has_no_knee() -> None:
    along = steps_of(LEVELS)
    rising = 0.1 * np.log(along)[None, :]
    assert knees_of(rising, along, 0.05)[0] == 1024
    assert knees_of(rising, along, 0.08)[0] == 4


@examples(30)
@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.2))
def test_curves_do_not_depend_on_the_unit_of_the_levels(a: float, b: float) -> None:
    y = a + b * np.log(LEVELS)
    fitted = fit_log(LEVELS * 10, y[None, :]).at(LEVELS * 10)
    assert fitted[0] == pytest.approx(y, abs=1e-9)


def simulated(seed: int, clusters: int = 40, seeds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Sums of scores by level, seed and cluster around a power law with its knee near 100."""
    rng = np.random.default_rng(seed)
    truth = 0.6 - 0.9 * LEVELS**-0.8
    tasks = rng.normal(0, 0.15, clusters)
    noise = rng.normal(0, 0.02, (len(LEVELS), seeds, 1)) + rng.normal(
        0, 0.08, (len(LEVELS), seeds, clusters)
    )
    return (truth[:, None, None] + tasks + noise) * 2, np.full(clusters, 2.0)


def test_replicates_centre_on_the_means_and_do_not_depend_on_the_run() -> None:
    sums_LSC, sizes_C = simulated(0)
    values = replicates(sums_LSC, sizes_C)
    means = sums_LSC.sum(axis=(1, 2)) / (sizes_C.sum() * sums_LSC.shape[1])
    assert values.mean(axis=0) == pytest.approx(means, abs=0.01)
    assert np.array_equal(values, replicates(sums_LSC, sizes_C))


@pytest.mark.simulation
def test_the_ribbon_covers_the_curve_in_most_repetitions() -> None:
    inside = []
    for seed in range(40):
        fit = fit_levels(LEVELS.tolist(), *simulated(seed), gain=0.02)
        for x, _, low, high in fit.ribbon[::16]:
            inside.append(low <= 0.6 - 0.9 * x**-0.8 <= high)
    assert 0.88 <= np.mean(inside) <= 0.99


@pytest.mark.simulation
def test_the_interval_of_the_knee_holds_the_true_knee_in_most_repetitions() -> None:
    along = steps_of(LEVELS)
    (true,) = knees_of(0.6 - 0.9 * along[None, :] ** -0.8, along, 0.03)
    knees = [fit_levels(LEVELS.tolist(), *simulated(seed), gain=0.03).knee for seed in range(40)]
    assert np.mean([knee.low <= true <= knee.high for knee in knees]) >= 0.85
    assert all(knee.low <= knee.at <= knee.high for knee in knees)


def test_the_interval_is_the_central_part() -> None:
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
