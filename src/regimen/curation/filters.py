"""Filters: pure functions from instances to, for each, a reason to remove it or None.

A reason reads ``slug`` or ``slug: detail``; the ledger counts the slug and stores the detail.
A user's own filter is any function of the same signature.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from regimen.curation.ledger import Ledger, Outcome
from regimen.errors import DataError
from regimen.records import Instance, Labelled, Message, Preference, Ranked, Stepwise

Filter = Callable[[Sequence[Instance]], list[str | None]]
Kept = TypeVar("Kept", Instance, Preference, Labelled, Ranked, Stepwise)


class ExactDuplicates:
    """A filter that remembers: all but the first of the instances that a model would see as equal.

    Batches come in one order whoever made them, so the survivor does not depend on the number of
    workers. It holds ids alone, about 200 bytes a row.
    """

    def __init__(self) -> None:
        self._place: dict[bytes, int] = {}
        self._instances = bytearray()
        self._rows = array("q")
        self._sources = array("l")
        self._names: dict[str, int] = {}

    def __call__(self, instances: Sequence[Instance]) -> list[str | None]:
        """A reason for each duplicate of an earlier instance of this batch or one before."""
        return [
            self.reason(one.content_id, one.instance_id, one.lineage.source, one.lineage.row)
            for one in instances
        ]

    def reason(self, content: str, instance: str, source: str, row: int) -> str | None:
        """The reason for one instance by its ids (hexadecimal) and origin; None for the first."""
        key = bytes.fromhex(content)
        place = self._place.setdefault(key, len(self._place))
        if place == len(self._rows):
            self._instances += bytes.fromhex(instance)
            self._rows.append(row)
            self._sources.append(self._names.setdefault(source, len(self._names)))
            return None
        size = len(self._instances) // len(self._rows)
        first = self._instances[place * size : (place + 1) * size].hex()
        origin = list(self._names)[self._sources[place]] or "source not given"
        return f"exact_duplicate: of {first} ({origin}, row {self._rows[place]})"


def exact_duplicates(instances: Sequence[Instance]) -> list[str | None]:
    """All but the first of the instances that a model would see as equal."""
    return ExactDuplicates()(instances)


def length(
    instances: Sequence[Instance], *, min_answer: int = 1, max_conversation: int = 8_000
) -> list[str | None]:
    """Instances whose last answer is too short or whose conversation is too long.

    Args:
        instances: what to look at.
        min_answer: fewest characters of the last assistant turn, outer white space not counted.
        max_conversation: most characters of all turns together.
    """
    return [_length(one.messages, min_answer, max_conversation) for one in instances]


def _length(messages: Sequence[Message], min_answer: int, max_conversation: int) -> str | None:
    total = sum(map(characters, messages))
    if total > max_conversation:
        return f"too_long: {total} characters, at most {max_conversation}"
    answers = [m for m in messages if m.role == "assistant"]
    size = len(answers[-1].text.strip()) if answers else 0
    if size < min_answer and not (answers and answers[-1].tool_calls):
        return f"answer_too_short: {size} characters, at least {min_answer}"
    return None


def characters(message: Message) -> int:
    """Characters of a turn: its text, its reasoning and the calls it makes."""
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.text) + len(message.reasoning) + calls


def no_answer(instances: Sequence[Instance]) -> list[str | None]:
    """Instances from which nothing can be learned: no turn that is trained says anything."""
    return [None if any(map(_teaches, one.messages)) else "no_answer" for one in instances]


def _teaches(message: Message) -> bool:
    trained = message.role == "assistant" if message.train is None else message.train
    return trained and not is_empty(message)


def is_empty(message: Message) -> bool:
    """Whether a turn says nothing and calls nothing."""
    return not (message.text.strip() or message.tool_calls)


def conversation_shape(instances: Sequence[Instance]) -> list[str | None]:
    """Instances that are not: an optional system turn, then user and assistant in turn.

    Results of tools follow the assistant turn that calls them, and an assistant turn follows them.
    """
    return [_shape(one.messages) for one in instances]


# What may come after each role; "" is the start of the conversation.
_FOLLOWS: Mapping[str, tuple[str, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "tool": ("tool", "assistant"),
}


def _shape(messages: Sequence[Message]) -> str | None:
    if not messages:
        return "no_turns"
    previous: Message | None = None
    for position, message in enumerate(messages, start=1):
        role = previous.role if previous else ""
        if is_empty(message):
            return f"empty_turn: turn {position} ({message.role})"
        calls = previous is not None and bool(previous.tool_calls)
        allowed = ("tool",) if calls else _FOLLOWS[role]
        if message.role not in allowed:
            return f"turn_order: turn {position} is {message.role} after {role or 'the start'}"
        previous = message
    last = messages[-1].role
    return None if last == "assistant" else f"ends_without_answer: last turn is {last}"


FILTERS: Mapping[str, Filter] = {
    "exact_duplicates": exact_duplicates,
    "length": length,
    "no_answer": no_answer,
    "conversation_shape": conversation_shape,
}


def judged(
    name: str, instances: Sequence[Kept], fn: Callable[[Sequence[Kept]], list[str | None]]
) -> tuple[list[Kept], Outcome]:
    """What a filter of records of one kind keeps of a batch, in order, and the account of it.

    Raises:
        DataError: ``filter-length``: the filter did not give one verdict per instance.
    """
    reasons = fn(instances)
    if len(reasons) != len(instances):
        raise DataError(
            f"The filter of step {name!r} did not judge every instance.",
            slug="filter-length",
            got=f"{len(reasons)} verdicts",
            expected=f"{len(instances)}: None to keep, a reason to remove",
            fix="Return one entry per instance, in order.",
        )
    kept: list[Kept] = []
    removed: list[tuple[Kept, str, str]] = []
    for instance, reason in zip(instances, reasons, strict=True):
        if reason is None:
            kept.append(instance)
        else:
            slug, _, detail = reason.partition(": ")
            removed.append((instance, slug, detail))
    return kept, Outcome(name, len(instances), len(kept), tuple(removed))


def chained(
    instances: Sequence[Instance], filters: Mapping[str, Filter]
) -> tuple[list[Instance], list[Outcome]]:
    """What is left of a batch after every filter in turn, and the account of each step."""
    kept, outcomes = list(instances), []
    for name, fn in filters.items():
        kept, outcome = judged(name, kept, fn)
        outcomes.append(outcome)
    return kept, outcomes


def apply(
    name: str,
    instances: Sequence[Kept],
    fn: Callable[[Sequence[Kept]], list[str | None]],
    ledger: Ledger,
) -> list[Kept]:
    """Run a filter as one step of the ledger and return what it keeps, in order.

    Raises:
        DataError: as ``judged``.
    """
    kept, outcome = judged(name, instances, fn)
    with ledger.step(name) as step:
        step.take(outcome)
    return kept
