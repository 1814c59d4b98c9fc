"""Comparisons of two systems summed up: win rate with verdict, ties, order, length.

The win rate counts a tie as half a win; its 95% interval is clustered as every score is, and the
verdict says whether it excludes one half. Comparisons that failed are counted and left out: they
have no verdict to average.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.evaluation.length_control import LengthControl, length_control
from regimen.evaluation.statistics import (
    Interval,
    clustered_rate,
    resolvable_difference,
    verdict,
)
from regimen.evaluation.suites import cluster_of
from regimen.evaluation.summaries import UNNAMED
from regimen.judging.comparisons import Comparison

EVEN = 0.5


def pair_summary(
    comparisons: Sequence[Comparison],
    *,
    seeds: int = 1,
    difficulty: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The block of two systems on one suite, as ``evaluation.json`` holds it.

    Args:
        comparisons: of the same two systems, one for each item.
        seeds: training seeds behind the systems, recorded with the verdict.
        difficulty: of items by id, for the length control; others count as average.
    """
    judged = [one for one in comparisons if one.value is not None]
    block: dict[str, Any] = {
        **win_rate(judged, seeds=seeds),
        "wins": sum(one.value == 1 for one in judged),
        "ties": sum(one.value == 0 for one in judged),
        "losses": sum(one.value == -1 for one in judged),
        "failed": len(comparisons) - len(judged),
        "identical": sum(one.decided == "identical" for one in comparisons),
        "unanswered": sum(one.decided == "unanswered" for one in comparisons),
        "soft": _soft(judged),
        "length_controlled": _length(judged, difficulty),
        **position(judged),
    }
    categories: dict[str, list[Comparison]] = {}
    for one in judged:
        categories.setdefault(one.item.lineage.category or UNNAMED, []).append(one)
    block["by_category"] = {
        name: win_rate(categories[name], seeds=seeds) for name in sorted(categories)
    }
    return block


def win_rate(judged: Sequence[Comparison], *, seeds: int = 1) -> dict[str, Any]:
    """Win rate, ties half, with interval and verdict; nulls where nothing was judged."""
    clusters = [cluster_of(one.item) for one in judged]
    block: dict[str, Any] = {"win_rate": None, "low": None, "high": None, "resolvable": None}
    word = "no evidence"
    if judged:
        found = clustered_rate([share(one.value) for one in judged], clusters)
        block = {
            "win_rate": found.estimate,
            "low": found.low,
            "high": found.high,
            "resolvable": resolvable_difference(found.se, found.df)
            if found.se and found.df
            else None,
        }
        word = against_even(found)
    return {
        **block,
        "verdict": word,
        "n": len(judged),
        "clusters": len(set(clusters)),
        "seeds": seeds,
    }


def against_even(found: Interval) -> str:
    """The verdict on a win rate: better where its interval lies above one half."""
    low, high = (None if end is None else end - EVEN for end in (found.low, found.high))
    return verdict(low, high, found.clusters)


def share(value: float | None) -> float:
    """A preference in -1..1 as the share of the win, 0..1."""
    assert value is not None
    return (1 + value) / 2


def _soft(judged: Sequence[Comparison]) -> dict[str, float | None]:
    """Win rate of the mean preference over the orders."""
    if not judged:
        return {"win_rate": None, "low": None, "high": None}
    clusters = [cluster_of(one.item) for one in judged]
    return _rate(clustered_rate([share(one.soft) for one in judged], clusters))


def _rate(found: Interval) -> dict[str, float | None]:
    return {"win_rate": found.estimate, "low": found.low, "high": found.high}


def _length(
    judged: Sequence[Comparison], difficulty: Mapping[str, float] | None
) -> dict[str, float | None]:
    """The win rate at equal lengths, the effect of length, and the longer answer's wins."""
    if not judged:
        return {}
    found: LengthControl = length_control(
        [share(one.value) for one in judged],
        [one.lengths for one in judged],
        [cluster_of(one.item) for one in judged],
        difficulty_N=[difficulty.get(one.item.item_id, 0.0) for one in judged]
        if difficulty
        else None,
    )
    longer = found.longer_wins
    return {
        **_rate(found.win_rate),
        "effect": found.effect,
        "longer_wins": longer.estimate if longer else None,
        "longer_wins_low": longer.low if longer else None,
        "longer_wins_high": longer.high if longer else None,
    }


def position(judged: Sequence[Comparison]) -> dict[str, float | None]:
    """Share of swapped comparisons in which both orders agree, and of first places that won.

    Without bias the first place wins half of the verdicts that are no ties, whichever system is
    the better, because each pair is shown both ways.
    """
    both = [one for one in judged if one.consistent is not None]
    firsts = [
        first > 0
        for one in both
        for first in (one.forward.value, one.backward.value if one.backward else None)
        if first
    ]
    return {
        "position_consistency": sum(bool(one.consistent) for one in both) / len(both)
        if both
        else None,
        "first_position": sum(firsts) / len(firsts) if firsts else None,
    }
