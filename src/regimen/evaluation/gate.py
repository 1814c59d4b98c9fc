"""The gate: criteria on an evaluation, each pass, fail or cannot tell, and one word for all.

The whole fails if anything fails, cannot be told if something cannot be told and nothing fails,
and passes otherwise. All criteria must pass, so no correction for their number is needed (an
intersection-union test, Berger 1982); "a gain on at least one suite" may pass by any of several,
and rests on Holm's adjusted p-values.

All of it is a pure function of the JSON of ``evaluation.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regimen.evaluation.checks import checks
from regimen.evaluation.criteria import Check, Criterion, Gain, NoRegression, Retention
from regimen.evaluation.margins import Outcome
from regimen.records import SCHEMA_VERSION

Json = Mapping[str, Any]

EXIT_STATUS: Mapping[Outcome, int] = {"pass": 0, "fail": 2, "cannot tell": 3}
"""What ``regimen evaluate --gate`` ends with; 1 is an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All checks, the word for the whole, and what was not looked at."""

    verdict: Outcome
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def exit_status(self) -> int:
        """0 pass, 2 fail, 3 cannot tell."""
        return EXIT_STATUS[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """The object of ``gate.json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "verdict": self.verdict,
            "exit_status": self.exit_status,
            "checks": [asdict(check) for check in self.checks],
            "unchecked": list(self.unchecked),
        }


def gate(evaluation: Json, criteria: Sequence[Criterion] = ()) -> Gate:
    """The verdict of criteria on an evaluation; of :func:`default_criteria` where there are none.

    Raises:
        SettingsError: ``gate-unknown``: a criterion names a suite, system or text that the
            evaluation has not.
    """
    chosen = criteria or default_criteria(evaluation)
    found = tuple(check for one in chosen for check in checks(evaluation, one))
    unchecked = () if criteria else tuple(_unchecked(evaluation))
    return Gate(verdict=overall([c.outcome for c in found]), checks=found, unchecked=unchecked)


def default_criteria(evaluation: Json) -> tuple[Criterion, ...]:
    """Better on one suite, not worse by more than 2 points on any, plain text kept within 5%."""
    kept = (Retention(),) if evaluation.get("retention") else ()
    return (Gain(), NoRegression(), *kept)


def overall(outcomes: Sequence[Outcome]) -> Outcome:
    """One word for several; nothing checked is nothing told."""
    if "fail" in outcomes:
        return "fail"
    return "cannot tell" if "cannot tell" in outcomes or not outcomes else "pass"


def _unchecked(evaluation: Json) -> Iterator[str]:
    """What the default criteria leave out, and how to have it looked at."""
    if not evaluation.get("retention"):
        yield "retention of plain text was not measured: name a text in evaluate.retention"
    if evaluation.get("safety"):
        yield "safety has no default limit: name a highest rate in evaluate.gate.safety"
    else:
        yield "safety was not measured"
    for name, block in evaluation["suites"].items():
        if not block["paired"]:
            yield f"{name} has no score to compare"
