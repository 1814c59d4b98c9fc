"""Ways of asking on top of the formatting of the build: pytest tests/settings/test_asked.py."""

from __future__ import annotations

from typing import Any

import pytest

from regimen.errors import SettingsError
from regimen.settings.asked import asked_formatting
from regimen.settings.build import BuildSettings
from regimen.settings.loading import differing, resolved, settings_from


def data(asked: dict[str, Any], **formatting: Any) -> dict[str, Any]:
    held = {"share": 0.1, "asked": asked}
    return {
        "build": {"sources": [{"starter": "tasks"}], "formatting": formatting, "held_out": held}
    }


def merged(own: dict[str, Any], **formatting: Any) -> dict[str, Any]:
    """The fields of the way ``x`` that are not the defaults."""
    section = settings_from(data({"x": own}, **formatting)).build
    assert isinstance(section, BuildSettings)
    found = asked_formatting(section.formatting, section.held_out.asked["x"])
    return found.model_dump(exclude_defaults=True)


@pytest.mark.parametrize(
    ("own", "formatting", "found"),
    [
        ({}, {}, {}),
        ({"positive": 2}, {"avoid": True}, {"positive": 2, "avoid": True}),
        ({"avoid": False}, {"avoid": True}, {}),
        ({}, {"positive": [3, 1, 2], "explanations": True}, {"positive": 1, "explanations": True}),
        # nothing shows what is explained, or has a place for it: left out, as it was not given here
        ({}, {"positive": [0, 1], "explanations": True}, {}),
        (
            {"encoding": "template"},
            {"negative": 2, "order": "input_first"},
            {"encoding": "template"},
        ),
        ({}, {"encoding": "mixed", "template_share": 0.5, "inverted_share": 0.1}, {}),
        (
            {"positive": 2},
            {"encoding": "tk_instruct"},
            {"encoding": "natural_instructions", "positive": 2},
        ),
        ({}, {"encoding": "template", "templates": 3}, {"encoding": "template", "templates": 3}),
        ({}, {"chain_of_thought": "reasoning"}, {}),
        ({}, {"chain_of_thought": "before", "chain_of_thought_share": 0.5, "reference": "random"},
         {"chain_of_thought": "before"}),
        ({"max_tokens": None}, {"max_tokens": 64, "tokenizer": "base"}, {}),
    ],
)  # fmt: skip
def test_what_is_given_goes_over_what_the_build_says(
    own: dict[str, Any], formatting: dict[str, Any], found: dict[str, Any]
) -> None:
    assert merged(own, **formatting) == found


def test_what_is_not_given_is_not_written() -> None:
    asked = {"plain": {}, "bare": {"positive": 0, "encoding": "definition"}}
    settings = settings_from(data(asked, positive=2))
    for told in (resolved(settings), differing(settings)):
        assert told["build"]["held_out"]["asked"] == asked
    assert resolved(settings_from(resolved(settings))) == resolved(settings)


def test_everything_that_no_test_can_ask_is_told_at_once() -> None:
    asked = {
        "a": {"encoding": "mixed", "inverted_share": 0.1},
        "b": {"encoding": "template", "avoid": True, "negative": 1},
        "c": {"positive": [1, 2], "templates": 2},
        "d": {"explanations": True},
        "e": {"order": "input_first", "chain_of_thought": "reasoning"},
        "f": {"reference": "random", "template_share": 0.1, "chain_of_thought_share": 0.5},
    }
    with pytest.raises(SettingsError) as caught:
        settings_from(data(asked, encoding="natural_instructions"))
    message = str(caught.value)
    places = [
        *("a.encoding", "a.inverted_share", "b.avoid", "b.negative", "c.positive", "c.templates"),
        *("d.explanations", "e.order", "e.chain_of_thought", "f.reference", "f.template_share"),
        "f.chain_of_thought_share",
    ]
    assert message.count("[settings-conflict]") == len(places)
    for place in places:
        assert f"build.held_out.asked.{place}:" in message
    with pytest.raises(SettingsError, match=r"build\.held_out\.asked\.x\.positiv"):
        settings_from(data({"x": {"positiv": 2}}))
    with pytest.raises(SettingsError, match="settings-pattern"):
        settings_from(data({"a@b": {}}))
