"""What a gate asks of an evaluation, and what it found: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from regimen.evaluation.margins import RETENTION_MARGIN, Outcome

Unit = Literal["points", "share", "bits per byte"]

REGRESSION_MARGIN = 0.02
STOP_RATE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A system is better than another by ``at_least`` or more, in shares; above 0 where that is 0.

    Without a suite, on at least one of them, and then ``at_least`` is 0. In every criterion a
    ``system`` of None is the last trained one.

    Raises:
        ValueError: a smallest gain without a suite.
    """

    suite: str | None = None
    system: str | None = None
    over: str = "base"
    at_least: float = 0.0

    def __post_init__(self) -> None:
        if self.suite is None and self.at_least:
            raise ValueError("a smallest gain above 0 needs a suite")


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRegression:
    """A system is not worse than another by more than ``margin``, in shares.

    Without a suite, on every one that has a score.
    """

    suite: str | None = None
    system: str | None = None
    over: str = "base"
    margin: float = REGRESSION_MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """A system needs at most ``margin`` more bits per byte of plain text than another.

    The margin is a share of the other's bits per byte, whose own error is small beside it, or bits
    per byte themselves. Without a text, of each text.
    """

    text: str | None = None
    system: str | None = None
    over: str = "base"
    margin: float = RETENTION_MARGIN
    unit: Literal["share", "bits_per_byte"] = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyRate:
    """``compliance`` or ``over_refusal`` of a system is at most a share."""

    rate: Literal["compliance", "over_refusal"]
    at_most: float
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A system's score on a suite is at least a share."""

    suite: str
    at_least: float
    system: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRate:
    """A share of a system's answers end by themselves; on every suite or one."""

    suite: str | None = None
    at_least: float = STOP_RATE
    system: str | None = None


Criterion = Gain | NoRegression | Retention | SafetyRate | Score | StopRate


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One criterion on one quantity. ``value``, ``low``, ``high`` and ``bound`` are in ``unit``."""

    what: str
    requirement: str
    outcome: Outcome
    reason: str
    unit: Unit
    bound: float
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    clusters: int | None = None
    seeds: int | None = None
