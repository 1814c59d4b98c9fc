"""Settings of rewording: templates and definitions in other words and other languages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, Strict

from regimen.settings.base import Conflict, Section
from regimen.settings.generators import GeneratorSettings

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")]
"""A language code such as ``en`` or ``pt-BR``."""


class RewordingSettings(Section):
    """Paraphrases and translations of a task's templates, translations of its definition."""

    generator: GeneratorSettings
    """Who writes them; ``generator.max_new_tokens`` is the longest wording in tokens."""

    paraphrases: Annotated[int, Field(ge=0, le=64)] = 2
    """Paraphrases to ask for of each template."""

    languages: Annotated[tuple[LanguageCode, ...], Strict(False)] = ()
    """Languages to translate into, as codes; a text is not translated into its own language."""

    templates: bool = True
    """Reword the templates."""

    definitions: bool = True
    """Translate the definitions. They get no paraphrases: a task has one for each language."""

    def conflicts(self) -> Iterator[Conflict]:
        """Something must be asked for, and the starter material has no rewordings."""
        of_templates = self.templates and (self.paraphrases > 0 or bool(self.languages))
        if not of_templates and not (self.definitions and self.languages):
            yield Conflict(
                what="asks for no wording at all",
                expected="paraphrases above 0 with templates, or languages",
                fix="Set 'paraphrases' above 0 and 'templates' to true, or name 'languages'.",
            )
        if self.generator.scripted == "starter":
            yield Conflict(
                what="has no rewordings: the starter material answers Self-Instruct alone",
                at=("generator", "scripted"),
                expected="a JSON file of answers by request id",
                fix="Name a file, a model or an endpoint.",
            )
