"""The nouns: frozen records that every stage exchanges, with stable identities.

A record never changes after it is made; a changed record is a new one (``dataclasses.replace``).
``content_id`` is the hash of what a model would see; ``instance_id`` also covers where it came
from, so that two equal rows stay two rows and a ledger can reconcile them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA_VERSION = 1

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[str, ...] = ("system", "user", "assistant", "tool")


def stable_hash(value: Any, *, length: int = 20) -> str:
    """Hex digest of a JSON-compatible value; equal values give equal digests on every machine.

    Args:
        value: anything ``json.dumps`` takes; mappings are hashed with sorted keys.
        length: number of hex digits, at most 64.
    """
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()[
        :length
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of a message's content. ``kind`` is ``text`` today."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool: its name and its arguments as a JSON object in text form."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    ``train`` overrides the masking policy for this turn: True learns it, False does not, None
    leaves it to the policy. ``weight`` multiplies the loss of every supervised token of the turn.
    """

    role: Role
    content: str | tuple[Part, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    train: bool | None = None
    weight: float = 1.0

    @property
    def text(self) -> str:
        """The content as one string."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a record came from and what was done to it."""

    source: str = ""
    row: int = -1
    task: str = ""
    family: str = ""
    category: str = ""
    language: str = ""
    licence: str = ""
    template: str = ""
    demonstrations: tuple[str, ...] = ()
    option_permutation: tuple[int, ...] = ()
    generator: str = ""
    seed: int = 0
    variant: str = ""
    verdicts: tuple[str, ...] = ()


def content_of(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """What a model would see of the messages, as JSON-compatible values."""
    return [
        {
            "role": m.role,
            "content": m.text,
            "tool_calls": [asdict(call) for call in m.tool_calls],
            "reasoning": m.reasoning,
        }
        for m in messages
    ]


def last_user_text(messages: Sequence[Message]) -> str:
    """What the user said last; empty where the user said nothing."""
    return next((one.text for one in reversed(messages) if one.role == "user"), "")


def instance_identity(content_id: str, lineage: Lineage) -> str:
    """hash(content_id, source, row, template, seed, variant)."""
    keys = (lineage.source, lineage.row, lineage.template, lineage.seed, lineage.variant)
    return stable_hash([content_id, lineage.task, *keys])


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A formatted training instance: a conversation and its lineage."""

    messages: tuple[Message, ...]
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0

    @property
    def content_id(self) -> str:
        """Hash of what the model would see; equal for duplicates."""
        return stable_hash(content_of(self.messages))

    @property
    def instance_id(self) -> str:
        """Hash of content and origin; different for duplicates from different rows."""
        return instance_identity(self.content_id, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Two answers to one prompt, the first preferred. ``prompt`` ends before the answers.

    ``margin`` is by how much, in the unit of whoever judged (points of a rating, share of the
    votes); None where only the order is known. ``dimensions`` say in what the first is preferred
    (``helpful``, ``harmless``); empty where nobody said.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0
    margin: float | None = None
    dimensions: tuple[str, ...] = ()

    @property
    def content_id(self) -> str:
        """Hash of prompt and both answers, in order, and of dimensions; without the margin."""
        said: list[Any] = [content_of(m) for m in (self.prompt, self.chosen, self.rejected)]
        return stable_hash([*said, list(self.dimensions)] if self.dimensions else said)

    @property
    def instance_id(self) -> str:
        """Hash of content and origin."""
        return instance_identity(self.content_id, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """One answer to a prompt, and whether it is one that is wanted. ``prompt`` ends before it."""

    prompt: tuple[Message, ...]
    answer: tuple[Message, ...]
    desirable: bool
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0

    @property
    def content_id(self) -> str:
        """Hash of prompt, answer and label."""
        return stable_hash([content_of(self.prompt), content_of(self.answer), self.desirable])

    @property
    def instance_id(self) -> str:
        """Hash of content and origin."""
        return instance_identity(self.content_id, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """Several answers to one prompt, each with a score: the higher, the better.

    ``scores`` are finite, in any unit, and comparable within the prompt; equal scores are a tie.
    """

    prompt: tuple[Message, ...]
    answers: tuple[tuple[Message, ...], ...]
    scores: tuple[float, ...]
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0

    @property
    def content_id(self) -> str:
        """Hash of prompt, answers and scores, in order."""
        answers = [content_of(answer) for answer in self.answers]
        return stable_hash([content_of(self.prompt), answers, list(self.scores)])

    @property
    def instance_id(self) -> str:
        """Hash of content and origin."""
        return instance_identity(self.content_id, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepwise:
    """An answer in steps, each a line of its own, with a label for each: 1 right, 0 wrong.

    Labels between are chances, such as the share of continuations that reach the right result.
    """

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    labels: tuple[float, ...]
    lineage: Lineage = field(default_factory=Lineage)
    weight: float = 1.0

    @property
    def content_id(self) -> str:
        """Hash of prompt, steps and labels, in order."""
        return stable_hash([content_of(self.prompt), list(self.steps), list(self.labels)])

    @property
    def instance_id(self) -> str:
        """Hash of content and origin."""
        return instance_identity(self.content_id, self.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A demonstration that belongs to a task: input, output and why it is right or wrong.

    ``explanation`` is that of Super-NaturalInstructions; None says that the example has none, which
    its published encoding keeps apart from an empty one. ``reason`` and ``suggestion`` (how to
    mend a wrong output) are those of the first Natural Instructions (arXiv 2104.08773).
    """

    input: str
    output: str
    explanation: str | None = None
    reason: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How a row becomes a prompt and an answer. ``input`` and ``output`` are Jinja sources.

    With an empty ``output``, ``input`` writes both, with ``|||`` between them, as promptsource
    does. ``choices`` is a Jinja source that writes the options of a row, with ``|||`` between
    them; the other sources know them as the list ``answer_choices``. An ``inverted`` template asks
    for what the task gives, or for something else than the task's answer. ``tags`` are what a
    collection says of a template: metrics, whether the options are in the prompt.
    """

    name: str
    input: str
    output: str = "{{ output }}"
    choices: str = ""
    language: str = "en"
    inverted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task: what is asked, how it is phrased, and rows to ask it of.

    A row has at least ``input`` (str) and ``output`` (str, or a list of accepted strings of which
    the first is the one to learn), or the columns that the templates name. ``options`` (list of
    str) are what a row can be answered with, ``rationale`` (str) the steps that lead to its answer.
    Rows come from ``instances`` or from ``generator(seed, n)``; ``oracle(row)`` gives the accepted
    outputs from the input alone. ``held_out`` are rows of the same task that are only evaluated.

    ``options`` is the output space of every row, ``avoid`` what an answer must not do (the "things
    to avoid" of arXiv 2104.08773), ``output_format`` a hint at what an answer looks like, and
    ``definitions`` say the definition in other languages, by code. ``tags`` name the coordinates of
    a task in a grammar, such as operation, object and format.
    """

    name: str
    family: str = ""
    category: str = ""
    language: str = "en"
    instruction_language: str = "en"
    licence: str = ""
    source: str = ""
    definition: str = ""
    definitions: Mapping[str, str] = field(default_factory=dict)
    avoid: str = ""
    output_format: str = ""
    options: tuple[str, ...] = ()
    templates: tuple[Template, ...] = ()
    positive: tuple[Example, ...] = ()
    negative: tuple[Example, ...] = ()
    instances: Sequence[Row] = ()
    held_out: Sequence[Row] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    generator: Callable[[int, int], Sequence[Row]] | None = None
    oracle: Callable[[Row], tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """A property that can be checked on an answer, as in IFEval (Zhou et al. 2023, 2311.07911).

    ``kind`` names it (``length_constraints:number_words``); ``arguments`` are its parameters, as
    JSON-compatible values.
    """

    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to ask a model in an evaluation, with the accepted answers.

    ``messages`` is the prompt. ``input`` is the bare input (for the copy-input baseline) and
    ``demonstrations`` are worked examples of the same task, definition first in the prompt of the
    prompted base. ``choices`` are what can be answered, ``constraints`` what an answer must
    satisfy. ``follow_ups`` are later turns of the user, each asked after the answer to the turn
    before it. ``cluster`` is the unit of resampling, the task by default.
    """

    suite: str
    messages: tuple[Message, ...]
    references: tuple[str, ...]
    input: str = ""
    definition: str = ""
    demonstrations: tuple[Example, ...] = ()
    choices: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    follow_ups: tuple[str, ...] = ()
    cluster: str = ""
    lineage: Lineage = field(default_factory=Lineage)

    @property
    def item_id(self) -> str:
        """Hash of the suite and of all that is asked for."""
        asked: list[Any] = [self.suite, content_of(self.messages), list(self.references)]
        if self.constraints or self.follow_ups:
            asked += [[asdict(one) for one in self.constraints], list(self.follow_ups)]
        return stable_hash(asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a person, a rule or a model said of a record."""

    subject: str
    judge: str
    dimension: str
    value: float | str | bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one system on one item, in 0..1."""

    item_id: str
    system: str
    metric: str
    value: float
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A sampled answer with its log-probability (sum over tokens, nats) and its reward."""

    prompt: tuple[Message, ...]
    answer: str
    logp: float
    reward: float = 0.0
    seed: int = 0
