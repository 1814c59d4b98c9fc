"""Settings of ``evaluate.judge``: who judges which systems on which suites, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from regimen.settings.base import (
    Conflict,
    Count,
    FunctionSettings,
    Section,
    Text,
    Texts,
    TimeLimit,
    exactly_one,
)
from regimen.settings.generators import GeneratorSettings

SystemPair = Annotated[tuple[Text, Text], Strict(False)]
Rating = Annotated[int, Field(ge=0, le=100)]


class JudgeGeneratorSettings(GeneratorSettings):
    """Who judges: a remote endpoint, a local model, or a file of prepared verdicts."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Sampling temperature; 0 is greedy, so that a judgement can be repeated."""

    def conflicts(self) -> Iterator[Conflict]:
        """The prepared answers that come with regimen are no verdicts."""
        yield from super().conflicts()
        if self.scripted == "starter":
            yield Conflict(
                what="is 'starter', whose answers are instructions and no verdicts",
                at=("scripted",),
                fix="Name a JSON file of verdicts, an endpoint or a model.",
            )


class AnswerJudgeSettings(Section):
    """A judge of answers: a model or a function of your own."""

    generator: JudgeGeneratorSettings | None = None
    """The model that judges."""

    function: FunctionSettings | None = None
    """A function that judges: ``(prompt, a, b)`` to a preference for ``a`` in -1..1, or, for
    ``pointwise``, ``(prompt, answer)`` to a rating of the scale."""

    kind: Literal["pairwise", "pointwise"] = "pairwise"
    """Compare two answers, or rate each alone."""

    criteria: Texts = ()
    """What the judge looks at, one sentence each; its own when empty."""

    scale: Annotated[tuple[Rating, Rating], Strict(False)] = (1, 10)
    """Lowest and highest rating."""

    swap: bool = True
    """Show every pair in both orders; a win is one in both."""

    explain: bool = True
    """Ask for reasons before the verdict."""

    votes: Annotated[int, Field(ge=1, le=256)] = 1
    """Verdicts that a model gives on each question, with seeds of their own; their mean counts."""

    time_limit: TimeLimit = 60.0
    """Seconds that a function of your own may take for a verdict; one that takes longer has
    failed."""

    probabilities: bool = False
    """Take the expected verdict under a local model's probabilities of all verdicts, instead of
    what it writes; it is asked for no reasons."""

    def conflicts(self) -> Iterator[Conflict]:
        """One judge; a scale that grows; probabilities of a model that has some."""
        yield from exactly_one(self, ("generator", "function"))
        if self.scale[0] >= self.scale[1]:
            yield Conflict(
                what="does not grow",
                at=("scale",),
                expected="the lowest rating first, and a higher one",
            )
        yield from self._vote_conflicts()
        local = self.generator and self.generator.model and not self.generator.endpoint
        if self.probabilities and not local:
            yield Conflict(
                what="needs a local model, whose probabilities can be read",
                at=("probabilities",),
                fix="Name the model's folder with generator.model, without an endpoint.",
            )

    def _vote_conflicts(self) -> Iterator[Conflict]:
        """Several votes of one that can change its mind."""
        if self.votes == 1:
            return
        if self.function is not None or self.probabilities:
            yield Conflict(
                what="asks several times for what is the same each time",
                at=("votes",),
                fix="Remove it, or have a model without 'probabilities' judge.",
            )
        elif self.generator is not None and self.generator.temperature == 0:
            yield Conflict(
                what="is 0, so that all votes are the same",
                at=("generator", "temperature"),
                expected="above 0",
            )


class JudgeSettings(AnswerJudgeSettings):
    """A judge of the systems' answers: which systems are compared, on which suites."""

    pairs: Annotated[tuple[SystemPair, ...], Strict(False), Field(min_length=1)] = (
        ("tuned", "base"),
    )
    """The systems that are compared; the win rate is that of the first."""

    suites: Texts = ()
    """The suites whose answers are judged; all when empty."""

    limit: Count | None = None
    """Judge at most this many items of a suite, spread evenly over it."""

    people: Text | None = None
    """A file of answer pairs with people's labels, to measure the judge's agreement with them on:
    rows with ``prompt``, ``a``, ``b`` and ``labels`` (a list of ``a``, ``b`` or ``tie``)."""

    def conflicts(self) -> Iterator[Conflict]:
        """As above; two different systems in each pair."""
        yield from super().conflicts()
        for number, (one, other) in enumerate(self.pairs):
            if one == other:
                yield Conflict(
                    what="compares a system with itself",
                    at=("pairs", number),
                    fix="Name two different systems.",
                )
        if len(set(self.pairs)) < len(self.pairs):
            yield Conflict(what="names a pair twice", at=("pairs",), fix="Remove one of them.")
