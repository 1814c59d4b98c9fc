"""What preference pairs are like: margins, length bias, agreement of annotators.

Length bias: the share of pairs whose chosen answer is the longer one, and the rank correlation of
margin and difference in length. A reward model can learn either instead of what was preferred
(Singhal et al. 2023, *A Long Way to Go*, arXiv 2310.03716). Intervals are clustered by prompt.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from regimen.curation.card import QUANTILES, quantiles
from regimen.curation.filters import characters
from regimen.evaluation.agreement import panel
from regimen.evaluation.jackknife import Rows, jackknife
from regimen.evaluation.statistics import Interval, clustered_rate
from regimen.judging.people import CATEGORIES
from regimen.records import Message, Preference, content_of, stable_hash

Votes = Sequence[tuple[str, Sequence[int | None]]]
"""The prompt and each annotator's preference for the first of two answers, comparison by
comparison."""


def pair_statistics(
    pairs: Sequence[Preference], votes: Mapping[str, Votes] | None = None
) -> dict[str, Any]:
    """The block ``pairs`` of the data card.

    Args:
        pairs: those that are kept.
        votes: of each source whose pairs several people judged, ties included.

    Returns:
        ``pairs`` and ``prompts`` (counts), ``by_source``, ``margin`` (``given``, ``quantiles``),
        ``length`` (``longer_chosen``: share with interval over pairs of different length, ``equal``
        length, ``difference``: quantiles in characters, chosen less rejected),
        ``margin_with_length`` (Spearman's rho with interval), ``agreement`` (by source, as
        :func:`regimen.evaluation.agreement.panel`).
    """
    prompts = [stable_hash(content_of(one.prompt)) for one in pairs]
    longer = np.asarray([_size(one.chosen) - _size(one.rejected) for one in pairs], dtype=np.int64)
    sources = Counter(one.lineage.source for one in pairs)
    return {
        "pairs": len(pairs),
        "prompts": len(set(prompts)),
        "by_source": dict(sorted(sources.items(), key=lambda one: (-one[1], one[0]))),
        "margin": _margins(pairs),
        "length": {
            "longer_chosen": _longer_chosen(longer, prompts),
            "equal": int((longer == 0).sum()),
            "difference": quantiles(longer.tolist()),
        },
        "margin_with_length": _with_length(pairs, longer, prompts),
        "agreement": {name: annotators(some) for name, some in (votes or {}).items()},
    }


def annotators(votes: Votes) -> dict[str, Any]:
    """Agreement of the annotators of one source, each known by its place."""
    most = max(len(said) for _, said in votes)
    raters = {
        f"annotator {place + 1}": [said[place] if place < len(said) else None for _, said in votes]
        for place in range(most)
    }
    return panel(raters, CATEGORIES, [prompt for prompt, _ in votes])


def _size(turns: Sequence[Message]) -> int:
    return sum(map(characters, turns))


def _margins(pairs: Sequence[Preference]) -> dict[str, Any]:
    """How many pairs have a margin, and the quantiles of those."""
    given = [one.margin for one in pairs if one.margin is not None]
    found: dict[str, float] = {}
    if given:
        values = np.quantile(np.asarray(given), QUANTILES, method="inverted_cdf")
        found = {f"{q:g}": float(value) for q, value in zip(QUANTILES, values, strict=True)}
    return {"given": len(given), "quantiles": found}


def _longer_chosen(longer_N: Any, prompts: Sequence[str]) -> dict[str, Any] | None:
    """Share of the pairs of different length whose chosen answer is longer; None without any."""
    apart = np.flatnonzero(longer_N).tolist()
    if not apart:
        return None
    values = [float(longer_N[place] > 0) for place in apart]
    return _json(clustered_rate(values, [prompts[place] for place in apart]))


def _with_length(
    pairs: Sequence[Preference], longer_N: Any, prompts: Sequence[str]
) -> dict[str, Any] | None:
    """Rank correlation of margin and difference in length; None where one of them is constant."""
    places = [place for place, one in enumerate(pairs) if one.margin is not None]
    if len(places) < 3:
        return None
    margin_N = np.asarray([pairs[place].margin for place in places], dtype=np.float64)
    length_N = longer_N[places]

    def rho(rows: Rows) -> float:
        some, other = margin_N[rows], length_N[rows]
        if np.ptp(some) == 0 or np.ptp(other) == 0:
            return math.nan
        return float(stats.spearmanr(some, other).statistic)

    found = jackknife(rho, [prompts[place] for place in places], bounds=(-1.0, 1.0))
    return _json(found) if math.isfinite(found.estimate) else None


def _json(found: Interval) -> dict[str, Any]:
    return {"value": found.estimate, "low": found.low, "high": found.high, "n": found.n}
