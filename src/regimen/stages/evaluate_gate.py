"""``evaluate --gate``: an evaluation held against what the settings ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regimen import console
from regimen.evaluation import criteria
from regimen.evaluation.gate import gate
from regimen.evaluation.gate_tables import check_line, gate_table
from regimen.settings.gate import GateSettings
from regimen.stages.common import read_json


def gate_of(directory: Path, section: GateSettings | None) -> dict[str, Any]:
    """The object of ``gate.json`` for the ``evaluation.json`` in a directory.

    Raises:
        SettingsError: ``gate-unknown``: a criterion names what the evaluation has not.
    """
    asked = criteria_of(section) if section is not None else ()
    return gate(read_json(directory / "evaluation.json"), asked).to_json()


def criteria_of(section: GateSettings) -> tuple[criteria.Criterion, ...]:
    """The criteria of the settings; none stands for the default ones."""
    found: list[criteria.Criterion] = [criteria.Gain(**one.model_dump()) for one in section.gain]
    found += [criteria.NoRegression(**one.model_dump()) for one in section.no_regression]
    if section.retention is not None:
        found.append(criteria.Retention(**section.retention.model_dump()))
    if section.safety is not None:
        safety = section.safety
        if safety.compliance is not None:
            found.append(
                criteria.SafetyRate(
                    rate="compliance", at_most=safety.compliance, system=safety.system
                )
            )
        if safety.over_refusal is not None:
            found.append(
                criteria.SafetyRate(
                    rate="over_refusal", at_most=safety.over_refusal, system=safety.system
                )
            )
    found += [criteria.Score(**one.model_dump()) for one in section.score]
    found += [criteria.StopRate(**one.model_dump()) for one in section.stop_rate]
    return tuple(found)


def say_gate(found: Mapping[str, Any]) -> None:
    """Print the checks as a table, then in words what did not pass and what was not checked."""
    table = gate_table(found)
    console.table(table.title, table.columns, table.rows)
    for check in found["checks"]:
        if check["outcome"] != "pass":
            console.line(check_line(check))
    for text in found["unchecked"]:
        console.line(f"not checked: {text}")
