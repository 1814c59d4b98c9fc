"""Win rates as they would be if both answers were equally long, and the bias to length itself.

AlpacaEval 2 (Dubois et al. 2024, arXiv 2404.04475, eq. 2): the preference for system a on item x
is fitted by

    logit p = theta + phi * tanh((len a - len b) / sd of (len a - len b)) + psi * difficulty_x

and the length-controlled win rate is the mean of p over the items with the length term at zero.
The difficulty of an item is a number centred on 0 that other systems' comparisons gave
(:func:`instruction_difficulty`); without it its term is left out, as it is with one comparison.
The interval is a clustered jackknife of the logit of the win rate.

The control is as good as its model: a system whose longer answers are also better is charged for
what the judge likes in them, and a length that does not vary cannot be controlled.

Shape suffixes: N items, S systems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from regimen.evaluation.jackknife import Rows, jackknife
from regimen.evaluation.logistic import Floats, fit_logistic, sigmoid
from regimen.evaluation.statistics import Interval, clustered_rate

# Log-odds beyond which a win rate is 0 or 1 for any purpose; keeps the jackknife finite.
FARTHEST = 16.0
ROUNDS = 60
DIFFICULTY_RIDGE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthControl:
    """A win rate at equal lengths, and how much length decided.

    ``effect`` is phi, the log-odds of the length term; ``longer_wins`` the share of decided
    comparisons of unequal lengths that the longer answer won, None without any.
    """

    win_rate: Interval
    effect: float
    longer_wins: Interval | None


def length_control(
    wins_N: Sequence[float],
    lengths_N: Sequence[tuple[int, int]],
    clusters: Sequence[str],
    *,
    difficulty_N: Sequence[float] | None = None,
) -> LengthControl:
    """The length-controlled win rate of the first system.

    Args:
        wins_N: 1 where it wins, 0 where it loses, 0.5 or another share for ties.
        lengths_N: lengths of both answers, in characters.
        clusters: the cluster of each item.
        difficulty_N: of each item, centred on 0; not used when not given.
    """
    y_N = np.asarray(wins_N, dtype=np.float64)
    gap_N = np.asarray([a - b for a, b in lengths_N], dtype=np.float64)
    other_N = None if difficulty_N is None else np.asarray(difficulty_N, dtype=np.float64)

    def logit(rows: Rows) -> float:
        return _controlled(y_N[rows], gap_N[rows], None if other_N is None else other_N[rows])[0]

    return LengthControl(
        win_rate=jackknife(logit, clusters, show=_rate),
        effect=_controlled(y_N, gap_N, other_N)[1],
        longer_wins=longer_wins(y_N, gap_N, clusters),
    )


def _controlled(y_N: Floats, gap_N: Floats, other_N: Floats | None) -> tuple[float, float]:
    """Logit of the mean win rate at equal lengths, and the length effect."""
    spread = float(gap_N.std()) if len(gap_N) else 0.0
    columns = [np.ones(len(y_N))]
    columns += [np.tanh(gap_N / spread)] if spread > 0 else []
    columns += [] if other_N is None else [other_N]
    b_P = fit_logistic(np.stack(columns, axis=1), y_N)
    level_N = np.full(len(y_N), b_P[0])
    if other_N is not None:
        level_N = level_N + b_P[-1] * other_N
    rate = float(sigmoid(level_N).mean())
    logit = math.log(rate) - math.log1p(-rate) if 0 < rate < 1 else math.copysign(99.0, rate - 0.5)
    return max(-FARTHEST, min(FARTHEST, logit)), float(b_P[1]) if spread > 0 else 0.0


def _rate(logit: float) -> float:
    return float(sigmoid(np.asarray(logit)))


def longer_wins(y_N: Floats, gap_N: Floats, clusters: Sequence[str]) -> Interval | None:
    """Share of decided comparisons of unequal lengths that the longer answer won."""
    rows = np.flatnonzero((gap_N != 0) & (y_N != 0.5)).tolist()
    if not rows:
        return None
    won = ((y_N[rows] > 0.5) == (gap_N[rows] > 0)).astype(np.float64)
    return clustered_rate(won, [clusters[row] for row in rows])


def instruction_difficulty(wins: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """How readily each item is won by the systems that were compared with one baseline.

    The item's term of logit p = theta_system + difficulty_item, with a ridge of one on the items
    and centred on 0; positive where systems win more often than they do elsewhere.

    Args:
        wins: ``wins[system][item_id]`` in 0..1; items may be missing.
    """
    systems, items = sorted(wins), sorted({key for own in wins.values() for key in own})
    place = {key: n for n, key in enumerate(items)}
    triples = [(s, place[k], y) for s, name in enumerate(systems) for k, y in wins[name].items()]
    if not triples:
        return {}
    s_M = np.asarray([s for s, _, _ in triples])
    i_M = np.asarray([i for _, i, _ in triples])
    y_M = np.asarray([y for _, _, y in triples])
    theta_S, gamma_I = np.zeros(len(systems)), np.zeros(len(items))
    for _ in range(ROUNDS):
        theta_S = _newton(theta_S, s_M, gamma_I[i_M], y_M, 1e-3)
        gamma_I = _newton(gamma_I, i_M, theta_S[s_M], y_M, DIFFICULTY_RIDGE)
        gamma_I -= gamma_I.mean()
    return dict(zip(items, gamma_I.tolist(), strict=True))


def _newton(
    b_P: Floats, owner_M: npt.NDArray[np.int64], offset_M: Floats, y_M: Floats, ridge: float
) -> Floats:
    """One damped Newton step of every parameter alone, the others being fixed."""
    p_M = sigmoid(b_P[owner_M] + offset_M)
    slope_P = np.bincount(owner_M, weights=y_M - p_M, minlength=len(b_P)) - ridge * b_P
    curve_P = np.bincount(owner_M, weights=p_M * (1 - p_M), minlength=len(b_P)) + ridge
    return np.asarray(b_P + np.clip(slope_P / curve_P, -1.0, 1.0))
