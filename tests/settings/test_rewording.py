"""What a section of rewordings accepts: pytest tests/settings/test_rewording.py."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from regimen.settings import build
from regimen.settings.generators import GeneratorSettings
from regimen.settings.rewording import RewordingSettings

MODEL = {"model": "base"}


def test_a_generator_is_enough() -> None:
    section = RewordingSettings.model_validate({"generator": MODEL})
    assert (section.paraphrases, section.languages) == (2, ())
    assert section.templates
    assert section.definitions
    assert build.GeneratorSettings is GeneratorSettings


def test_languages_are_codes() -> None:
    given = {"generator": MODEL, "languages": ["es", "pt-BR"], "paraphrases": 0}
    assert RewordingSettings.model_validate(given).languages == ("es", "pt-BR")
    with pytest.raises(ValidationError, match=r"languages\.1"):
        RewordingSettings.model_validate(given | {"languages": ["es", "Spanish"]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"paraphrases": 0}, "asks for no wording at all"),
        ({"templates": False}, "asks for no wording at all"),
        (
            {"templates": False, "definitions": False, "languages": ["es"]},
            "asks for no wording at all",
        ),
        ({"generator": {"scripted": "starter"}}, "has no rewordings"),
        ({"generator": {}}, "has none of"),
        ({"paraphrases": 65}, "less than or equal to 64"),
        ({"paraphrase": 1}, "not permitted"),
    ],
)
def test_what_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RewordingSettings.model_validate({"generator": MODEL} | given)


def test_translated_definitions_alone_are_something() -> None:
    given = {"generator": MODEL, "templates": False, "languages": ["es"]}
    assert RewordingSettings.model_validate(given).definitions
