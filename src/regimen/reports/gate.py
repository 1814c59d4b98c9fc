"""The gate of a run, as frozen values: ``gate.json``."""

from __future__ import annotations

from dataclasses import dataclass

from regimen.reports.evidence import Estimate, estimate
from regimen.reports.files import Json, mapping, number, whole
from regimen.reports.wording import NONE, bracketed, count, counts, interval, points, signed


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCheck:
    """One check: what was required of what, the word on it and the value behind it."""

    what: str
    requirement: str
    outcome: str
    reason: str
    unit: str
    bound: float | None
    found: Estimate | None
    n: int | None
    clusters: int | None
    seeds: int | None

    @property
    def value(self) -> str:
        """The value with its interval, in the check's unit."""
        if self.found is None:
            return NONE
        if self.unit == "points":
            return points(self.found)
        if self.unit == "share":
            return interval(self.found)
        return bracketed(self.found, 3, signed)

    @property
    def basis(self) -> str:
        """Items, clusters and seeds behind the value."""
        return counts(self.n, self.clusters, self.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """The word for the whole, every check, and what was not checked."""

    verdict: str
    checks: tuple[GateCheck, ...]
    unchecked: tuple[str, ...]

    @property
    def headline(self) -> str:
        """``Gate: fail. 1 of 4 checks fails, 1 cannot be told.``"""
        total = len(self.checks)
        failed = sum(check.outcome == "fail" for check in self.checks)
        unclear = sum(check.outcome == "cannot tell" for check in self.checks)
        met = f"{total - failed - unclear} of {count(total)} checks met"
        return f"Gate: {self.verdict}. {met}, {failed} failed, {unclear} cannot be told."


def read_gate(data: Json) -> GateVerdict | None:
    """The gate of a run; None where none was asked for."""
    verdict = data.get("verdict")
    if not isinstance(verdict, str):
        return None
    checks, unchecked = data.get("checks"), data.get("unchecked")
    return GateVerdict(
        verdict=verdict,
        checks=tuple(_check(mapping(c)) for c in (checks if isinstance(checks, list) else [])),
        unchecked=tuple(map(str, unchecked if isinstance(unchecked, list) else [])),
    )


def _check(data: Json) -> GateCheck:
    return GateCheck(
        what=str(data.get("what") or ""),
        requirement=str(data.get("requirement") or ""),
        outcome=str(data.get("outcome") or ""),
        reason=str(data.get("reason") or ""),
        unit=str(data.get("unit") or ""),
        bound=number(data.get("bound")),
        found=estimate(data, "value"),
        n=whole(data.get("n")),
        clusters=whole(data.get("clusters")),
        seeds=whole(data.get("seeds")),
    )
