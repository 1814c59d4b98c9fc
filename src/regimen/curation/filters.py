"""Filters: pure functions from instances to, for each, a reason to remove it or None.

A reason reads ``slug`` or ``slug: detail``; the ledger counts the slug and stores the detail.
A user's own filter is any function of the same signature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.records import Instance, Message

Filter = Callable[[Sequence[Instance]], list[str | None]]


def exact_duplicates(instances: Sequence[Instance]) -> list[str | None]:
    """All but the first of the instances that a model would see as equal.

    First is by source (in order of appearance), then row, then position, so that the survivor
    does not depend on the order in which workers returned rows.
    """
    sources: dict[str, int] = {}
    ranks = [
        (sources.setdefault(one.lineage.source, len(sources)), one.lineage.row, position)
        for position, one in enumerate(instances)
    ]
    contents = [one.content_id for one in instances]
    first: dict[str, int] = {}
    for position, content in enumerate(contents):
        if content not in first or ranks[position] < ranks[first[content]]:
            first[content] = position
    reasons: list[str | None] = []
    for position, content in enumerate(contents):
        keeper = first[content]
        origin = instances[keeper].lineage
        reasons.append(
            None
            if keeper == position
            else f"exact_duplicate: of {instances[keeper].instance_id} "
            f"({origin.source or 'source not given'}, row {origin.row})"
        )
    return reasons


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


def apply(name: str, instances: Sequence[Instance], fn: Filter, ledger: Ledger) -> list[Instance]:
    """Run a filter as one step of the ledger and return what it keeps, in order.

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
    kept: list[Instance] = []
    with ledger.step(name, entered=len(instances)) as step:
        for instance, reason in zip(instances, reasons, strict=True):
            if reason is None:
                kept.append(instance)
                step.keep()
            else:
                slug, _, detail = reason.partition(": ")
                step.remove(instance, slug, detail)
    return kept
