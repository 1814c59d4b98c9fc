"""Settings of ``build``: raw material to curated instances, preferences and items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from regimen.settings.asked import AskedSettings, Name, asked_conflicts
from regimen.settings.base import (
    Conflict,
    Count,
    CountOrNone,
    FunctionSettings,
    Language,
    Section,
    Seed,
    Text,
    Texts,
    exactly_one,
)
from regimen.settings.feedback import AnyFeedback, FeedbackSettings, UnknownFeedback
from regimen.settings.formatting import FormattingSettings as FormattingSettings
from regimen.settings.generators import GeneratorSettings as GeneratorSettings
from regimen.settings.preferences import PairSettings as PairSettings
from regimen.settings.preferences import PreferenceSettings as PreferenceSettings
from regimen.settings.rewording import RewordingSettings

Format = Literal[
    "auto",
    "messages",
    "sharegpt",
    "alpaca",
    "prompt_completion",
    "preference",
    "ranked",
    "compared",
    "labelled",
    "stepwise",
    "oasst",
    "written",
    "natural_instructions",
    "task_yaml",
    "t0",
]


class SourceSettings(Section):
    """Raw material: a file or directory, the starter material, or a function of your own."""

    path: Text | None = None
    """A file or a directory; ``.gz`` and ``.zst`` are read as they are, and so is a folder that
    ``save_to_disk`` of the Hugging Face library wrote."""

    dataset: Text | None = None
    """A data set on the Hugging Face hub, by name (extra ``hub``)."""

    config: Text | None = None
    """Configuration of ``dataset``, where it has several."""

    split: Text | None = None
    """Split of ``dataset``; ``train`` when not given."""

    starter: Literal["tasks", "chats", "safety", "seeds"] | None = None
    """Material that comes with regimen."""

    function: FunctionSettings | None = None
    """A function that yields rows (mappings), tasks or instances."""

    format: Format = "auto"
    """How rows are to be read; ``auto`` decides by their columns and says what it decided."""

    columns: dict[str, Text] = Field(default_factory=dict)
    """Column names of yours for the names that the format knows: ``{prompt: question}``."""

    name: Text | None = None
    """Name of the source in the lineage; the file's name when not given."""

    licence: str = ""
    """Licence of the rows, as an SPDX identifier; it stays with every row."""

    language: Language = ""
    """Language of the rows as a code such as ``en``, where the rows do not say it."""

    limit: Count | None = None
    """Read at most this many rows."""

    weight: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    """Weight of the source in the loss, for every supervised token of its rows."""

    instances_per_task: Count | None = None
    """Instances from each task of this source; ``build.instances_per_task`` when not given."""

    pairs: PairSettings = PairSettings()
    """How several answers to a prompt become pairs."""

    preferences_as: Literal["pairs", "demonstrations", "both", "labelled", "ranked"] = "pairs"
    """What preferences are for: ``pairs``, their best answers as ``demonstrations``, or ``both``;
    ``labelled`` keeps each answer with its label, ``ranked`` the answers to a prompt with their
    scores."""

    families: Texts = ()
    """Use the tasks of these families only; all families when empty."""

    languages: Texts = ()
    """Use the tasks in these languages only; all languages when empty."""

    tasks: Texts = ()
    """Use the tasks of these names only; all tasks when empty."""

    def conflicts(self) -> Iterator[Conflict]:
        """Exactly one origin, and no file options where there is no file."""
        yield from exactly_one(self, ("path", "dataset", "starter", "function"))
        for name in ("config", "split"):
            if getattr(self, name) is not None and self.dataset is None:
                yield Conflict(
                    what="is for a dataset of the hub, and there is none",
                    at=(name,),
                    fix="Remove it, or name the 'dataset'.",
                )
        if self.pairs.desirable_from is not None and self.preferences_as != "labelled":
            yield Conflict(
                what="says which ratings are good, and no answer is labelled",
                at=("pairs", "desirable_from"),
                fix="Add 'preferences_as: labelled' to the source, or remove it.",
            )
        if self.starter is not None and self.format != "auto":
            yield Conflict(
                what="has no effect on starter material, whose format is known",
                at=("format",),
                fix="Remove it.",
            )
        if self.starter is not None and self.columns:
            yield Conflict(
                what="have no effect on starter material, whose columns are known",
                at=("columns",),
                fix="Remove them.",
            )


class HeldOutSettings(Section):
    """Tasks that are kept from training and asked in the evaluation."""

    families: Texts = ()
    """Families of which no task is trained on."""

    languages: Texts = ()
    """Languages of which no task is trained on."""

    tasks: Texts = ()
    """Tasks that are not trained on, by name."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the remaining tasks to hold out, drawn by the seed."""

    items_per_task: Annotated[int, Field(ge=1, le=100_000)] = 4
    """Items asked of each held-out task."""

    max_tasks: Count | None = None
    """At most this many held-out tasks in each suite, drawn by the seed."""

    rows_per_task: CountOrNone = 0
    """Rows of each training task to keep from training, at most half of those that it has; they
    make the suite ``unseen_rows``. Tasks that name held-out rows keep theirs."""

    seed: Seed | None = None
    """Seed of what is held out and of its items; the build's when not given. With one of its own,
    ``build.seed`` varies the training and every suite of whole tasks stays the same."""

    asked: dict[Name, AskedSettings] = Field(default_factory=dict)
    """Ways of asking by name, each what it has other than ``build.formatting``. Every suite then
    exists once for each, as ``unseen_families@NAME``, with the same rows."""


class SyntheticSettings(Section):
    """Self-Instruct: new instructions and instances from seed instructions."""

    generator: GeneratorSettings
    """Who writes them."""

    instructions: Annotated[int, Field(ge=1, le=10_000_000)] = 40
    """New instructions to ask for in a round."""

    rounds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Rounds; what a round keeps joins the seeds of the next."""


class CurationSettings(Section):
    """What is removed, with a reason each."""

    exact_duplicates: bool = True
    """Remove all but the first of equal conversations, and of equal pairs."""

    min_characters: CountOrNone = 1
    """Shortest answer in characters."""

    max_characters: Count = 8000
    """Longest conversation in characters."""

    leak_check: bool = True
    """Remove training instances and pairs that also are items of the evaluation."""

    near_duplicate_prompts: Annotated[float, Field(gt=0, le=1)] | None = None
    """Remove pairs whose prompt has at least this ROUGE-L with another prompt before it; none when
    not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """The bounds are in order."""
        if self.min_characters > self.max_characters:
            yield Conflict(
                what=f"is above max_characters ({self.max_characters})",
                at=("min_characters",),
                expected=f"at most {self.max_characters}",
            )


class BuildSettings(Section):
    """Construction and curation of the training mixture and of the held-out items."""

    sources: Annotated[tuple[SourceSettings, ...], Strict(False)] = ()
    """The raw material; none is needed where ``feedback`` brings its own prompts."""

    formatting: FormattingSettings = FormattingSettings()
    """How tasks become conversations."""

    instances_per_task: Annotated[int, Field(ge=1, le=10_000_000)] = 8
    """Training instances made of each task."""

    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    """Processes that format instances; one for each core when not given, none for small builds. The
    result is the same to the byte."""

    rewording: RewordingSettings | None = None
    """Paraphrases and translations of templates and definitions by a generator; none when not
    given."""

    lints: bool = True
    """Look for defects of the tasks and report them with counts; nothing is removed."""

    tasks: Count | None = None
    """Number of training tasks, drawn by the seed; all of them when not given."""

    rows: Count | None = None
    """Training instances of all tasks together, in equal parts; ``instances_per_task`` rules when
    not given."""

    held_out: HeldOutSettings = HeldOutSettings()
    """What the evaluation asks and training never sees."""

    synthetic: SyntheticSettings | None = None
    """Instructions written by a generator; none when not given."""

    feedback: Annotated[tuple[AnyFeedback, ...], Strict(False)] = ()
    """AI feedback, one section after another, each with a ``kind``: the best of several answers
    (``best_of_n``), critique and revision (``constitutional``), a judge's preferences (``rlaif``),
    answers under principles (``self_align``)."""

    curation: CurationSettings = CurationSettings()
    """What is removed."""

    preferences: PreferenceSettings | None = None
    """Preference pairs to make; none when not given."""

    seed: Seed | None = None
    """Seed of every draw of this stage; the pipeline's when not given."""

    @property
    def feedback_sections(self) -> tuple[FeedbackSettings, ...]:
        """The sections of ``feedback``: an unknown one has raised before."""
        return tuple(one for one in self.feedback if not isinstance(one, UnknownFeedback))

    def conflicts(self) -> Iterator[Conflict]:
        """Material to build from; ways of asking that cannot be asked."""
        if not self.sources and not self.feedback:
            yield Conflict(
                what="names no raw material",
                at=("sources",),
                expected="one source or more, or 'feedback' with prompts of its own",
                fix="Add a source, such as {path: FILE}.",
            )
        yield from asked_conflicts(self.formatting, self.held_out.asked)
