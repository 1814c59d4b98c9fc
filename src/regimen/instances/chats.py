"""Chat logs to instances: names of roles, empty and repeated turns, and very long conversations.

Pure functions. Whatever is done to a conversation is counted under a name in ``Chat.changed``;
what is taken away as a whole has a reason:

    unknown_role        a turn's role is none of ``ROLE_NAMES``
    no_turns            nothing is left after empty turns are dropped
    system_not_first    a system turn in the middle, which would change all turns before it
    unmergeable_turns   two turns of one role follow each other but are trained differently
    no_answer           nobody answers a user
    no_question         no user turn
    exchange_too_long   a piece: one question and its answer alone exceed the limit
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from regimen.records import Instance, Lineage, Message, Role

# Names of roles in published chat logs, in lower case.
ROLE_NAMES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "context": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "instruction": "user",
    "question": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "agent": "assistant",
    "response": "assistant",
    "answer": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}


def role_of(name: str) -> Role | None:
    """The role that a chat log's name means; None when it is not known."""
    return ROLE_NAMES.get(name.strip().casefold().replace(" ", "_").replace("-", "_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn as a log has it: the name of its role as written, and its text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A conversation, or a piece of one, that cannot be used, and why."""

    messages: tuple[Message, ...]
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """What became of one conversation: pieces to train on, removals, and what was changed."""

    pieces: tuple[tuple[Message, ...], ...] = ()
    removed: tuple[Removal, ...] = ()
    changed: Mapping[str, int] = field(default_factory=dict)


def clean_chat(turns: Iterable[Turn | Message], max_characters: int | None = None) -> Chat:
    """Bring a conversation into the shape that is trained on, and split it where it is too long.

    Args:
        turns: the conversation, in order.
        max_characters: longest piece; None keeps every conversation whole.
    """
    given = list(turns)
    changed: Counter[str] = Counter()
    messages: list[Message] = []
    for position, turn in enumerate(given, start=1):
        role = role_of(turn.role)
        if role is None:
            found = f"turn {position} has role {turn.role!r}"
            return _removed(_readable(given), "unknown_role", found)
        if role != turn.role:
            changed["role_renamed"] += 1
        if isinstance(turn, Message):
            messages.append(replace(turn, role=role))
        else:
            messages.append(Message(role=role, content=turn.content))
    original = tuple(messages)
    messages = _drop_empty(messages, changed)
    messages = _merge(messages, changed)
    trimmed = _trim(messages, changed)
    reason, detail = _unusable(messages, trimmed)
    messages = trimmed
    if reason:
        return _removed(original, reason, detail, changed)
    if max_characters is None or size(messages) <= max_characters:
        return Chat(pieces=(tuple(messages),), changed=dict(changed))
    return _split(messages, max_characters, changed)


def _readable(turns: Sequence[Turn | Message]) -> tuple[Message, ...]:
    """Turns as messages for the ledger; a name that is no role stays visible in the text."""
    return tuple(
        turn
        if isinstance(turn, Message)
        else Message(
            role=role_of(turn.role) or "user",
            content=turn.content if role_of(turn.role) else f"[{turn.role}] {turn.content}",
        )
        for turn in turns
    )


def _removed(
    messages: Sequence[Message],
    reason: str,
    detail: str = "",
    changed: Mapping[str, int] | None = None,
) -> Chat:
    removal = Removal(messages=tuple(messages), reason=reason, detail=detail)
    return Chat(removed=(removal,), changed=dict(changed or {}))


def _drop_empty(messages: Sequence[Message], changed: Counter[str]) -> list[Message]:
    full = [m for m in messages if m.text.strip() or m.tool_calls]
    if len(full) < len(messages):
        changed["empty_turn_dropped"] += len(messages) - len(full)
    return full


def _merge(messages: Sequence[Message], changed: Counter[str]) -> list[Message]:
    """Consecutive turns of one role as one. Calls of tools and their results stay apart."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last is None or not _mergeable(last, message):
            merged.append(message)
            continue
        changed["turns_merged"] += 1
        reasoning = "\n\n".join(text for text in (last.reasoning, message.reasoning) if text)
        content = f"{last.text.rstrip()}\n\n{message.text.lstrip()}"
        merged[-1] = replace(last, content=content, reasoning=reasoning)
    return merged


def _mergeable(first: Message, second: Message) -> bool:
    same = first.role == second.role and first.role != "tool"
    plain = not first.tool_calls and not second.tool_calls
    return same and plain and (first.train, first.weight) == (second.train, second.weight)


def _trim(messages: Sequence[Message], changed: Counter[str]) -> list[Message]:
    """Without what nobody asked (before the first user turn) and what nobody answered."""
    head = [m for m in messages[:1] if m.role == "system"]
    body = list(messages[len(head) :])
    while body and body[0].role in ("assistant", "tool"):
        body.pop(0)
        changed["leading_turn_dropped"] += 1
    while body and body[-1].role != "assistant":
        changed[f"trailing_{body.pop().role}_dropped"] += 1
    return head + body


def _unusable(messages: Sequence[Message], trimmed: Sequence[Message]) -> tuple[str, str]:
    """Reason and detail of a conversation that cannot be used, or two empty texts."""
    if not messages:
        return "no_turns", ""
    if all(m.role != "user" for m in messages):
        return "no_question", ""
    if all(m.role != "assistant" for m in trimmed):
        return "no_answer", ""
    return _disorder(trimmed)


def _disorder(messages: Sequence[Message]) -> tuple[str, str]:
    for position, message in enumerate(messages[1:], start=2):
        if message.role == "system":
            return "system_not_first", f"turn {position}"
        before = messages[position - 2]
        if message.role == before.role and message.role != "tool":
            return "unmergeable_turns", f"turns {position - 1} and {position}"
    return "", ""


def size(messages: Iterable[Message]) -> int:
    """Characters of text, reasoning and tool calls."""
    return sum(
        len(m.text) + len(m.reasoning) + sum(len(c.name) + len(c.arguments) for c in m.tool_calls)
        for m in messages
    )


def _exchanges(messages: Sequence[Message]) -> list[list[Message]]:
    """The conversation cut before every user turn."""
    cut: list[list[Message]] = []
    for message in messages:
        if message.role == "user" or not cut:
            cut.append([])
        cut[-1].append(message)
    return cut


def _split(messages: Sequence[Message], limit: int, changed: Counter[str]) -> Chat:
    """Pieces within the limit, as few as fit in order; each begins with the system turn."""
    head = [m for m in messages[:1] if m.role == "system"]
    pieces: list[list[Message]] = []
    removed: list[Removal] = []
    open_piece = False
    for exchange in _exchanges(messages[len(head) :]):
        if size(head) + size(exchange) > limit:
            detail = f"{size(head) + size(exchange)} characters, at most {limit}"
            whole = (*head, *exchange)
            removed.append(Removal(messages=whole, reason="exchange_too_long", detail=detail))
            open_piece = False
        elif open_piece and size(pieces[-1]) + size(exchange) <= limit:
            pieces[-1] += exchange
        else:
            pieces.append([*head, *exchange])
            open_piece = True
    if len(pieces) + len(removed) > 1:
        changed["split"] += 1
    return Chat(pieces=tuple(map(tuple, pieces)), removed=tuple(removed), changed=dict(changed))


def chat_instances(
    turns: Iterable[Turn | Message],
    lineage: Lineage,
    max_characters: int | None = None,
    weight: float = 1.0,
) -> tuple[list[Instance], Chat]:
    """The instances of one conversation, and what was done to it.

    Every piece is a unit of the ledger: in = len(pieces) + len(removed). A split conversation's
    pieces differ in ``lineage.variant`` (``piece=2/3``), so that their ids differ.
    """
    chat = clean_chat(turns, max_characters)
    total = len(chat.pieces)
    found = []
    for number, messages in enumerate(chat.pieces, start=1):
        variant = lineage.variant
        if "split" in chat.changed:
            variant = ";".join(part for part in (variant, f"piece={number}/{total}") if part)
        origin = replace(lineage, variant=variant)
        found.append(Instance(messages=messages, lineage=origin, weight=weight))
    return found, chat
