"""Systems: whatever gives answers to items, and how an answer that failed is kept.

A request that failed is an ``Answer`` with its error; it scores 0 and is counted, so that a model
that cannot be reached never looks like a smaller set of items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from regimen.errors import EvaluationError, GenerationError
from regimen.protocols import (
    SCORER_ERRORS,
    Completion,
    Finish,
    Generator,
    Request,
    Scorer,
)
from regimen.records import Item, Message, last_user_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of a conversation with a system: what the user said, and the answer."""

    user: str
    answer: str
    finish: Finish = "stop"
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a system said to an item; ``error`` says why where it said nothing usable.

    ``prompt`` is what it was asked, as text; ``tokens`` the number it generated, ``logp`` the sum
    of their log-probabilities (nats, with that of the stop id), where that is known. Of an item
    with follow-ups, ``text`` is the answer to the first turn, and ``turns`` are all, the first
    included; they are empty for other items. It ended by itself if every turn did.
    """

    text: str = ""
    prompt: str = ""
    finish: Finish = "stop"
    tokens: int = 0
    logp: float | None = None
    error: str = ""
    turns: tuple[Turn, ...] = ()


MISSING = Answer(finish="error", error="no answer came back")


@runtime_checkable
class System(Protocol):
    """Gives answers for items."""

    @property
    def generates(self) -> bool:
        """Whether answers are generated, so that they stop, run out of length or fail."""

    def answers(self, items: Sequence[Item]) -> Iterator[tuple[str, Answer]]:
        """Yield ``(item_id, answer)`` in any order; items may be left out, then they failed."""


@dataclass(frozen=True, slots=True)
class GeneratedSystem:
    """A generator and how to ask it."""

    generator: Generator
    ask: Callable[[Item], Request]

    @property
    def generates(self) -> bool:
        """A model or an endpoint answers."""
        return True

    def answers(self, items: Sequence[Item]) -> Iterator[tuple[str, Answer]]:
        """Every request in one call, so that the engine can batch across suites.

        Items with follow-ups are asked these in further calls, each after the answer before it. A
        ``GenerationError`` in the middle keeps what came before it; the rest failed with it.
        """
        by_id = {item.item_id: item for item in items}
        first = requests = {request.id: request for request in map(self.ask, items)}
        turns: dict[str, tuple[Turn, ...]] = {}
        while requests:
            later: dict[str, Request] = {}
            for key, answer in self._answered(requests):
                asked = by_id[key].follow_ups
                if not asked:
                    yield key, answer
                    continue
                before = turns.get(key, ())
                turns[key] = (*before, _turn(by_id[key], len(before), answer))
                if answer.error or len(before) == len(asked):
                    yield key, whole_answer(turns[key], answer, first[key])
                else:
                    later[key] = follow_up(requests[key], answer.text, asked[len(before)])
            requests = later

    def _answered(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, Answer]]:
        """One call of the generator; requests that it leaves out get no answer."""
        waiting = dict(requests)
        try:
            for key, completion in self.generator.generate(list(requests.values())):
                if waiting.pop(key, None) is None:
                    raise ValueError(
                        f"{self.generator.name} answered {key!r}, which is not waiting for one"
                    )
                yield key, _answer(requests[key], completion)
        except GenerationError as error:
            for key, request in waiting.items():
                yield key, _failed(prompt_text(request), error.render())


def follow_up(request: Request, answer: str, user: str) -> Request:
    """The request of the next turn: what was asked, the answer, what the user says then."""
    if request.text:
        text = f"{request.text} {answer.strip()}\n\nInput: {user}\nOutput:"
        return replace(request, text=text)
    said = (Message(role="assistant", content=answer), Message(role="user", content=user))
    return replace(request, messages=(*request.messages, *said))


def _turn(item: Item, number: int, answer: Answer) -> Turn:
    """The turn that an answer ends, counted from 0."""
    user = item.follow_ups[number - 1] if number else last_user_text(item.messages)
    return Turn(user=user, answer=answer.text, finish=answer.finish, tokens=answer.tokens)


def whole_answer(turns: Sequence[Turn], last: Answer, first: Request) -> Answer:
    """All turns as one answer; an error of the last is that of the whole."""
    ends = [turn.finish for turn in turns]
    finish: Finish = "error" if last.error else "length" if "length" in ends else "stop"
    return Answer(
        text=turns[0].answer,
        prompt=prompt_text(first),
        finish=finish,
        tokens=sum(turn.tokens for turn in turns),
        error=f"turn {len(turns)}: {last.error}" if last.error else "",
        turns=tuple(turns),
    )


@dataclass(frozen=True, slots=True)
class ComputedSystem:
    """A pure function of the item, such as a copy baseline; None where it has nothing to say."""

    answer: Callable[[Item], str | None]

    @property
    def generates(self) -> bool:
        """Nothing is generated."""
        return False

    def answers(self, items: Sequence[Item]) -> Iterator[tuple[str, Answer]]:
        """One answer per item, in order."""
        for item in items:
            text = self.answer(item)
            yield (
                item.item_id,
                _failed("", "nothing to copy") if text is None else Answer(text=text),
            )


def answer_items(
    system: System, items: Sequence[Item], advance: Callable[[int], None] | None = None
) -> tuple[Answer, ...]:
    """The system's answers in the order of the items; one that did not come is a failed answer.

    Args:
        system: who answers.
        items: with distinct ids.
        advance: called with 1 for each answer that comes, for a progress bar.
    """
    found: dict[str, Answer] = {}
    for key, answer in system.answers(items):
        found[key] = answer
        if advance is not None:
            advance(1)
    return tuple(found.get(item.item_id, MISSING) for item in items)


def require_answers(name: str, answers: Sequence[Answer]) -> None:
    """Raise where every request failed: a score of 0 would describe the failure, not the model.

    Raises:
        EvaluationError: ``nothing-answered``.
    """
    if answers and all(answer.error for answer in answers):
        raise EvaluationError(
            f"System {name!r} answered none of {len(answers)} requests.",
            slug="nothing-answered",
            got=answers[0].error,
            expected="an answer to at least one request",
            fix="Read the first error above; it is the generator's own.",
        )


def scored(scorer: Scorer, answer: Answer, item: Item) -> tuple[float, str]:
    """Score of an answer in 0..1 and, where the scorer could not give one, 0 and its error."""
    if answer.error:
        return 0.0, ""
    try:
        value = float(scorer(answer.text, item))
    except SCORER_ERRORS as error:
        return 0.0, f"{type(error).__name__}: {error}"
    if not (math.isfinite(value) and 0 <= value <= 1):
        return 0.0, f"score {value} is not in 0..1"
    return value, ""


def prompt_text(request: Request) -> str:
    """What was asked, as one string a person can read."""
    if request.text or not request.messages:
        return request.text
    if len(request.messages) == 1:
        return request.messages[0].text
    return "\n\n".join(f"{message.role}: {message.text}" for message in request.messages)


def _answer(request: Request, completion: Completion) -> Answer:
    """A completion as an answer; an answer to plain text is cut at its stop strings."""
    prompt = prompt_text(request)
    if completion.finish == "error" or completion.error:
        return _failed(prompt, completion.error or "the generator gave no reason")
    text = _cut(completion.text, request.stop).strip() if request.text else completion.text
    return Answer(
        text=text,
        prompt=prompt,
        finish=completion.finish,
        tokens=completion.tokens,
        logp=completion.logp,
    )


def _failed(prompt: str, error: str) -> Answer:
    return Answer(prompt=prompt, finish="error", error=error)


def _cut(text: str, stops: Sequence[str]) -> str:
    """Text up to the first stop string; endpoints differ in whether they return it."""
    ends = [end for stop in stops if (end := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def answer_all(
    systems: Mapping[str, System],
    items: Sequence[Item],
    advance: Callable[[int], None] | None = None,
) -> dict[str, tuple[Answer, ...]]:
    """Answers of every system, each aligned with the items.

    Raises:
        EvaluationError: ``nothing-answered`` for a generating system.
    """
    answers: dict[str, tuple[Answer, ...]] = {}
    for name, system in systems.items():
        answers[name] = answer_items(system, items, advance)
        if system.generates:
            require_answers(name, answers[name])
    return answers


def answers_by_id(
    items: Sequence[Item], answers: Mapping[str, Sequence[Answer]]
) -> dict[str, dict[str, Answer]]:
    """``answers[system]``, aligned with the items, as ``answers[system][item_id]``."""
    keys = [item.item_id for item in items]
    return {name: dict(zip(keys, given, strict=True)) for name, given in answers.items()}
