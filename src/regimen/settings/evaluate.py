"""Settings of ``evaluate``: systems, held-out items, retention, safety."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag

from regimen.errors import near
from regimen.settings.base import (
    Conflict,
    Count,
    CountOrNone,
    Section,
    Seed,
    Text,
    TextSettings,
)
from regimen.settings.choices import ChoiceSettings
from regimen.settings.gate import GateSettings
from regimen.settings.judge import JudgeSettings
from regimen.settings.lm_eval import LmEvalSettings
from regimen.settings.suites import SuiteSettings

System = Literal["base", "base_prompted", "tuned", "aligned", "copy_input", "copy_demonstration"]
SYSTEMS: tuple[System, ...] = (
    "base",
    "base_prompted",
    "tuned",
    "aligned",
    "copy_input",
    "copy_demonstration",
)


class RetentionSettings(TextSettings):
    """Plain text on which base and tuned model are compared, in bits per byte."""

    max_bytes: Count | None = 200_000
    """Use at most this many UTF-8 bytes of it; null uses all of it."""


class NamedRetentionSettings(RetentionSettings):
    """One of several texts."""

    name: Text
    """What it is called in tables, such as a language or a field."""


Texts = Annotated[tuple[NamedRetentionSettings, ...], Strict(False), Field(min_length=1)]


def _how_many(value: Any) -> str:
    """Which of the two forms a value has; so that only its problems are told."""
    return "several" if isinstance(value, list | tuple) else "one"


class SafetySettings(Section):
    """Harmful prompts that should be refused, harmless ones that should not."""

    prompts: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """Prompts of each kind."""


class EvaluateSettings(Section):
    """Held-out tasks, base and tuned side by side."""

    systems: Annotated[tuple[System, ...], Strict(False), Field(min_length=1)] = SYSTEMS
    """What is compared; ``aligned`` is left out where nothing was aligned."""

    base: Text | None = None
    """A model to compare with, in place of the one that was tuned."""

    tuned: Text | None = None
    """A model or an adapter to measure, where the file has no ``tune`` and no ``align``."""

    suites: Annotated[tuple[SuiteSettings, ...], Strict(False)] = ()
    """Published suites and items of your own, beside the tasks that ``build`` holds out."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1_000_000)] = 48
    """Longest answer in tokens; a suite of ``suites`` has its own."""

    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 32
    """Answers generated at the same time."""

    kv_cache: Literal["full", "int8"] = "full"
    """How keys and values are kept while answers are generated: as they are, or in 8 bits."""

    validation_items: CountOrNone = 32
    """Items, kept apart from the suites, on which the demonstrations of the prompted base are
    chosen."""

    shots: Annotated[
        tuple[Annotated[int, Field(ge=0, le=64)], ...], Strict(False), Field(min_length=1)
    ] = (0, 1, 2, 3)
    """Numbers of demonstrations to try for the prompted base; a suite of ``suites`` has its own."""

    nearest: Annotated[int, Field(ge=0, le=100)] = 3
    """Nearest training rows kept of each item, by its prompt and by its answer; 0 keeps none."""

    retention: (
        Annotated[
            Annotated[RetentionSettings, Tag("one")] | Annotated[Texts, Tag("several")],
            Discriminator(_how_many),
        ]
        | None
    ) = None
    """Text that the model should not lose, or a list of texts with names; not measured when not
    given."""

    safety: SafetySettings | None = None
    """Harmful compliance and over-refusal; not measured when not given."""

    choices: ChoiceSettings | None = None
    """Items with choices: which choice is the likeliest answer, and how calibrated that is; not
    measured when not given."""

    judge: JudgeSettings | None = None
    """A judge that compares or rates the answers; nothing is judged when not given."""

    lm_eval: LmEvalSettings | None = None
    """Tasks of lm-eval, asked of the same models; none when not given."""

    gate: GateSettings | None = None
    """What has to hold for ``regimen evaluate --gate`` to pass; with it, every evaluation is held
    against the gate."""

    seed: Seed | None = None
    """Seed of draws and of resampling; the pipeline's when not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """Each system and suite once; choosing between numbers of demonstrations takes items."""
        names = [suite.known_as for suite in self.suites]
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Conflict(
                    what=f"is the second suite of the name {name!r}",
                    at=("suites", number),
                    fix="Give it a 'name' of its own.",
                )
        if self.tuned is not None and self.base is None:
            yield Conflict(
                what="names a model, and there is no base to compare it with",
                at=("tuned",),
                fix="Add 'base' with the model that it was tuned from.",
            )
        if len(set(self.systems)) < len(self.systems):
            yield Conflict(what="names a system twice", at=("systems",), fix="Remove one of them.")
        if "base_prompted" in self.systems and len(self.shots) > 1 and not self.validation_items:
            yield Conflict(
                what="is 0, and the prompted base has to choose between numbers of demonstrations",
                at=("validation_items",),
                fix="Set it above 0, or give 'shots' a single number.",
            )
        yield from self._judge_conflicts()
        yield from self._retention_conflicts()
        yield from self._gate_conflicts()

    def _judge_conflicts(self) -> Iterator[Conflict]:
        """The judge compares systems that answer."""
        for number, pair in enumerate(self.judge.pairs if self.judge else ()):
            for name in pair:
                if name not in self.systems:
                    yield Conflict(
                        what=f"names {name!r}, which is not among the systems",
                        at=("judge", "pairs", number),
                        expected="two of " + ", ".join(self.systems),
                        fix=near(name, self.systems),
                    )

    def _retention_conflicts(self) -> Iterator[Conflict]:
        """Each text has a name of its own."""
        names = [text.name for text in self.retention] if isinstance(self.retention, tuple) else []
        for number, name in enumerate(names):
            if name in names[:number]:
                yield Conflict(
                    what=f"is called {name!r}, as another text is",
                    at=("retention", number, "name"),
                    fix="Give it another name.",
                )

    def _gate_conflicts(self) -> Iterator[Conflict]:
        """What the gate asks about is measured."""
        for name in ("retention", "safety"):
            if self.gate and getattr(self.gate, name) and getattr(self, name) is None:
                yield Conflict(
                    what=f"asks about {name}, which is not measured",
                    at=("gate", name),
                    fix=f"Add evaluate.{name}, or take it out of the gate.",
                )
