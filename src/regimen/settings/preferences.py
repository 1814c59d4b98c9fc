"""Settings of preference pairs: how answers become pairs, and pairs of a model's own samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from regimen.settings.base import (
    Conflict,
    CountOrNone,
    FunctionSettings,
    Section,
    Text,
    Texts,
    TimeLimit,
    exactly_one,
)
from regimen.settings.judge import AnswerJudgeSettings
from regimen.settings.sampled import SampledSettings

Margin = Annotated[float, Field(ge=0, le=1_000_000)]
Rating = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]
DimensionWeight = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]
Compared = Literal["all", "adjacent", "best_worst"]


class PairSettings(Section):
    """Several answers to one prompt as pairs."""

    choose: Compared = "all"
    """Which answers are compared: every two, neighbours in their order, or the two ends."""

    min_margin: Margin = 0.0
    """Answers whose scores are closer than this are a tie, which gives no pair and is counted."""

    aspects: Texts = ()
    """Aspects whose ratings are averaged to an answer's score; its overall score when empty."""

    annotators: Texts = ()
    """Columns that hold one annotator's vote each, for the format ``compared``."""

    desirable_from: Rating | None = None
    """Answers rated at least this are good, the others not, for ``preferences_as: labelled``."""


class RewardModelSettings(Section):
    """A reward model that ``align`` trained, or several that differ in their seeds."""

    model: Text | Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)]
    """The folder ``final`` of an `align` with a reward method; a list is an ensemble."""

    weights: Annotated[dict[Text, DimensionWeight], Field(min_length=1)] | None = None
    """The weight of each dimension in the score, such as ``{helpful: 1.0, harmless: 2.0}``; those
    not named count nothing, and all count once when not given."""

    combine: Literal["mean", "min"] = "mean"
    """What the members of an ensemble become: their mean, or the lowest, the worst case."""

    bf16: bool = False
    """Autocast to bf16."""

    tokens_per_batch: Annotated[int, Field(ge=8, le=100_000_000)] = 8192
    """Tokens that the model reads at once."""

    @property
    def models(self) -> tuple[str, ...]:
        """Every folder."""
        return (self.model,) if isinstance(self.model, str) else self.model


class ScoreSettings(Section):
    """What scores an answer."""

    scorer: Text | None = None
    """A scorer by its name, such as ``exact`` or ``ifeval_strict``; most need references."""

    function: FunctionSettings | None = None
    """A rule of your own: ``(answer, item)`` to a number, the higher the better."""

    time_limit: TimeLimit = 60.0
    """Seconds that a rule of your own may take for an answer; one that takes longer has failed, and
    the answer has no score."""

    judge: AnswerJudgeSettings | None = None
    """A judge: ``pointwise`` ratings, or for ``pairwise`` the mean over all comparisons of an
    answer with the others of its prompt."""

    reward: RewardModelSettings | None = None
    """A reward model: what it says of an answer, of steps the lowest that it says of one."""

    def conflicts(self) -> Iterator[Conflict]:
        """Exactly one of them."""
        yield from exactly_one(self, ("scorer", "function", "judge", "reward"))
        if "time_limit" in self.model_fields_set and self.function is None:
            yield Conflict(
                what="is for a rule of your own",
                at=("time_limit",),
                fix="Write it into 'judge', or remove it." if self.judge else "Remove it.",
            )


class OnPolicySettings(SampledSettings):
    """Pairs of a model's own answers: several are sampled for each prompt, scored and compared."""

    score: ScoreSettings
    """What says which answer is better."""

    choose: Compared = "best_worst"
    """Which answers are compared."""

    min_margin: Margin = 0.0
    """Answers whose scores are closer than this are a tie, which gives no pair and is counted."""


class PreferenceSettings(Section):
    """Preference pairs that are made, beside those that sources hold."""

    starter_safety: CountOrNone = 0
    """Pairs from the starter safety conversations: the good answer against a bad one."""

    corrupted_answers: CountOrNone = 0
    """Pairs of a task's right answer against a corrupted one."""

    on_policy: OnPolicySettings | None = None
    """Pairs of a model's own answers; none when not given."""

    def conflicts(self) -> Iterator[Conflict]:
        """Something must be made."""
        if not self.starter_safety and not self.corrupted_answers and self.on_policy is None:
            yield Conflict(
                what="asks for no pairs at all",
                fix="Set 'starter_safety' or 'corrupted_answers' above 0, add 'on_policy', or "
                "remove the section.",
            )
