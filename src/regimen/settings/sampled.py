"""Settings that every section has in common that asks a generator for answers to prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from regimen.settings.base import Conflict, Count, Section, Text
from regimen.settings.generators import GeneratorSettings


class AnsweredSettings(Section):
    """Prompts, and who answers them."""

    generator: GeneratorSettings
    """Whose answers they are."""

    prompts: Text | None = None
    """A file of prompts: rows with ``prompt`` (or ``messages``) and, where the score needs them,
    ``references``. The rows of training tasks when not given."""

    limit: Count = 200
    """Most prompts."""

    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sample from the likeliest tokens that have this share of the probability."""

    keep_cut: bool = False
    """Keep answers that end at the longest length instead of by themselves."""

    def conflicts(self) -> Iterator[Conflict]:
        """The starter has no answers to prompts."""
        if self.generator.scripted == "starter":
            yield Conflict(
                what="is 'starter', whose answers are instructions",
                at=("generator", "scripted"),
                fix="Name a model, an endpoint or a JSON file of answers.",
            )


class SampledSettings(AnsweredSettings):
    """Prompts, each answered several times."""

    samples: Annotated[int, Field(ge=2, le=256)] = 4
    """Answers to each prompt."""

    def conflicts(self) -> Iterator[Conflict]:
        """As above; samples must differ."""
        if self.generator.temperature == 0:
            yield Conflict(
                what="is 0, so that all samples of a prompt are the same",
                at=("generator", "temperature"),
                expected="above 0",
            )
        yield from super().conflicts()
