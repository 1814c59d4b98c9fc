"""One bound on one quantity, decided by its 95% interval: pass, fail or cannot tell.

Non-inferiority by interval: "not worse by more than the margin" is passed where even the bad end
of the interval is within the margin, failed where even the good end is beyond it, and cannot be
told otherwise; "no difference shown" alone passes nothing, because a small evaluation shows none
(Piaggio et al. 2012, *CONSORT statement for noninferiority trials*). Each such word is wrong in
2.5% of repetitions at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from regimen.evaluation.statistics import MIN_CLUSTERS

Outcome = Literal["pass", "fail", "cannot tell"]

RETENTION_MARGIN = 0.05
"""Bits per byte that a tuning may cost by default, as a share of the base's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an interval says about a bound, and why, in words."""

    outcome: Outcome
    reason: str


def decide(
    low: float | None,
    high: float | None,
    clusters: int | None,
    bound: float,
    *,
    at_most: bool = False,
    strict: bool = False,
    show: Callable[[float], str] = lambda value: f"{value:.4g}",
) -> Decision:
    """Whether a quantity with this 95% interval is at least (``at_most``: at most) the bound.

    Args:
        low, high: of the interval; None without one.
        clusters: what the interval rests on; None where it is not known, which tells nothing.
        bound: in the quantity's unit.
        at_most: the bound is an upper one.
        strict: a quantity equal to the bound fails (a gain of 0 is none).
        show: a value of the quantity in words.
    """
    if low is None or high is None or clusters is None:
        return Decision(outcome="cannot tell", reason="there is no interval")
    if clusters < MIN_CLUSTERS:
        reason = f"no evidence: {clusters} clusters, and {MIN_CLUSTERS} are needed"
        return Decision(outcome="cannot tell", reason=reason)
    if low == high != 0:
        reason = "no evidence: no spread, so the interval has width 0"
        return Decision(outcome="cannot tell", reason=reason)
    bad, good = (-high, -low) if at_most else (low, high)
    limit = -bound if at_most else bound
    if bad > limit or (bad == limit and not strict):
        return Decision(outcome="pass", reason=f"all of the interval is {_side(at_most)} the bound")
    if good < limit or (good == limit and strict):
        side = _side(not at_most)
        return Decision(outcome="fail", reason=f"all of the interval is {side} the bound")
    return Decision(outcome="cannot tell", reason=f"the interval has {show(bound)} inside")


def _side(below: bool) -> str:
    return "below" if below else "above"
