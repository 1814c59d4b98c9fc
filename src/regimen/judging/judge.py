"""Judges: a model that is asked, a model's probabilities of verdicts, or a function.

A judge sees one or two answers to an item and gives a verdict: the preference for the answer shown
first (-1..1), or a rating of the scale. What cannot be read is a verdict without a value and says
why; it is never a default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from regimen import console
from regimen.errors import GenerationError
from regimen.judging.parsing import Parsed, parse_preference, parse_rating
from regimen.judging.prompts import JudgePrompt, Turns, asked_text
from regimen.protocols import (
    SCORER_ERRORS,
    Alternatives,
    AnswerLogps,
    Completion,
    Generator,
    Likelihoods,
    Request,
)
from regimen.records import Item, Message, content_of, stable_hash


@dataclass(frozen=True, slots=True)
class Shown:
    """One question to a judge: an item and one or two answers, in the order shown."""

    item: Item
    answers: tuple[Turns, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a judge said; ``value`` is None where ``error`` says why there is none.

    For two answers ``value`` is the preference for the one shown first, in -1..1.
    """

    value: float | None = None
    reason: str = ""
    error: str = ""


@runtime_checkable
class Judge(Protocol):
    """Gives verdicts."""

    @property
    def name(self) -> str:
        """What a judgement records as its judge."""

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """One verdict for each question, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorJudge:
    """A model that is asked for a verdict, once for each different question.

    The id of a request is the hash of its content: what is asked twice is answered once. Judges
    that differ in ``sample`` ask with seeds of their own.
    """

    generator: Generator
    prompt: JudgePrompt = field(default_factory=JudgePrompt)
    max_new_tokens: int = 512
    temperature: float = 0.0
    sample: int = 0

    @property
    def name(self) -> str:
        """The generator's."""
        return self.generator.name

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """Ask all at once; a request that failed is a verdict without a value."""
        asked = [self._request(one) for one in shown]
        found = _completions(self.generator, {request.id: request for request in asked})
        return tuple(
            self._read(found[request.id], len(one.answers))
            for request, one in zip(asked, shown, strict=True)
        )

    def _request(self, one: Shown) -> Request:
        messages = self.prompt.messages(one.item, one.answers)
        drawn = (float(self.sample),) if self.sample else ()
        return Request(
            id=question_id(messages, self.max_new_tokens, self.temperature, *drawn),
            messages=messages,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            seed=self.sample,
        )

    def _read(self, completion: Completion, answers: int) -> Verdict:
        if completion.finish == "error" or completion.error:
            return Verdict(error=completion.error or "the generator gave no reason")
        parsed: Parsed | None
        if answers == 2:
            parsed = parse_preference(completion.text)
        else:
            parsed = parse_rating(completion.text, self.prompt.scale)
        if parsed is None:
            cut = ", cut at the longest answer" if completion.finish == "length" else ""
            return Verdict(error=f"no verdict{cut} in: {completion.text[-200:].strip()!r}")
        return Verdict(value=parsed.value, reason=parsed.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionJudge:
    """The expected verdict under the probabilities that a model gives to all verdicts.

    Sum of value times probability, with the probabilities of the options scaled to sum to 1 (Liu
    et al. 2023, *G-Eval*, section 2, arXiv 2303.16634).
    """

    likelihoods: Likelihoods
    prompt: JudgePrompt = field(default_factory=lambda: JudgePrompt(explain=False))

    @property
    def name(self) -> str:
        """The model's."""
        return self.likelihoods.name

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """One pass over the options for each different question."""
        asked = [self._alternatives(one) for one in shown]
        found: dict[str, AnswerLogps] = {}
        if asked:
            distinct = {one.id: one for one in asked}
            found.update(self.likelihoods.answer_logps(list(distinct.values())))
        missing = AnswerLogps(error="no answer came back")
        return tuple(
            _expected(found.get(one.id, missing), self.prompt.options(len(each.answers)))
            for one, each in zip(asked, shown, strict=True)
        )

    def _alternatives(self, one: Shown) -> Alternatives:
        messages = self.prompt.messages(one.item, one.answers)
        options = tuple(text for text, _ in self.prompt.options(len(one.answers)))
        return Alternatives(id=question_id(messages), answers=options, messages=messages)


@dataclass(frozen=True, slots=True)
class FunctionJudge:
    """A rule: ``(prompt, a, b)`` to a preference for ``a`` in -1..1, or ``(prompt, answer)``.

    What the function raises, or a number that is not finite or outside ``bounds``, is a verdict
    without a value.
    """

    function: Callable[..., float]
    name: str
    bounds: tuple[float, float] = (-1.0, 1.0)

    def verdicts(self, shown: Sequence[Shown]) -> tuple[Verdict, ...]:
        """The function of each question."""
        with console.progress(len(shown), self.name, "verdicts", after=2.0) as bar:
            return tuple(self._verdict(one, bar) for one in shown)

    def _verdict(self, one: Shown, bar: console.Progress) -> Verdict:
        bar.advance()
        texts = ["\n\n".join(turns) for turns in one.answers]
        try:
            value = float(self.function(asked_text(one.item), *texts))
        except SCORER_ERRORS as error:
            return Verdict(error=f"{type(error).__name__}: {error}")
        low, high = self.bounds
        if not (math.isfinite(value) and low <= value <= high):
            return Verdict(error=f"{value} is not in {low:g}..{high:g}")
        return Verdict(value=value)


def question_id(messages: Sequence[Message], *rest: float) -> str:
    """Hash of all that is asked."""
    return "judge-" + stable_hash([content_of(messages), *rest])


def _completions(generator: Generator, requests: Mapping[str, Request]) -> dict[str, Completion]:
    """The completion of every request; those that did not come are errors."""
    why = "no answer came back"
    found: dict[str, Completion] = {}
    try:
        for key, completion in generator.generate(list(requests.values())):
            found[key] = completion
    except GenerationError as error:
        why = error.render()
    missing = Completion(text="", finish="error", error=why)
    return {key: found.get(key, missing) for key in requests}


def _expected(found: AnswerLogps, options: Sequence[tuple[str, float]]) -> Verdict:
    """Expected value under log-probabilities."""
    highest = max(found.logps, default=-math.inf)
    if found.error or not math.isfinite(highest):
        return Verdict(error=found.error or "no verdict has a finite probability")
    weights = [math.exp(logp - highest) for logp in found.logps]
    total = sum(weights)
    pairs = list(zip(weights, options, strict=True))
    return Verdict(
        value=sum(weight * value for weight, (_, value) in pairs) / total,
        reason=", ".join(f"{text} {weight / total:.3f}" for weight, (text, _) in pairs),
    )
