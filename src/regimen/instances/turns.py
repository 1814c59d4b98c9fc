"""Turns of published chat logs to messages: names of roles, parts, reasoning, calls of tools.

Three spellings are read: ``{role, content}`` with content as a text or a list of typed parts,
``{from, value}``, and transcripts of one text with ``Human:`` and ``Assistant:`` lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from regimen.errors import near
from regimen.instances.chats import ROLE_NAMES, role_of
from regimen.records import Message, Part, Role, ToolCall

_CALL_ROLES = frozenset({"function_call", "tool_call", "tool_calls"})
_REASONING = ("reasoning", "reasoning_content", "thinking")
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]?")


class Unusable(Exception):
    """A row cannot become a record: a stable name, what was found, what to do."""

    def __init__(self, error: str, got: str, fix: str) -> None:
        self.error, self.got, self.fix = error, got, fix
        super().__init__(error, got, fix)


def kind_of(value: Any) -> str:
    """What a value is, in words, with the start of a text."""
    if isinstance(value, str):
        return f"the text {value[:40]!r}" if value.strip() else "an empty text"
    if value is None:
        return "nothing"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "an object with " + (", ".join(sorted(map(str, value))[:6]) or "no keys")
    return f"the {type(value).__name__} {value!r}"[:60]


def messages_of(turns: Any, column: str) -> list[Message]:
    """The messages of a column that holds turns: a list, JSON text of a list, or one turn.

    Raises:
        Unusable: not a list of turns, an unknown role, or content that cannot be read.
    """
    if isinstance(turns, str):
        turns = _decoded(turns, column)
    if isinstance(turns, Mapping):
        turns = [turns]
    if not isinstance(turns, list | tuple):
        fix = "Write a list of turns, each with role and content."
        raise Unusable("not_turns", f"{column} is {kind_of(turns)}", fix)
    return [_message(turn, f"{column}[{number}]") for number, turn in enumerate(turns)]


def _decoded(text: str, column: str) -> Any:
    """A list of turns that a CSV cell holds as JSON text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        fix = "Write a list of turns, each with role and content."
        raise Unusable("not_turns", f"{column} is {kind_of(text)}", fix) from None


def _message(turn: Any, place: str) -> Message:
    if not isinstance(turn, Mapping):
        fix = "Write every turn as an object with role and content."
        raise Unusable("not_turns", f"{place} is {kind_of(turn)}", fix)
    name = turn.get("role") or turn.get("from")
    role = _role(name, place)
    content = turn["content"] if turn.get("content") is not None else turn.get("value")
    text, parts, reasoning, calls = _content(content, role, str(name), place)
    calls += _calls(turn.get("tool_calls"), place) + _calls(turn.get("function_call"), place)
    told = next((turn[key] for key in _REASONING if isinstance(turn.get(key), str)), "")
    train = turn.get("train")
    return Message(
        role=role,
        content=parts if len(parts) > 1 else text,
        tool_calls=tuple(calls),
        reasoning="\n\n".join(filter(None, (told, reasoning))),
        train=train if isinstance(train, bool) else None,
        weight=_weight(turn, place) if role == "assistant" else 1.0,
    )


def _role(name: Any, place: str) -> Role:
    if isinstance(name, str):
        role = "assistant" if _folded(name) in _CALL_ROLES else role_of(name)
        if role is not None:
            return role
    got = f"{place} has role {name!r}" if name else f"{place} has no role"
    raise Unusable("unknown_role", got[:120], near(str(name), ROLE_NAMES))


def _folded(name: str) -> str:
    return name.strip().casefold().replace("-", "_")


def _content(
    content: Any, role: Role, name: str, place: str
) -> tuple[str, tuple[Part, ...], str, list[ToolCall]]:
    """Text, text parts, reasoning and calls of a turn's content."""
    if _folded(name) in _CALL_ROLES and content:
        return "", (), "", _calls(content, place)
    if content is None or isinstance(content, str):
        return content or "", (), "", []
    if isinstance(content, list | tuple):
        return _parts(content, place)
    if role == "tool":
        return json.dumps(content, ensure_ascii=False, default=str), (), "", []
    got = f"{place} has {kind_of(content)} as content"
    raise Unusable("content_not_text", got, "Write content as a text or a list of text parts.")


def _parts(content: Sequence[Any], place: str) -> tuple[str, tuple[Part, ...], str, list[ToolCall]]:
    texts: list[Part] = []
    reasoning: list[str] = []
    calls: list[ToolCall] = []
    for part in content:
        kind = "text" if isinstance(part, str) else ""
        value: Any = part
        if isinstance(part, Mapping):
            kind = str(part.get("type") or "text")
            value = next((part[k] for k in (kind, "value", "text") if part.get(k) is not None), "")
        if kind == "text" and isinstance(value, str):
            texts.append(Part(text=value))
        elif kind in _REASONING and isinstance(value, str):
            reasoning.append(value)
        elif kind in _CALL_ROLES:
            calls += _calls(value, place)
        else:
            got = f"{place} has a part of type {kind!r}" if kind else f"{place}: {kind_of(part)}"
            raise Unusable("unsupported_part", got[:120], "Keep parts of type text only.")
    return "".join(p.text for p in texts), tuple(texts), "\n\n".join(reasoning), calls


def _calls(value: Any, place: str) -> list[ToolCall]:
    """Calls of tools: ``{name, arguments}``, ``{function: {...}}``, a list, or JSON text."""
    if not value:
        return []
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise _bad_call(place, value) from None
    return [_call(call, place) for call in (value if isinstance(value, list | tuple) else [value])]


def _call(value: Any, place: str) -> ToolCall:
    inner = value.get("function") if isinstance(value, Mapping) else None
    body = inner if isinstance(inner, Mapping) else value
    if not isinstance(body, Mapping) or not isinstance(body.get("name"), str):
        raise _bad_call(place, value)
    arguments = body.get("arguments", body.get("parameters"))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False, default=str)
    identity = value.get("id")
    return ToolCall(name=body["name"], arguments=arguments, id=str(identity or ""))


def _bad_call(place: str, value: Any) -> Unusable:
    fix = 'Write a call as {"name": ..., "arguments": {...}}.'
    return Unusable("bad_tool_call", f"{place} calls {kind_of(value)}", fix)


def _weight(turn: Mapping[str, Any], place: str) -> float:
    value = turn.get("weight", turn.get("loss_weight"))
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        value = math.nan
    if not 0 <= value < math.inf:
        got = f"{place} has weight {kind_of(turn.get('weight', turn.get('loss_weight')))}"
        raise Unusable("bad_weight", got, "Write a number of at least 0.")
    return float(value)


def is_transcript(text: str) -> bool:
    """Whether a text is a conversation written as ``Human:`` and ``Assistant:`` lines."""
    return text.lstrip().startswith("Human:") and "Assistant:" in text


def transcript(text: str) -> list[Message]:
    """The turns of a transcript, stripped of the white space around them."""
    pieces = _SPEAKER.split("\n\n" + text.strip())
    return [
        Message(role="user" if who == "Human" else "assistant", content=said.strip())
        for who, said in zip(pieces[1::2], pieces[2::2], strict=True)
    ]


def with_system(messages: Sequence[Message], system: Any, tools: Any) -> list[Message]:
    """Messages led by a column's system text and the descriptions of the tools, where given.

    Records have no place of their own for tools yet; their JSON goes to the end of the system
    turn, under the line ``Tools:``, so that a model sees what it may call.
    """
    head = [m for m in messages[:1] if m.role == "system"]
    texts = [system] if isinstance(system, str) and system.strip() else []
    texts += [m.text for m in head if m.text.strip() and m.text not in texts]
    if tools:
        described = tools if isinstance(tools, str) else json.dumps(tools, ensure_ascii=False)
        if described.strip() not in ("", "[]"):
            texts.append(f"Tools:\n{described}")
    if not texts:
        return list(messages)
    first = Message(role="system", content="\n\n".join(texts))
    return [first, *messages[len(head) :]]
