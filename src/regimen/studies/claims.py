"""What was expected, what was measured, and whether it was seen again: verdicts in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from regimen.evaluation.statistics import MIN_CLUSTERS

Expected = Literal["more", "less", "no more"]
Verdict = Literal["reproduced", "not reproduced", "the opposite", "cannot tell", "no evidence"]

MARGIN = 0.02
"""A claim of "no more" allows this much, which would not matter: two points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A difference with its 95% interval over tasks and seeds."""

    difference: float
    low: float | None
    high: float | None
    n: int
    clusters: int
    seeds: int
    resolvable: float | None = None
    seed_sd: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A published or asked effect and what this study found of it.

    ``expected`` is the sign: ``more`` and ``less`` than 0, or ``no more`` than ``margin``.
    """

    name: str
    text: str
    source: str
    expected: Expected
    measured: Measured
    margin: float = MARGIN

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to be said."""
        return verdict_of(self.expected, self.measured, self.margin)

    def as_dict(self) -> dict[str, Any]:
        """As study.json holds it."""
        return {**asdict(self), "verdict": self.verdict}


def verdict_of(expected: Expected, measured: Measured, margin: float = MARGIN) -> Verdict:
    """The words for an interval: none without one, or with fewer than 10 clusters.

    ``more``: reproduced with the whole interval above 0, the opposite with the whole below it.
    ``no more``: reproduced where the interval ends below the margin, not reproduced where it begins
    above 0 and ends beyond the margin.
    """
    low, high = measured.low, measured.high
    if low is None or high is None or measured.clusters < MIN_CLUSTERS:
        return "no evidence"
    if expected == "less":
        low, high = -high, -low
    if expected == "no more":
        if high < margin:
            return "reproduced"
        return "not reproduced" if low > 0 else "cannot tell"
    if low > 0:
        return "reproduced"
    return "the opposite" if high < 0 else "cannot tell"


def in_words(measured: Measured, unit: str = " points") -> str:
    """``+4.1 points [1.2, 7.0]``."""
    words = f"{100 * measured.difference:+.1f}{unit}"
    if measured.low is None or measured.high is None:
        return words
    return f"{words} [{100 * measured.low:.1f}, {100 * measured.high:.1f}]"


def summary(claims: Sequence[Claim]) -> str:
    """How many claims were seen again, and how many of the others for which reason."""
    counts = Counter(claim.verdict for claim in claims)
    parts = [f"{counts.pop('reproduced', 0)} of {len(claims)} claims reproduced"]
    return ", ".join([*parts, *(f"{count} {verdict}" for verdict, count in counts.items())])
