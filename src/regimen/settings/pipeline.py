"""The settings of a whole run: which stages, in which directory, from which seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from regimen.settings.align import AlignSettings
from regimen.settings.base import Conflict, Section, Seed, Text
from regimen.settings.build import BuildSettings
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.report import ReportSettings
from regimen.settings.tune import TuneSettings

Stage = Literal["build", "tune", "align", "evaluate", "report"]
STAGES: tuple[Stage, ...] = ("build", "tune", "align", "evaluate", "report")
"""The stages in the order in which they run."""


class PipelineSettings(Section):
    """A settings file: the stages that it lists are the stages that run.

    Relative paths count from the working directory.
    """

    run: Text = "runs/run"
    """Directory of the run."""

    seed: Seed = 0
    """Seed of every stage that has none of its own."""

    build: BuildSettings | None = None
    """Raw material to curated instances, preferences and held-out items."""

    tune: TuneSettings | None = None
    """Fine-tuning, or language modelling."""

    align: AlignSettings | None = None
    """Learning from preferences."""

    evaluate: EvaluateSettings | None = None
    """The evidence."""

    report: ReportSettings | None = None
    """The page that shows it."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that this file lists, in the order in which they run."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    def seed_of(self, stage: Stage) -> int:
        """The stage's own seed, or the pipeline's."""
        section = getattr(self, stage)
        own = None if section is None or stage == "report" else section.seed
        return self.seed if own is None else int(own)

    def conflicts(self) -> Iterator[Conflict]:
        """Each stage finds what it works on."""
        if not self.stages:
            yield Conflict(
                what="no stage is listed, so there is nothing to do",
                expected="at least one of " + ", ".join(STAGES),
            )
        if self.tune and not (self.build or self.tune.data or self.tune.text):
            yield Conflict(
                what="has no data to learn from",
                at=("tune",),
                fix="Add a 'build' stage, or name a file or directory with tune.data.",
            )
        if self.align and not (self.tune or self.align.model):
            yield Conflict(
                what="has no model to start from",
                at=("align",),
                fix="Add a 'tune' stage, or name a model with align.model.path.",
            )
        if self.align and not (self.build or self.align.data):
            yield Conflict(
                what="has no preferences to learn from",
                at=("align",),
                fix="Add a 'build' stage, or name a file or directory with align.data.",
            )
        if self.evaluate and not (self.tune or self.align):
            yield Conflict(
                what="has no model to measure",
                at=("evaluate",),
                fix="Add a 'tune' or an 'align' stage.",
            )
