"""What an earlier row needs from a later one: generators, likelihoods and scorers, as protocols.

``Generator.generate`` may answer in any order; callers commit results in request order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from regimen.errors import RegimenError
from regimen.records import Item, Message

Finish = Literal["stop", "length", "error"]

SCORER_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RegimenError,
    TypeError,
    ValueError,
)
"""What a scorer or a judge that is a function may raise on an answer that it cannot read; anything
else is a fault of this program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing to generate.

    Either ``messages`` (rendered with the model's chat template, ready for the assistant's turn)
    or ``text`` (a plain prefix to continue, no template). ``temperature`` 0 is greedy. ``labels``
    say what it is about (task, family, category, language), where a model chooses by that.
    """

    id: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came back. ``finish`` is ``error`` when nothing usable did; ``error`` then says why.

    ``logp`` is the sum of the log-probabilities of the generated tokens (nats), when known.
    """

    text: str
    finish: Finish = "stop"
    tokens: int = 0
    logp: float | None = None
    error: str = ""


@runtime_checkable
class Generator(Protocol):
    """Anything that answers requests: the engine, an endpoint, a script."""

    @property
    def name(self) -> str:
        """What the lineage records as the generator."""

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[str, Completion]]:
        """Yield ``(request.id, completion)`` for every request, in any order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """One prompt and the answers to it whose log-probabilities are asked for.

    The prompt is ``messages`` or ``text``, as in :class:`Request`. An answer to messages is the
    assistant's whole turn, with its end; an answer to text goes on from it as it is written.
    """

    id: str
    answers: tuple[str, ...]
    messages: tuple[Message, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLogps:
    """The log-probability (nats, summed over tokens) of each answer, and its number of tokens.

    ``error`` says why there are none.
    """

    logps: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    error: str = ""


@runtime_checkable
class Likelihoods(Protocol):
    """Anything that can say how likely given answers are."""

    @property
    def name(self) -> str:
        """What is asked."""

    def answer_logps(self, asked: Sequence[Alternatives]) -> Iterator[tuple[str, AnswerLogps]]:
        """Yield ``(alternatives.id, its log-probabilities)`` for each, in any order."""


@runtime_checkable
class Scorer(Protocol):
    """Scores one answer against an item, in 0..1."""

    def __call__(self, answer: str, item: Item) -> float:
        """The score of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerScore:
    """The score of one answer, the higher the better; None where ``error`` says why."""

    value: float | None = None
    error: str = ""

    @classmethod
    def of(cls, value: float) -> AnswerScore:
        """The score of a number; what is not finite is none."""
        return cls(value=value) if math.isfinite(value) else cls(error=f"the score is {value}")


@runtime_checkable
class AnswerScorer(Protocol):
    """Scores the answers to a prompt against each other: a rule, a judge, a reward model.

    Scores compare the answers to one prompt; those of different prompts need not be comparable.
    """

    @property
    def name(self) -> str:
        """What the lineage records as the judge."""

    def scores(self, asked: Sequence[tuple[Item, Sequence[str]]]) -> list[list[AnswerScore]]:
        """One score for each answer to each item, in order."""
