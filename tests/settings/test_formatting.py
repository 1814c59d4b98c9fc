"""The formatting section and the dataclass it becomes: pytest tests/settings/test_formatting.py."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from regimen.instances.encodings import FormattingSpec
from regimen.instances.options import MIXED, STYLES
from regimen.settings.formatting import FormattingSettings, OptionLabels
from regimen.stages.asked import formatting_spec

LABELS = {field.name for field in fields(FormattingSpec) if field.name.endswith("_label")}


def problems(**values: Any) -> list[tuple[str, ...]]:
    """Where the section is refused."""
    with pytest.raises(ValidationError) as caught:
        FormattingSettings(**values)
    found: list[tuple[str, ...]] = []
    for error in caught.value.errors():
        conflicts = getattr(error.get("ctx", {}).get("error"), "found", ())
        found += [conflict.at for conflict in conflicts] or [tuple(map(str, error["loc"]))]
    return found


def test_settings_and_dataclass_have_the_same_fields_and_defaults() -> None:
    spec = {field.name: field.default for field in fields(FormattingSpec)}
    section = {name: one.default for name, one in FormattingSettings.model_fields.items()}
    # the scaffolding has no settings, and the tokenizer is no part of the format
    assert spec.keys() - LABELS == section.keys() - {"tokenizer"}
    assert {name: spec[name] for name in spec.keys() - LABELS} == {
        name: value for name, value in section.items() if name != "tokenizer"
    }
    assert formatting_spec(FormattingSettings()) == FormattingSpec()


def test_every_style_of_labels_can_be_asked_for() -> None:
    assert set(get_args(OptionLabels)) == {*STYLES, MIXED}


@pytest.mark.parametrize(
    "values",
    [
        {"positive": [0, 0, 1, 3], "negative": 2, "explanations": True},
        {"positive": 0},
        {"templates": "all"},
        {"templates": 3},
        {"inverted_share": 0.0},
        {"max_tokens": 64, "tokenizer": "base"},
        {"encoding": "tk_instruct"},
        {"encoding": "template", "positive": 2},
        {"encoding": "mixed", "negative": 1, "reasons": True, "suggestions": True},
    ],
)
def test_what_is_accepted(values: dict[str, Any]) -> None:
    spec = formatting_spec(FormattingSettings(**values))
    for name, value in values.items():
        if name != "tokenizer":
            expected = tuple(value) if isinstance(value, list) else value
            assert getattr(spec, name) == expected


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"positive": []}, "positive"),
        ({"positive": -1}, "positive"),
        ({"positive": 65}, "positive"),
        ({"positive": [0, 1.5]}, "positive"),
        ({"templates": 0}, "templates"),
        ({"template_pool": 0, "encoding": "template"}, "template_pool"),
        ({"templates": "some"}, "templates"),
        ({"template_share": 1.1}, "template_share"),
        ({"inverted_share": -0.1}, "inverted_share"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_characters": 0}, "max_characters"),
        ({"option_labels": "B."}, "option_labels"),
        ({"instruction_language": ""}, "instruction_language"),
        ({"shots": 3}, "shots"),
    ],
)
def test_what_is_refused(values: dict[str, Any], at: str) -> None:
    assert {place[0] for place in problems(**values)} == {at}


@pytest.mark.parametrize(
    ("values", "at"),
    [
        ({"explanations": True}, "explanations"),
        ({"suggestions": True}, "suggestions"),
        ({"order": "input_first", "encoding": "template"}, "order"),
        ({"order": "input_first", "encoding": "natural_instructions"}, "order"),
        ({"encoding": "tk_instruct", "positive": 2}, "encoding"),
        ({"encoding": "tk_instruct", "reasons": True}, "reasons"),
        ({"encoding": "natural_instructions", "negative": 1, "suggestions": True}, "suggestions"),
        ({"encoding": "template", "negative": 1}, "negative"),
        ({"encoding": "template", "positive": 1, "explanations": True}, "explanations"),
        ({"encoding": "template", "avoid": True}, "avoid"),
        ({"encoding": "template", "task_name": True}, "task_name"),
        ({"template_pool": 2}, "template_pool"),
        ({"template_pool": 2, "encoding": "tk_instruct"}, "template_pool"),
        ({"tokenizer": "base"}, "tokenizer"),
    ],
)
def test_what_would_change_nothing_is_a_conflict(values: dict[str, Any], at: str) -> None:
    assert problems(**values) == [(at,)]
