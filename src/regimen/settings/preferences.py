"""Settings of preference pairs: how answers become pairs, and pairs of a model's own samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from regimen.settings.base import (
    Conflict,
    CountOrNone,
    FunctionSettings,
    Section,
    Text,
    Texts,
    exactly_one,
)
from regimen.settings.judge import AnswerJudgeSettings
from regimen.settings.sampled import SampledSettings

Margin = Annotated[float, Field(ge=0, le=1_000_000)]
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


class ScoreSettings(Section):
    """What scores an answer."""

    scorer: Text | None = None
    """A scorer by its name, such as ``exact`` or ``ifeval_strict``; most need references."""

    function: FunctionSettings | None = None
    """A rule of your own: ``(answer, item)`` to a number, the higher the better."""

    judge: AnswerJudgeSettings | None = None
    """A judge: ``pointwise`` ratings, or for ``pairwise`` the mean over all comparisons of an
    answer with the others of its prompt."""

    def conflicts(self) -> Iterator[Conflict]:
        """Exactly one of them."""
        yield from exactly_one(self, ("scorer", "function", "judge"))


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
