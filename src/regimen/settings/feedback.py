"""Settings of ``build.feedback``: instances and preferences that come from AI feedback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import Discriminator, Field, Strict, Tag

from regimen.settings.base import Conflict, CountOrNone, Section, Text, exactly_one
from regimen.settings.generators import GeneratorSettings
from regimen.settings.judge import AnswerJudgeSettings
from regimen.settings.preferences import ScoreSettings
from regimen.settings.sampled import AnsweredSettings, SampledSettings

Kind = Literal["helpful", "honest", "harmless"]
Makes = Literal["demonstrations", "pairs", "both"]


class BestOfNSettings(SampledSettings):
    """Of several answers to each prompt the best one, as a demonstration."""

    kind: Literal["best_of_n"]
    """What this section makes."""

    score: ScoreSettings
    """What says which answer is best."""

    min_score: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    """A best answer with a lower score is left out and counted; every best one is kept when not
    given."""


class PrincipledSettings(AnsweredSettings):
    """Answers by principles."""

    principles: Text | None = None
    """A YAML file of principles of your own; those that come with regimen when not given."""

    kinds: Annotated[tuple[Kind, ...], Strict(False)] = ()
    """Use the principles of these kinds only; all when empty."""


class ConstitutionalSettings(PrincipledSettings):
    """Critique and revision of answers by principles (Constitutional AI)."""

    kind: Literal["constitutional"]
    """What this section makes."""

    critic: GeneratorSettings | None = None
    """Who criticises and revises; the one who answers when not given."""

    rounds: Annotated[int, Field(ge=1, le=32)] = 1
    """Critiques and revisions of each answer, each by another principle."""

    makes: Makes = "both"
    """Prompts with revised answers (``demonstrations``), the revised answer preferred over the
    first one (``pairs``), or both."""

    def conflicts(self) -> Iterator[Conflict]:
        """The starter's prepared answers are no critiques."""
        yield from super().conflicts()
        if self.critic is not None and self.critic.scripted == "starter":
            yield Conflict(
                what="is 'starter', whose answers are instructions",
                at=("critic", "scripted"),
                fix="Name a model, an endpoint or a JSON file of answers.",
            )


class SelfAlignSettings(PrincipledSettings):
    """Answers under principles and demonstrations, learnt without them (self-alignment)."""

    kind: Literal["self_align"]
    """What this section makes."""

    demonstrations: CountOrNone = 4
    """Most demonstrations of the file of principles that are shown before a prompt."""


class AiLabelSettings(Section):
    """Preferences of a judge between two answers (RLAIF)."""

    kind: Literal["rlaif"]
    """What this section makes."""

    sampled: SampledSettings | None = None
    """Prompts and answers to compare."""

    pairs: Text | None = None
    """A file of pairs to compare: rows with ``prompt``, ``a``, ``b`` and, where people judged them,
    ``labels`` (a list of ``a``, ``b`` or ``tie``), on which agreement is measured."""

    judge: AnswerJudgeSettings
    """Who compares."""

    constitution: bool = False
    """Judge each pair by one principle of the shipped constitution, drawn by the seed, instead of
    by all criteria at once."""

    min_margin: Annotated[float, Field(ge=0, le=1)] = 0.0
    """P(chosen) - P(rejected) below which a pair is a tie, which is counted."""

    def conflicts(self) -> Iterator[Conflict]:
        """One origin of pairs; a judge of two answers."""
        yield from exactly_one(self, ("sampled", "pairs"))
        if self.judge.kind != "pairwise":
            yield Conflict(
                what="rates each answer alone, and pairs are compared here",
                at=("judge", "kind"),
                expected="pairwise",
                fix="Remove it, or make pairs of ratings with preferences.on_policy.",
            )
        if self.constitution and (self.judge.criteria or self.judge.function is not None):
            yield Conflict(
                what="names the criteria, and the judge has its own",
                at=("constitution",),
                fix="Remove it, or 'criteria' and 'function' of the judge.",
            )


class UnknownFeedback(Section):
    """A section whose ``kind`` is none of the ways: only that is told."""

    kind: Literal["best_of_n", "constitutional", "rlaif", "self_align"]
    """What this section makes."""


KINDS: tuple[str, ...] = get_args(UnknownFeedback.model_fields["kind"].annotation)


def _kind(value: Any) -> str:
    """Which section a value is."""
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return kind if kind in KINDS else "unknown"


FeedbackSettings = BestOfNSettings | ConstitutionalSettings | SelfAlignSettings | AiLabelSettings
"""One way of AI feedback."""

AnyFeedback = Annotated[
    Annotated[BestOfNSettings, Tag("best_of_n")]
    | Annotated[ConstitutionalSettings, Tag("constitutional")]
    | Annotated[AiLabelSettings, Tag("rlaif")]
    | Annotated[SelfAlignSettings, Tag("self_align")]
    | Annotated[UnknownFeedback, Tag("unknown")],
    Discriminator(_kind),
]
