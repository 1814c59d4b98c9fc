"""``verify``: the exactness contracts on the models and rows that a settings file names."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from regimen import console
from regimen.errors import ContractError, DataError, SettingsError
from regimen.models.hardware import set_up
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.subjects import align_subject, tune_subject
from regimen.verifying.contracts import NAMES, Checked, all_not_run, check
from regimen.verifying.outcomes import Outcome
from regimen.verifying.rows import size, supervised
from regimen.verifying.subject import Subject

COLUMNS = ("contract", "compared", "difference", "tolerance", "verdict")
VERDICTS = ("holds", "broken", "not applicable", "not run")


def verify(settings: PipelineSettings) -> dict[str, Any]:
    """Check every contract for ``tune`` and for ``align``, as far as the settings have them.

    Everything is computed in fp32 on the CPU. Nothing is written but temporary files.

    Returns:
        What ``--json`` prints: each contract with its measurements, and how many there are of each
        verdict.

    Raises:
        SettingsError: the settings name no model.
        DataError: there is no row to check anything on.
        ModelError, AdapterError, TokenError, TrainingError: the model cannot be trained.
    """
    began = time.perf_counter()
    subjects = dict.fromkeys(settings.tunings, tune_subject)
    if settings.align is not None:
        subjects["align"] = align_subject
    if not subjects:
        raise SettingsError(
            "There is no model to verify.",
            slug="section-missing",
            got=", ".join(settings.stages),
            fix="Add a 'tune' or an 'align' section.",
        )
    set_up()
    checked = [
        one for name, make in subjects.items() for one in _checked(name, make(settings, name))
    ]
    if not any(one.outcome.measurements for one in checked):
        raise DataError(
            "No contract could be checked.",
            slug="nothing-to-verify",
            got="; ".join(dict.fromkeys(one.outcome.reason for one in checked)),
            fix="Run `regimen build` first, or name data with tune.data or align.data.",
        )
    counts = Counter(str(one.outcome.verdict) for one in checked)
    return {
        "contracts": [_as_json(one) for one in checked],
        **{verdict.replace(" ", "_"): counts[verdict] for verdict in VERDICTS},
        "seconds": round(time.perf_counter() - began, 2),
    }


def broken(result: Mapping[str, Any]) -> ContractError | None:
    """The error that a broken contract ends the command with, if one is broken."""
    names = [
        f"{one['section']}: {one['contract']}"
        for one in result["contracts"]
        if one["verdict"] == "broken"
    ]
    if not names:
        return None
    return ContractError(
        "Training does not compute what it should with this model and these settings.",
        slug="contract-broken",
        got="; ".join(names),
        expected="every difference within its tolerance",
        fix="Do not rely on it before the cause is found; report the table with config.json.",
    )


def _checked(section: str, subject: Subject | str) -> list[Checked]:
    """Check one section and print what was found."""
    if isinstance(subject, str):
        found = list(all_not_run(section, subject))
        console.line(f"{section}: no contract was checked, because {subject}")
        return found
    console.line(f"{section}: {subject.about}")
    found = []
    with console.progress(len(NAMES), f"verify {section}", "contracts") as bar:
        for one in check(subject):
            found.append(one)
            bar.advance(1)
    tokens = sum(size(row) for row in subject.rows)
    learnt = supervised(subject.rows)
    console.table(
        f"{section}: {len(subject.rows)} rows, {tokens:,} tokens, {learnt:,} learnt",
        COLUMNS,
        [line for one in found for line in _lines(one.contract, one.outcome)],
    )
    for one in found:
        for text in _remarks(one.outcome):
            console.line(f"{section}: {one.contract}: {text}")
    return found


def _lines(contract: str, outcome: Outcome) -> list[list[str]]:
    """Rows of the table: one for each measurement, or one that says that there is none."""
    if not outcome.measurements:
        return [[contract, "", "", "", outcome.verdict]]
    return [
        [
            "" if place else contract,
            measured.compared,
            f"{measured.difference:.1e}" if measured.difference else "0",
            f"{measured.tolerance:.0e}" if measured.tolerance else "0",
            "holds" if measured.holds else "broken",
        ]
        for place, measured in enumerate(outcome.measurements)
    ]


def _remarks(outcome: Outcome) -> list[str]:
    """What does not fit the table: reasons, and where a difference is largest."""
    remarks = [outcome.reason] if outcome.reason else []
    if not outcome.measurements:
        remarks = [f"{outcome.verdict}: {outcome.reason}"]
    return remarks + [
        f"broken: {measured.compared}: the largest difference is in {measured.where}"
        for measured in outcome.measurements
        if measured.where and not measured.holds
    ]


def _as_json(one: Checked) -> dict[str, Any]:
    return {
        "section": one.section,
        "contract": one.contract,
        "verdict": one.outcome.verdict,
        "reason": one.outcome.reason,
        "measurements": [
            {
                "compared": measured.compared,
                # JSON has no infinity; what is not finite does not hold, and ``where`` says why
                "difference": measured.difference if math.isfinite(measured.difference) else None,
                "tolerance": measured.tolerance,
                "holds": measured.holds,
                "where": measured.where,
            }
            for measured in one.outcome.measurements
        ],
    }
