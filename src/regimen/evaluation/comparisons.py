"""Many comparisons at once: adjusted p-values, and verdicts that rest on them.

Of twenty families in which nothing changed, one is "better" by chance. Where several comparisons
are read together, the word of each rests on its adjusted p-value: Holm's, so that the chance of
even one wrong word in the whole table is 5% at most, whatever depends on what. The interval beside
it stays that of the single comparison.

What is read together, a family of comparisons:

* the cells of one breakdown (families, categories, languages) for one pair of systems;
* more than two systems against the same baseline. Tuned and aligned against the base are the two
  questions that an evaluation is run for, and stand alone.

Cells that could claim nothing before any score was seen (under 10 clusters, no p-value) are not
part of the family: they cost the others nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from regimen.evaluation.ratios import LEVEL
from regimen.evaluation.statistics import MIN_CLUSTERS

Correction = Literal["holm", "benjamini_hochberg"]
PLANNED = 2
Entry = Mapping[str, Any]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the chance of one wrong rejection or more (Holm 1979).

    The k-th smallest of m is multiplied by m - k + 1; a larger p never gets a smaller value.

    Raises:
        ValueError: a p-value outside 0..1.
    """
    p_M, order_M = _sorted(p_values)
    count = len(p_M)
    stepped_M = np.maximum.accumulate(p_M * np.arange(count, 0, -1))
    return _unsorted(stepped_M, order_M)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values that keep the share of wrong rejections (Benjamini and Hochberg 1995).

    The k-th smallest of m is multiplied by m / k; a smaller p never gets a larger value. It is for
    looking where to look, with independent or positively dependent comparisons.

    Raises:
        ValueError: a p-value outside 0..1.
    """
    p_M, order_M = _sorted(p_values)
    count = len(p_M)
    stepped_M = p_M * count / np.arange(1, count + 1)
    return _unsorted(np.minimum.accumulate(stepped_M[::-1])[::-1], order_M)


def adjusted(
    entries: Mapping[str, Entry], *, correction: Correction = "holm"
) -> dict[str, dict[str, Any]]:
    """Paired entries of ``evaluation.json``, read together, with adjusted words.

    Each entry gets ``p_adjusted`` (None where it is not part of the family), ``comparisons``, the
    size of the family, and ``correction``. "better" and "worse" become "no difference shown" where
    the adjusted p is 0.05 or more.
    """
    tested = [name for name, entry in entries.items() if _tested(entry)]
    given = [float(entries[name]["p"]) for name in tested]
    steps = {"holm": holm, "benjamini_hochberg": benjamini_hochberg}
    found = dict(zip(tested, steps[correction](given), strict=True))
    return {
        name: {
            **entry,
            "verdict": _word(entry["verdict"], found.get(name)),
            "p_adjusted": found.get(name),
            "comparisons": len(tested),
            "correction": correction,
        }
        for name, entry in entries.items()
    }


def adjusted_pairs(paired: Mapping[str, Entry], second: Mapping[str, str]) -> dict[str, Any]:
    """The paired block of a suite: a family where more than two systems have one baseline.

    Args:
        paired: entries by pair.
        second: the baseline of each pair.
    """
    result: dict[str, Any] = dict(paired)
    for baseline in dict.fromkeys(second.values()):
        own = {name: entry for name, entry in paired.items() if second[name] == baseline}
        if len(own) > PLANNED:
            result |= adjusted(own)
    return result


def adjusted_cells(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Blocks by name, each with ``paired``: the verdicts of a pair are a family of comparisons."""
    pairs = dict.fromkeys(pair for cell in cells.values() for pair in cell["paired"])
    found = {
        pair: adjusted({n: cell["paired"][pair] for n, cell in cells.items()}) for pair in pairs
    }
    return {
        name: {**cell, "paired": {pair: entries[name] for pair, entries in found.items()}}
        for name, cell in cells.items()
    }


def _tested(entry: Entry) -> bool:
    return entry["p"] is not None and entry["clusters"] >= MIN_CLUSTERS


def _word(verdict: str, p: float | None) -> str:
    claims = verdict in ("better", "worse")
    return "no difference shown" if claims and p is not None and p >= 1 - LEVEL else verdict


def _sorted(p_values: Sequence[float]) -> tuple[Any, Any]:
    p_M = np.asarray(p_values, dtype=np.float64)
    if not ((p_M >= 0) & (p_M <= 1)).all():
        raise ValueError(f"p-values are in 0..1, got {p_values}")
    order_M = np.argsort(p_M, kind="stable")
    return p_M[order_M], order_M


def _unsorted(stepped_M: Any, order_M: Any) -> list[float]:
    result_M = np.empty(len(order_M))
    result_M[order_M] = np.minimum(stepped_M, 1.0)
    return [float(p) for p in result_M]
