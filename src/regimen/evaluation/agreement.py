"""How far a judge agrees with people, and people with each other: with clustered intervals.

The ceiling is one person against the majority of the others: a judge that reaches it is as good as
another person. The judge is measured the same way, against the majority of the others for each
person left out in turn, so that both face the same, equally noisy, labels. Units on which the
others have no majority are left out of that person's turn, for the judge as for people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from regimen.evaluation.jackknife import Rows, jackknife
from regimen.evaluation.statistics import Interval
from regimen.judging.agreement import (
    MISSING,
    Codes,
    Level,
    coded,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    majority,
    raw_agreement,
)

Measure = Callable[[Codes, Codes], float]
Labels = Sequence[Hashable | None]

KAPPA_BOUNDS = (-1.0, 1.0)
ALPHA_BOUNDS = (-math.inf, 1.0)
LEVELS: tuple[Level, ...] = ("nominal", "ordinal")


def measures(categories: int) -> Mapping[str, Measure]:
    """The measures of two raters by name; the categories are in order."""
    return {
        "agreement": raw_agreement,
        "kappa": lambda a, b: cohen_kappa(a, b, categories),
        "kappa_linear": lambda a, b: cohen_kappa(a, b, categories, weights="linear"),
    }


def agreement(
    a: Labels, b: Labels, categories: Sequence[Hashable], clusters: Sequence[str]
) -> dict[str, Any]:
    """Raw agreement and kappas of two raters, each with its interval, over units rated by both.

    Args:
        a, b: labels, None where missing.
        categories: all labels in their order.
        clusters: the cluster of each unit.

    Raises:
        ValueError: an unknown label, or no unit that both rated.
    """
    a_U, b_U = coded(a, categories), coded(b, categories)
    kept = np.flatnonzero((a_U >= 0) & (b_U >= 0)).tolist()
    if not kept:
        raise ValueError("no unit was rated by both")
    own = [clusters[unit] for unit in kept]
    a_U, b_U = a_U[kept], b_U[kept]
    block: dict[str, Any] = {"n": len(kept), "clusters": len(set(own))}
    for name, measure in measures(len(categories)).items():
        block[name] = _json(jackknife(_of_rows(measure, a_U, b_U), own, bounds=KAPPA_BOUNDS))
    return block


def _of_rows(measure: Measure, a_U: Codes, b_U: Codes) -> Callable[[Rows], float]:
    return lambda rows: measure(a_U[rows], b_U[rows])


def panel(
    raters: Mapping[str, Labels], categories: Sequence[Hashable], clusters: Sequence[str]
) -> dict[str, Any]:
    """People among themselves: every pair, alpha and Fleiss' kappa of all, one against the others.

    Pairs are those who rated a unit in common. ``one_against_others`` is None with fewer than
    three raters.
    """
    codes_UR = _codes(raters, categories)
    names = list(raters)
    pairs = {
        f"{one} and {other}": agreement(raters[one], raters[other], categories, clusters)
        for place, one in enumerate(names)
        for later, other in enumerate(names[place + 1 :], start=place + 1)
        if (codes_UR[:, [place, later]] >= 0).all(axis=1).any()
    }
    count = len(categories)
    alphas = {
        f"alpha_{level}": _json(
            jackknife(_alpha(codes_UR, count, level), clusters, bounds=ALPHA_BOUNDS)
        )
        for level in LEVELS
    }
    return {
        "raters": len(names),
        "n": len(codes_UR),
        "clusters": len(set(clusters)),
        "unanimous": float(np.mean([len({c for c in row if c >= 0}) <= 1 for row in codes_UR])),
        "pairs": pairs,
        **alphas,
        "kappa_fleiss": _json(
            jackknife(
                lambda rows: fleiss_kappa(codes_UR[rows], count), clusters, bounds=KAPPA_BOUNDS
            )
        ),
        "one_against_others": against_others(raters, categories, clusters)
        if len(names) > 2
        else None,
    }


def _alpha(codes_UR: Codes, categories: int, level: Level) -> Callable[[Rows], float]:
    return lambda rows: krippendorff_alpha(codes_UR[rows], categories, level=level)


def against_others(
    raters: Mapping[str, Labels],
    categories: Sequence[Hashable],
    clusters: Sequence[str],
    judge: Labels | None = None,
) -> dict[str, Any]:
    """Each person, or the judge in that person's place, against the majority of the others.

    Every measure is the mean over the persons left out.
    """
    codes_UR, count = _codes(raters, categories), len(categories)
    others_UR = np.stack(
        [majority(np.delete(codes_UR, r, axis=1), count) for r in range(codes_UR.shape[1])], axis=1
    )
    judge_U = None if judge is None else coded(judge, categories)
    own_UR = codes_UR if judge_U is None else np.repeat(judge_U[:, None], len(raters), axis=1)

    def mean(measure: Measure) -> Callable[[Rows], float]:
        return lambda rows: float(
            np.mean([measure(own_UR[rows, r], others_UR[rows, r]) for r in range(len(raters))])
        )

    block: dict[str, Any] = {
        "n": int(((own_UR >= 0) & (others_UR >= 0)).sum()),
        "without_majority": int((others_UR == MISSING).sum()),
    }
    for name, measure in measures(count).items():
        block[name] = _json(jackknife(mean(measure), clusters, bounds=KAPPA_BOUNDS))
    return block


def judge_against_people(
    judge: Labels,
    raters: Mapping[str, Labels],
    categories: Sequence[Hashable],
    clusters: Sequence[str],
) -> dict[str, Any]:
    """A judge against the majority of all people, and in the place of each of them.

    Args:
        judge: its labels; None where it gave no verdict, which is counted.
        raters: labels of people by name.
        categories: all labels in their order.
        clusters: the cluster of each unit.

    Returns:
        ``majority`` (against the majority of all), ``in_place`` (as :func:`against_others`; None
        with fewer than three people), ``failed``, ``without_majority``, and ``people`` (their
        :func:`panel`; None for a single person).
    """
    codes_UR = _codes(raters, categories)
    truth_U = majority(codes_UR, len(categories))
    truth = [None if code == MISSING else categories[code] for code in truth_U]
    many = len(raters)
    return {
        "raters": many,
        "failed": sum(label is None for label in judge),
        "without_majority": sum(label is None for label in truth),
        "majority": agreement(judge, truth, categories, clusters),
        "in_place": against_others(raters, categories, clusters, judge) if many > 2 else None,
        "people": panel(raters, categories, clusters) if many > 1 else None,
    }


def _codes(raters: Mapping[str, Labels], categories: Sequence[Hashable]) -> Codes:
    return np.stack([coded(labels, categories) for labels in raters.values()], axis=1)


def _json(found: Interval) -> dict[str, float | None]:
    """An interval as JSON; null where the measure is not defined."""
    defined = math.isfinite(found.estimate)
    return {"value": found.estimate if defined else None, "low": found.low, "high": found.high}
