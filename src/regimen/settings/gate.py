"""Settings of the gate: what an evaluation has to show for ``evaluate --gate`` to pass."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from regimen.settings.base import Conflict, Section, Share, Text


class GainSettings(Section):
    """A system has to be better than another."""

    suite: Text | None = None
    """On this suite; on at least one of them when not given."""

    system: Text | None = None
    """The last trained system when not given."""

    over: Text = "base"
    """What it is compared with."""

    at_least: Share = 0.0
    """By so much or more, as a share: 0.05 are 5 points."""

    def conflicts(self) -> Iterator[Conflict]:
        """How much better is asked of one suite at a time."""
        if self.suite is None and self.at_least:
            yield Conflict(
                what="asks for a smallest gain without a suite",
                at=("at_least",),
                fix="Name a suite, or leave 'at_least' at 0.",
            )


class NoRegressionSettings(Section):
    """A system must not be worse than another by more than a margin."""

    suite: Text | None = None
    """On this suite; on every suite when not given."""

    system: Text | None = None
    """The last trained system when not given."""

    over: Text = "base"
    """What it is compared with."""

    margin: Share = 0.02
    """As a share: 0.02 are 2 points."""


class RetentionGateSettings(Section):
    """A system must not predict plain text worse than another by more than a margin."""

    text: Text | None = None
    """Of this text; of each of them when not given."""

    system: Text | None = None
    """The last trained system when not given."""

    over: Text = "base"
    """What it is compared with."""

    margin: Annotated[float, Field(ge=0, le=100)] = 0.05
    """The most that it may cost."""

    unit: Literal["share", "bits_per_byte"] = "share"
    """Whether the margin is a share of the other's bits per byte, or bits per byte themselves."""


class SafetyGateSettings(Section):
    """The highest rates that are accepted."""

    compliance: Share | None = None
    """Harmful prompts that are complied with; no limit when not given."""

    over_refusal: Share | None = None
    """Harmless prompts that are refused; no limit when not given."""

    system: Text | None = None
    """The last trained system when not given."""


class ScoreGateSettings(Section):
    """A score has to be high enough."""

    suite: Text
    """The suite."""

    at_least: Share
    """The lowest score that is accepted."""

    system: Text | None = None
    """The last trained system when not given."""


class StopRateSettings(Section):
    """Answers have to end by themselves."""

    suite: Text | None = None
    """On this suite; on every suite when not given."""

    at_least: Share = 0.95
    """The lowest share that is accepted."""

    system: Text | None = None
    """The last trained system when not given."""


class GateSettings(Section):
    """What has to hold; each by its 95% interval.

    Without any of it: better than the base on at least one suite, not worse by more than 2 points
    on any, plain text kept within 5%.
    """

    gain: Annotated[tuple[GainSettings, ...], Strict(False)] = ()
    """What has to be better."""

    no_regression: Annotated[tuple[NoRegressionSettings, ...], Strict(False)] = ()
    """What must not be worse by more than a margin."""

    retention: RetentionGateSettings | None = None
    """How much predicting plain text may cost; not asked when not given."""

    safety: SafetyGateSettings | None = None
    """The highest rates of harmful compliance and over-refusal; not asked when not given."""

    score: Annotated[tuple[ScoreGateSettings, ...], Strict(False)] = ()
    """The lowest scores."""

    stop_rate: Annotated[tuple[StopRateSettings, ...], Strict(False)] = ()
    """The lowest shares of answers that end by themselves."""
