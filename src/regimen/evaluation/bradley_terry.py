"""Strengths of more than two systems from their comparisons: Bradley-Terry.

P(a beats b) = sigmoid(s_a - s_b) with strengths that sum to 0 (Bradley and Terry 1952); a tie is
half a win for each. Intervals are a jackknife over clusters of items, so they know that all
systems answered the same items (as the sandwich variance of Chiang et al. 2024, *Chatbot Arena*,
arXiv 2403.04132, does for votes).

Shape suffixes: N comparisons, S systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from regimen.errors import EvaluationError
from regimen.evaluation.jackknife import Rows, jackknife_all
from regimen.evaluation.logistic import Floats, fit_logistic
from regimen.evaluation.statistics import Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """One comparison: the share of the win that ``a`` got, 0..1, and its cluster."""

    a: str
    b: str
    win: float
    cluster: str


def strengths(contests: Sequence[Contest]) -> dict[str, Interval]:
    """Strength of every system (log-odds against the average system), the strongest first.

    Raises:
        EvaluationError: ``systems-not-compared``, where no chain of comparisons leads from some
            systems to others.
    """
    names = sorted({name for contest in contests for name in (contest.a, contest.b)})
    place = {name: n for n, name in enumerate(names)}
    a_N = np.asarray([place[contest.a] for contest in contests])
    b_N = np.asarray([place[contest.b] for contest in contests])
    y_N = np.asarray([contest.win for contest in contests], dtype=np.float64)
    _require_connected(names, a_N, b_N)

    def estimate(rows: Rows) -> Floats:
        x_NS = np.zeros((len(rows), len(names)))
        x_NS[np.arange(len(rows)), a_N[rows]] += 1
        x_NS[np.arange(len(rows)), b_N[rows]] -= 1
        found_S = fit_logistic(x_NS, y_N[rows])
        return np.asarray(found_S - found_S.mean())

    found = jackknife_all(estimate, [contest.cluster for contest in contests])
    by_name = dict(zip(names, found, strict=True))
    return dict(sorted(by_name.items(), key=lambda pair: (-pair[1].estimate, pair[0])))


def _require_connected(
    names: Sequence[str], a_N: npt.NDArray[np.int64], b_N: npt.NDArray[np.int64]
) -> None:
    graph = coo_matrix((np.ones(len(a_N)), (a_N, b_N)), shape=(len(names), len(names)))
    parts, part_S = connected_components(graph, directed=False)
    if parts > 1:
        apart = [name for name, part in zip(names, part_S, strict=True) if part != part_S[0]]
        raise EvaluationError(
            "Some systems were never compared with the others, so they have no common scale.",
            slug="systems-not-compared",
            got=f"{', '.join(apart)} apart from {names[0]}",
            expected="a chain of comparisons between any two systems",
            fix="Compare each of them with one that the others were compared with.",
        )
