"""Settings of ``study``: what is varied, over how many seeds, and what a claim has to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from regimen.settings.adapters_study import AdaptersStudy
from regimen.settings.alignment_study import AlignmentStudy
from regimen.settings.base import (
    Conflict,
    Count,
    Section,
    Share,
    Text,
    Texts,
    TextSettings,
    exactly_one,
)
from regimen.settings.build import SourceSettings

Levels = Annotated[tuple[Count, ...], Strict(False), Field(min_length=2)]
Shares = Annotated[tuple[Share, ...], Strict(False), Field(min_length=2)]
Part = Literal["encodings", "shots", "templates"]
PARTS: tuple[Part, ...] = ("encodings", "shots", "templates")

ENCODINGS: Mapping[str, Mapping[str, Any]] = {
    "definition": {"definition": True},
    "positive": {"definition": False, "positive": 2},
    "definition-positive": {"definition": True, "positive": 2},
    "definition-negative": {"definition": True, "negative": 2},
    "definition-both": {"definition": True, "positive": 2, "negative": 2},
    "definition-both-explained": {
        "definition": True,
        "positive": 2,
        "negative": 2,
        "explanations": True,
    },
    "definition-avoid": {"definition": True, "avoid": True},
    "definition-steps": {"definition": True, "chain_of_thought": "before"},
}
"""Encodings by name, as fields of ``build.formatting`` (the table of arXiv 2204.07705)."""


class TasksStudy(Section):
    """How many tasks, and how many instances of each, an instruction tuning needs."""

    counts: Levels = (4, 16, 64, 256)
    """Numbers of training tasks."""

    instances: Annotated[tuple[Count, ...], Strict(False), Field(min_length=1)] = (8,)
    """Instances of each task; every combination with ``counts`` is a cell."""


class FormattingStudy(Section):
    """What to put into a prompt: encodings, share of few-shot prompts, templates of a task."""

    parts: Annotated[tuple[Part, ...], Strict(False), Field(min_length=1)] = PARTS
    """``encodings`` trains on each and asks in each; ``shots`` varies the share of prompts with
    demonstrations; ``templates`` the number of templates of a task."""

    encodings: Annotated[dict[Text, dict[str, Any]], Field(min_length=2)] = Field(
        default_factory=lambda: {name: dict(fields) for name, fields in ENCODINGS.items()}
    )
    """Encodings by name, as fields of ``build.formatting``."""

    few_shot_shares: Shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Shares of training prompts with demonstrations, in quarters, fifths or tenths."""

    shots: Annotated[int, Field(ge=1, le=64)] = 2
    """Demonstrations of a few-shot prompt."""

    template_counts: Levels = (1, 2, 4, 6)
    """Numbers of templates of each task to train on."""


class SpecialiseStudy(Section):
    """From a generalist to one job: gain on the job against loss elsewhere."""

    target: SourceSettings
    """The job's tasks; ``build`` describes the generalist."""

    rows: Levels = (50, 500, 5000)
    """Training rows of the job."""

    items: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Rows of each task of the job that are kept for the evaluation."""

    domain_text: TextSettings | None = None
    """Plain text of the job's domain; with it, every cell is made with and without reading it
    first."""

    domain_tokens: Count = 100_000
    """Tokens of domain text that are read first."""


class RewritesStudy(Section):
    """How many rules it takes to follow a rule that was never seen (arXiv 2402.10891)."""

    rules: Levels = (50, 100, 200, 400, 800, 1600)
    """Numbers of rewriting rules in the training data."""

    form: Literal["small", "full"] = "small"
    """``small`` runs in half an hour on two cores, ``full`` is that of the paper."""

    examples: Count | None = None
    """Training examples of a cell; the form's number when not given."""

    steps: Count | None = None
    """Optimizer steps of a cell; the form's number when not given."""


class GridStudy(Section):
    """Any settings of the file, varied."""

    vary: Annotated[
        dict[Text, Annotated[tuple[Any, ...], Strict(False), Field(min_length=2)]],
        Field(min_length=1),
    ]
    """Settings by their dotted name with the values to try: ``{tune.learning_rate: [1e-4, 3e-4]}``;
    every combination is a cell, and the first of all is what the others are compared with."""

    def conflicts(self) -> Iterator[Conflict]:
        """Only stages can be varied."""
        for name in self.vary:
            if name.split(".")[0] not in ("build", "tune", "align", "evaluate"):
                yield Conflict(
                    what="is a setting of no stage",
                    at=("vary", name),
                    expected="a name such as tune.learning_rate",
                )


KINDS = ("tasks", "formatting", "specialise", "adapters", "alignment", "rewrites", "grid")


class StudySettings(Section):
    """A claim about data or method: what is varied, and over how many seeds."""

    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """Trainings of every cell, each with a seed of its own; the items are the same."""

    jobs: Annotated[int, Field(ge=1, le=256)] | None = None
    """Cells side by side, each with an equal part of the cores; one for each core when not
    given."""

    tokens: Count = 150_000
    """Tokens that every cell trains on, so that data differ and not the amount of training."""

    gain: Annotated[float, Field(gt=0, lt=1)] = 0.02
    """A gain in score below which more would not matter."""

    suites: Texts = ()
    """Suites that the verdicts rest on; all when empty."""

    tasks: TasksStudy | None = None
    """Number of tasks against instances per task."""

    formatting: FormattingStudy | None = None
    """Encodings, few-shot share, templates."""

    specialise: SpecialiseStudy | None = None
    """From a generalist to one job."""

    adapters: AdaptersStudy | None = None
    """Methods of adaptation at equal trained parameters and at equal memory."""

    alignment: AlignmentStudy | None = None
    """Learning from preferences against the parent that it starts from."""

    rewrites: RewritesStudy | None = None
    """String rewriting rules: an oracle for the number of tasks."""

    grid: GridStudy | None = None
    """Any settings, varied."""

    @property
    def kind(self) -> str:
        """Which of the studies it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    def conflicts(self) -> Iterator[Conflict]:
        """Exactly one study."""
        yield from exactly_one(self, KINDS)
