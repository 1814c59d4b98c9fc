"""The settings of a whole run: which stages, in which directory, from which seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, field_validator

from regimen.settings.align import AlignSettings
from regimen.settings.base import Conflict, Section, Seed, Text
from regimen.settings.build import BuildSettings
from regimen.settings.compress import CompressSettings
from regimen.settings.evaluate import EvaluateSettings
from regimen.settings.report import ReportSettings
from regimen.settings.study import StudySettings
from regimen.settings.training import goes_on
from regimen.settings.tune import TuneSettings

Stage = Literal["build", "tune", "align", "compress", "evaluate", "report"]
STAGES: tuple[Stage, ...] = ("build", "tune", "align", "compress", "evaluate", "report")
"""The stages in the order in which they run."""

Tunings = Annotated[tuple[TuneSettings, ...], Strict(False), Field(min_length=1)]


def _how_many(value: Any) -> str:
    """Which of the two forms of ``tune`` a value has; so that only its problems are told."""
    return "several" if isinstance(value, list | tuple) else "one"


class PipelineSettings(Section):
    """A run: the stages that it lists are the stages that run.

    Relative paths count from the working directory.
    """

    run: Text = "runs/run"
    """Directory of the run."""

    seed: Seed = 0
    """Seed of every stage that has none of its own."""

    build: BuildSettings | None = None
    """Raw material to curated instances, preferences and held-out items."""

    tune: (
        Annotated[
            Annotated[TuneSettings, Tag("one")] | Annotated[Tunings, Tag("several")],
            Discriminator(_how_many),
        ]
        | None
    ) = None
    """Fine-tuning, or language modelling; a list of such sections is one tuning after another, each
    from what the one before ended with. The last result goes on to ``align`` and ``evaluate``."""

    align: AlignSettings | None = None
    """Learning from preferences."""

    compress: CompressSettings | None = None
    """Post-training quantisation of what the training ended with."""

    evaluate: EvaluateSettings | None = None
    """The evidence."""

    report: ReportSettings | None = None
    """The page that shows it."""

    study: StudySettings | None = None
    """What ``regimen study`` varies of the sections above, to find out what it does."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that this file lists, in the order in which they run."""
        return tuple(stage for stage in STAGES if getattr(self, stage) is not None)

    @property
    def has_later_runs(self) -> bool:
        """Whether runs of the same file come after this one."""
        return False

    @property
    def tunings(self) -> dict[str, TuneSettings]:
        """The tunings by the name of their stage: ``tune``; ``tune-0``, ``tune-1`` of a list."""
        if isinstance(self.tune, tuple):
            return {f"tune-{number}": one for number, one in enumerate(self.tune)}
        return {} if self.tune is None else {"tune": self.tune}

    def section(self, stage: str) -> Section | None:
        """The section of a stage, of one tuning for ``tune`` or ``tune-1``."""
        found = self.tunings.get(stage) if stage.startswith("tune") else getattr(self, stage)
        assert found is None or isinstance(found, Section)
        return found

    def seed_of(self, stage: str) -> int:
        """The stage's own seed, or the pipeline's."""
        own = getattr(self.section(stage), "seed", None)
        return self.seed if own is None else int(own)

    @field_validator("tune", mode="before")
    @classmethod
    def _go_on(cls, tune: Any) -> Any:
        """After the first of a list, a tuning that names no model goes on from the one before."""
        if not isinstance(tune, list | tuple):
            return tune
        later = [
            {**one, "model": goes_on(one.get("model"))} if isinstance(one, dict) else one
            for one in tune[1:]
        ]
        return [*tune[:1], *later]

    def conflicts(self) -> Iterator[Conflict]:
        """Each stage finds what it works on."""
        if self.study is not None:
            yield from self._study_conflicts(self.study)
        elif not self.stages and not self.has_later_runs:
            yield Conflict(
                what="no stage is listed, so there is nothing to do",
                expected="at least one of " + ", ".join(STAGES),
            )
        yield from self._tuning_conflicts()
        if self.align and not (self.tune or self.align.model):
            yield Conflict(
                what="has no model to start from",
                at=("align",),
                fix="Add a 'tune' stage, or name a model with align.model.path.",
            )
        if self.align and self.align.model and self.align.model.previous and not self.tune:
            yield Conflict(
                what="names the result of a tuning, and there is none",
                at=("align", "model", "previous"),
                fix="Name a model with align.model.path.",
            )
        needs = self.align is not None and self.align.method != "raft"
        if self.align and needs and not (self.build or self.align.data):
            yield Conflict(
                what="has no preferences to learn from",
                at=("align",),
                fix="Add a 'build' stage, or name a file or directory with align.data.",
            )
        yield from self._compress_conflicts()
        yield from self._evaluate_conflicts()
        yield from self._reward_conflicts()

    def _compress_conflicts(self) -> Iterator[Conflict]:
        """A model to round, and text to calibrate on."""
        if self.compress is None or self.compress.model is not None:
            return
        if not (self.tune or self.align):
            yield Conflict(
                what="has no model to quantise",
                at=("compress",),
                fix="Add a 'tune' stage, or name a model with compress.model.",
            )
        elif not self.tune and self.compress.calibration.text is None:
            yield Conflict(
                what="has no rows of a tuning to calibrate on",
                at=("compress", "calibration"),
                fix="Add compress.calibration.text.",
            )

    def _evaluate_conflicts(self) -> Iterator[Conflict]:
        """One model to measure: what the stages make, or what is named."""
        if self.evaluate is None:
            return
        made = bool(self.tune or self.align)
        if not made and self.evaluate.tuned is None:
            yield Conflict(
                what="has no model to measure",
                at=("evaluate",),
                fix="Add a 'tune' or an 'align' stage, or name evaluate.base and evaluate.tuned.",
            )
        if made and self.evaluate.tuned is not None:
            yield Conflict(
                what="names a model beside the one that this file makes",
                at=("evaluate", "tuned"),
                fix="Remove it, or leave out 'tune' and 'align'.",
            )

    def _reward_conflicts(self) -> Iterator[Conflict]:
        """A reward model gives no answers, so nothing after it can ask it for some."""
        if self.align is None or not self.align.rewards:
            return
        for name in ("evaluate", "compress"):
            section = getattr(self, name)
            if section is not None and not (name == "compress" and section.model is not None):
                yield Conflict(
                    what="works on a model that gives answers, and 'align' trains one that scores "
                    "them",
                    at=(name,),
                    fix="Put it into a settings file of its own; `align` measures the reward model "
                    "on held-out prompts itself.",
                )

    def _study_conflicts(self, study: StudySettings) -> Iterator[Conflict]:
        """A study varies an ordinary line of stages, unless it brings its own."""
        if study.kind == "rewrites":
            return
        for stage in ("build", "tune", "evaluate"):
            if getattr(self, stage) is None:
                yield Conflict(
                    what=f"{study.kind} trains and evaluates by the sections of this file, and "
                    f"there is no {stage!r}",
                    at=("study",),
                    fix=f"Add a {stage!r} section.",
                )

    def _tuning_conflicts(self) -> Iterator[Conflict]:
        """Each tuning has data, the first a model, and the evidence a base."""
        for number, one in enumerate(self.tunings.values()):
            at = ("tune", number) if isinstance(self.tune, tuple) else ("tune",)
            name = "".join(f"[{part}]" if isinstance(part, int) else part for part in at)
            if not (self.build or one.data or one.text):
                yield Conflict(
                    what="has no data to learn from",
                    at=at,
                    fix=f"Add a 'build' stage, or name a file or directory with {name}.data.",
                )
            if one.model.previous and number == 0:
                yield Conflict(
                    what="names the result of the tuning before, and this is the first",
                    at=(*at, "model", "previous"),
                    fix=f"Name a model with {name}.model.path.",
                )
        only = next(iter(self.tunings.values())) if len(self.tunings) == 1 else None
        named = self.evaluate is not None and self.evaluate.base is not None
        if self.evaluate and not named and only is not None and only.model.config is not None:
            yield Conflict(
                what="has no base to compare with: the only tuning makes a fresh model",
                at=("evaluate",),
                fix="Name a base with tune.model.path or evaluate.base, or make 'tune' a list with "
                "a second tuning.",
            )
