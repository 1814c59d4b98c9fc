"""Curves over levels: a power law with offset against a log-linear one, and the knee.

    power   y = a - b * x^(-c)        log   y = a + b * ln x

Which of them describes the levels is decided by the error on levels that were left out of the
fit, one at a time. Intervals are percentiles over replicates of the levels' means, each fitted
anew. A replicate draws clusters (the tasks that are asked) with replacement, and adds the noise of
training seeds: a t with L (S - 1) degrees of freedom times the spread of the seeds' means, pooled
over levels. Drawing the seeds themselves with replacement was tried: with 3 of them it knows two
thirds of their variance, and the band covered the true curve in 73% of the cases.

Shape letters: L levels, S seeds, C clusters, B replicates, P points, E exponents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from regimen.evaluation.ratios import LEVEL, Floats

Kind = Literal["power", "log"]

EXPONENTS = np.geomspace(0.05, 3.0, 60)
REPLICATES = 1000
STEPS = 16
"""Points along a curve to a doubling."""

FEWEST_LEVELS = 3
"""Levels that a curve of two parameters needs; a power law needs one more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A fitted curve; ``c`` is the exponent of a power law, 0 for a log-linear curve."""

    kind: Kind
    a: float
    b: float
    c: float = 0.0

    def at(self, x: Floats) -> Floats:
        """Its values at points: (P,)."""
        one = Rows(self.kind, np.asarray([self.a]), np.asarray([self.b]), np.asarray([self.c]))
        return np.asarray(one.at(x)[0])

    @property
    def formula(self) -> str:
        """As a person writes it."""
        if self.kind == "log":
            return f"{self.a:.3f} {self.b:+.3f} ln x"
        return f"{self.a:.3f} {-self.b:+.3f} x^-{self.c:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The curve that was chosen, and the error of both kinds on left-out levels (RMS)."""

    curve: Curve
    errors: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Knee:
    """The level from which on every doubling, up to the largest level, gains less than ``gain``.

    ``low`` and ``high`` are the 95% interval. ``reached`` is the share of replicates that have a
    knee; one without lies at the largest level, where nothing is known about a doubling.
    """

    gain: float
    at: float
    low: float
    high: float
    reached: float


@dataclass(frozen=True, slots=True)
class Rows:
    """Fitted curves of one kind, one for each row: parameters (B,)."""

    kind: Kind
    a_B: Floats
    b_B: Floats
    c_B: Floats

    def at(self, x: Floats) -> Floats:
        """Their values at points: (B, P)."""
        points = np.asarray(x, dtype=np.float64)[None, :]
        if self.kind == "log":
            return np.asarray(self.a_B[:, None] + self.b_B[:, None] * np.log(points))
        return np.asarray(self.a_B[:, None] - self.b_B[:, None] * points ** (-self.c_B[:, None]))

    def first(self) -> Curve:
        """The first of them."""
        a, b, c = (float(some[0]) for some in (self.a_B, self.b_B, self.c_B))
        return Curve(kind=self.kind, a=a, b=b, c=c)


def fit_log(x: Floats, y_BL: Floats) -> Rows:
    """Least squares of log-linear curves."""
    a_B, b_B = _lines(np.log(x), y_BL)
    return Rows("log", a_B, b_B, np.zeros_like(a_B))


def fit_power(x: Floats, y_BL: Floats) -> Rows:
    """Least squares of power laws with offset: lines in x^-c over a grid of exponents."""
    fits = [_lines(x ** (-c), y_BL) for c in EXPONENTS]
    errors_EB = np.stack(
        [
            ((a_B[:, None] + b_B[:, None] * x ** (-c) - y_BL) ** 2).sum(axis=1)
            for c, (a_B, b_B) in zip(EXPONENTS, fits, strict=True)
        ]
    )
    best_B = errors_EB.argmin(axis=0)
    places = np.arange(len(y_BL))
    a_EB, b_EB = (np.stack([fit[part] for fit in fits]) for part in (0, 1))
    return Rows("power", a_EB[best_B, places], -b_EB[best_B, places], EXPONENTS[best_B])


FITS: dict[Kind, Callable[[Floats, Floats], Rows]] = {"power": fit_power, "log": fit_log}


def _lines(x: Floats, y_BL: Floats) -> tuple[Floats, Floats]:
    """Intercepts and slopes of the rows."""
    centred = x - x.mean()
    slope_B = y_BL @ centred / (centred @ centred)
    return np.asarray(y_BL.mean(axis=1) - slope_B * x.mean()), np.asarray(slope_B)


def left_out_errors(x: Floats, y_BL: Floats) -> dict[Kind, Floats]:
    """RMS error of each kind on levels left out of its fit, one at a time: (B,).

    A power law needs four levels, since three determine it without an error to compare.
    """
    errors: dict[Kind, Floats] = {}
    for kind, fit in FITS.items():
        if kind == "power" and len(x) <= FEWEST_LEVELS:
            continue
        left = []
        for out in range(len(x)):
            kept = np.arange(len(x)) != out
            left.append(fit(x[kept], y_BL[:, kept]).at(x[out : out + 1])[:, 0] - y_BL[:, out])
        errors[kind] = np.sqrt(np.mean(np.square(left), axis=0))
    return errors


def choose(x: Floats, y: Floats) -> Choice:
    """The kind of curve with the smaller error on levels left out one at a time.

    Raises:
        ValueError: fewer than three levels, or levels that are not positive and distinct.
    """
    if len(x) < FEWEST_LEVELS or len(set(x.tolist())) < len(x) or float(x.min()) <= 0:
        raise ValueError(f"a curve needs {FEWEST_LEVELS} distinct positive levels, got {x}")
    errors = {kind: float(found[0]) for kind, found in left_out_errors(x, y[None, :]).items()}
    best = min(errors, key=lambda kind: (errors[kind], kind != "power"))
    return Choice(
        curve=FITS[best](x, y[None, :]).first(),
        errors={str(kind): error for kind, error in errors.items()},
    )


def values_along(x: Floats, y_BL: Floats, along: Floats) -> Floats:
    """Values (B, P) of the curves of rows, each of the kind that its own levels choose.

    The choice is part of what a replicate may get wrong: with one kind for all, the band covered
    the true curve in 83% of the cases.
    """
    errors = left_out_errors(x, y_BL)
    values = {kind: FITS[kind](x, y_BL).at(along) for kind in errors}
    if "power" not in errors:
        return values["log"]
    better_B = errors["power"] <= errors["log"]
    return np.where(better_B[:, None], values["power"], values["log"])


def knees_of(values_BP: Floats, along: Floats, gain: float) -> Floats:
    """The first point of each curve from which on every doubling gains less than ``gain``.

    ``STEPS`` points are a doubling. The last point stands for no knee: nothing is said beyond the
    levels that were measured.
    """
    if len(along) <= STEPS:
        return np.full(len(values_BP), float(along[-1]))
    small_BP = values_BP[:, STEPS:] - values_BP[:, :-STEPS] < gain
    # small from here on to the end
    stays_BP = np.logical_and.accumulate(small_BP[:, ::-1], axis=1)[:, ::-1]
    first_B = np.where(stays_BP.any(axis=1), stays_BP.argmax(axis=1), len(along) - 1)
    return np.asarray(along[first_B])


def steps_of(x: Floats) -> Floats:
    """Points from the smallest level to the largest, about ``STEPS`` to a doubling."""
    lowest, highest = float(x.min()), float(x.max())
    count = max(1, round(STEPS * np.log2(highest / lowest)))
    return np.asarray(lowest * (highest / lowest) ** (np.arange(count + 1) / count))


def level_means(sums_LSC: Floats, sizes_C: Floats) -> Floats:
    """Mean scores by level and seed (L, S) from sums by level, seed and cluster."""
    return np.asarray(sums_LSC.sum(axis=2) / sizes_C.sum())


def replicates(
    sums_LSC: Floats, sizes_C: Floats, *, seed: int = 0, count: int = REPLICATES
) -> Floats:
    """Means of the levels as other tasks and other seeds might give them: (B, L).

    With one seed they are about other tasks only.

    Args:
        sums_LSC: sums of scores by level, seed and cluster.
        sizes_C: items of each cluster.
        seed: of the draws.
        count: number of replicates.
    """
    rng = np.random.default_rng(seed)
    levels, seeds, clusters = sums_LSC.shape
    weights_BC = rng.multinomial(clusters, [1 / clusters] * clusters, size=count)
    drawn_BL = (weights_BC @ sums_LSC.mean(axis=1).T) / (weights_BC @ sizes_C)[:, None]
    means_LS = level_means(sums_LSC, sizes_C)
    means_L = means_LS.mean(axis=1)
    few = clusters / (clusters - 1) if clusters > 1 else 1.0
    values_BL = means_L + np.sqrt(few) * (drawn_BL - means_L)
    if seeds > 1:
        spread = np.sqrt(means_LS.var(axis=1, ddof=1).mean() / seeds)
        values_BL += spread * rng.standard_t(levels * (seeds - 1), size=(count, levels))
    return np.asarray(values_BL, dtype=np.float64)


def interval(values_B: Floats) -> tuple[float, float]:
    """The central 95% of the replicates."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values_B, [tail, 100 - tail])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A chosen curve with its ribbon and its knee."""

    choice: Choice
    knee: Knee
    ribbon: tuple[tuple[float, float, float, float], ...]
    """x, value, low and high along the curve."""


def fit_levels(levels: Sequence[float], sums_LSC: Floats, sizes_C: Floats, *, gain: float) -> Fit:
    """Fit the means of the levels; knee and ribbon with 95% intervals.

    Raises:
        ValueError: as :func:`choose`.
    """
    x = np.asarray(levels, dtype=np.float64)
    choice = choose(x, level_means(sums_LSC, sizes_C).mean(axis=1))
    drawn_BL = replicates(sums_LSC, sizes_C)
    along = steps_of(x)
    values_BP = values_along(x, drawn_BL, along)
    bounds = [interval(values_BP[:, place]) for place in range(len(along))]
    centre = choice.curve.at(along)
    knees_B = knees_of(values_BP, along, gain)
    low, high = interval(knees_B)
    return Fit(
        choice=choice,
        knee=Knee(
            gain=gain,
            at=float(knees_of(centre[None, :], along, gain)[0]),
            low=low,
            high=high,
            reached=float((knees_B < along[-1]).mean()),
        ),
        ribbon=tuple(
            (float(at), float(value), *bound)
            for at, value, bound in zip(along, centre, bounds, strict=True)
        ),
    )
