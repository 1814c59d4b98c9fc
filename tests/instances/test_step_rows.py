"""Rows with labels for steps: pytest tests/instances/test_step_rows.py."""

from __future__ import annotations

from typing import Any

import pytest

from regimen.instances.format_columns import detect_format
from regimen.instances.step_rows import stepwise_row
from regimen.instances.turns import Unusable
from regimen.records import Lineage


def row(**values: Any) -> dict[str, Any]:
    return {"prompt": "2 + 3?", "steps": ["2 + 3 = 5", "So 5."], "labels": [True, 0.25]} | values


def test_steps_with_labels() -> None:
    found = stepwise_row(row(), Lineage(source="s"), 2.0)
    assert (found.steps, found.labels) == (("2 + 3 = 5", "So 5."), (1.0, 0.25))
    assert found.prompt[0].text == "2 + 3?"
    assert found.weight == 2.0
    assert found.lineage.verdicts == ()


def test_columns_as_others_publish_them() -> None:
    values = {"prompt": "q", "completions": ["a", "b\n c "], "labels": [True, False]}
    assert detect_format(values) == "stepwise"
    assert detect_format(row()) == "stepwise"
    found = stepwise_row(values, Lineage(), 1.0)
    assert found.steps == ("a", "b c")
    assert found.lineage.verdicts == ("step_lines_joined:1",)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"steps": "one"}, "not_steps"),
        ({"steps": []}, "not_steps"),
        ({"steps": ["a", 2]}, "not_steps"),
        ({"labels": [True]}, "steps_without_labels"),
        ({"labels": None}, "steps_without_labels"),
        ({"steps": ["a", " "]}, "empty_step"),
        ({"labels": [True, 1.5]}, "bad_step_label"),
        ({"labels": [True, "right"]}, "bad_step_label"),
        ({"prompt": None}, "no_prompt"),
    ],
)
def test_what_cannot_be_used_says_why(values: dict[str, Any], error: str) -> None:
    with pytest.raises(Unusable) as caught:
        stepwise_row(row(**values), Lineage(), 1.0)
    assert caught.value.error == error
