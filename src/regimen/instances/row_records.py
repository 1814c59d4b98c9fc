"""Rows to records, one function per format; each raises ``Unusable`` for what it cannot take.

A conversation goes through ``regimen.instances.chats``. What that changed (turns merged, empty
turns dropped) is in ``lineage.verdicts`` as ``turns_merged:2``; what it removed is ``Unusable``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.instances.chats import chat_instances, clean_chat
from regimen.instances.turns import (
    Unusable,
    is_transcript,
    kind_of,
    messages_of,
    transcript,
    with_system,
)
from regimen.records import Instance, Lineage, Message, Preference, content_of

Values = Mapping[str, Any]

_FIXES = {
    "no_turns": "Remove the row, or write its turns.",
    "no_answer": "Write an answer of the assistant, or remove the row.",
    "no_question": "Write what the user asked, or remove the row.",
    "system_not_first": "Put the system turn first, or split the conversation there.",
    "unmergeable_turns": "Give neighbouring turns of one role the same train and weight.",
}


def chat_row(values: Values, lineage: Lineage, weight: float) -> Instance:
    """A row with ``messages`` or ``conversations``, and perhaps ``system`` and ``tools``."""
    column = "messages" if values.get("messages") is not None else "conversations"
    return _instance(values, messages_of(values.get(column), column), lineage, weight)


def alpaca_row(values: Values, lineage: Lineage, weight: float) -> Instance:
    """A row with ``instruction``, ``output`` and perhaps ``input``, ``history``, ``system``."""
    turns = [*_history(values.get("history")), *_question(values)]
    turns += answer_turns(values.get("output"), "output")
    return _instance(values, turns, lineage, weight)


def completion_row(values: Values, lineage: Lineage, weight: float) -> Instance:
    """A row with ``prompt`` and ``completion``, texts or lists of turns."""
    turns = [*_prompt(values.get("prompt"), "prompt")]
    turns += answer_turns(values.get("completion"), "completion")
    return _instance(values, turns, lineage, weight)


def preference_row(values: Values, lineage: Lineage, weight: float) -> Preference:
    """A row with ``chosen`` and ``rejected``, each an answer or a whole conversation.

    The prompt is a column (``prompt``, ``conversations``, ``messages``, or ``instruction`` and
    ``input``) or what both conversations have in common, up to the last turn before an answer. A
    turn of the user after that makes them answers to different prompts, and so does a column whose
    question is in no turn of a conversation. ``margin``, or
    ``score_chosen`` and ``score_rejected``, say by how much one is preferred; ``dimensions`` in
    what, one name or a list.
    """
    chosen, rejected = (_side(values, name) for name in ("chosen", "rejected"))
    if content_of(chosen) == content_of(rejected):
        fix = "Remove the row: it prefers nothing."
        raise Unusable("equal_answers", "chosen and rejected are the same", fix)
    first, chosen_changes = cleaned(chosen, "chosen")
    second, rejected_changes = cleaned(rejected, "rejected")
    shared = _shared(first, second)
    asked = [turn for side in (first, second) for turn in side[shared:] if turn.role == "user"]
    if asked:
        got = f"after {shared} common turns a side asks {asked[0].text[:80]!r}"
        fix = "Compare answers to one prompt: cut both conversations after the first that differs."
        raise Unusable("prompts_differ", got, fix)
    verdicts = (*lineage.verdicts, *chosen_changes, *rejected_changes)
    # both sides end with an answer, and what they share ends before one
    return Preference(
        prompt=tuple(first[:shared]),
        chosen=tuple(first[shared:]),
        rejected=tuple(second[shared:]),
        lineage=replace(lineage, verdicts=verdicts),
        weight=weight,
        margin=_margin(values),
        dimensions=_dimensions(values),
    )


def written_row(values: Values, lineage: Lineage, weight: float) -> Instance:
    """A query that somebody asked and the ``answer`` that a person wrote as a demonstration.

    ``author`` is who wrote it, kept as what generated the instance (labelers' demonstrations of
    Ouyang et al. 2022, *InstructGPT*, section 3.2).
    """
    turns = [*_prompt(values.get("query"), "query"), *answer_turns(values.get("answer"), "answer")]
    author = _text(values.get("author")) or ""
    return _instance(values, turns, replace(lineage, generator=author.strip()), weight)


CONVERSIONS: Mapping[str, Callable[[Values, Lineage, float], Instance | Preference]] = {
    "messages": chat_row,
    "sharegpt": chat_row,
    "alpaca": alpaca_row,
    "prompt_completion": completion_row,
    "preference": preference_row,
    "written": written_row,
}


def _margin(values: Values) -> float | None:
    """By how much a row prefers its chosen answer; None where it does not say."""
    margin = number_of(values.get("margin"))
    if margin is None:
        scores = [number_of(values.get(f"score_{side}")) for side in ("chosen", "rejected")]
        if scores[0] is None or scores[1] is None:
            return None
        margin = scores[0] - scores[1]
    if margin < 0:
        fix = "Exchange chosen and rejected, or correct their scores."
        raise Unusable("bad_margin", f"the rejected answer is better by {-margin:g}", fix)
    return margin


def _dimensions(values: Values) -> tuple[str, ...]:
    """What a row compares its answers in; none where it does not say."""
    given = values.get("dimensions")
    names = [given] if isinstance(given, str) else given
    if names is None:
        return ()
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        fix = "Write a name such as helpful, or a list of names."
        raise Unusable("bad_dimensions", f"dimensions is {kind_of(given)}", fix)
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


def number_of(value: Any) -> float | None:
    """A finite number, or the text of one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _instance(
    values: Values, turns: Sequence[Message], lineage: Lineage, weight: float
) -> Instance:
    for name in ("label", "kto_tag"):
        if values.get(name) is False:
            fix = "Remove the row, or map another column to the name if false means good here."
            raise Unusable("undesirable_answer", f"{name} is false", fix)
    turns = with_system(turns, values.get("system"), values.get("tools"))
    found, chat = chat_instances(turns, lineage, weight=weight)
    for removal in chat.removed:
        raise Unusable(removal.reason, removal.detail or _shape(turns), _FIXES[removal.reason])
    verdicts = (*lineage.verdicts, *_changes(chat.changed))
    return replace(found[0], lineage=replace(found[0].lineage, verdicts=verdicts))


def _changes(changed: Mapping[str, int], side: str = "") -> list[str]:
    prefix = f"{side}:" if side else ""
    return [f"{prefix}{name}:{count}" for name, count in sorted(changed.items())]


def _shape(turns: Sequence[Message]) -> str:
    if not turns:
        return "no turns"
    return "turns of " + ", ".join(turn.role for turn in turns[:8])


def _text(value: Any) -> str | None:
    """A text or a number as text; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def _question(values: Values) -> list[Message]:
    """The user's turn of an instruction and its input, a blank line between them."""
    texts = []
    for name in ("instruction", "input"):
        value = values.get(name)
        text = "" if value is None else _text(value)
        if text is None:
            fix = "Write a text."
            raise Unusable("question_not_text", f"{name} is {kind_of(value)}", fix)
        texts.append(text)
    question = "\n\n".join(text for text in texts if text.strip())
    if not question:
        raise Unusable("no_question", "instruction and input are empty", _FIXES["no_question"])
    return [Message(role="user", content=question)]


def _prompt(value: Any, column: str) -> list[Message]:
    if isinstance(value, str) and is_transcript(value):
        return transcript(value)
    text = _text(value)
    if text is None and value is not None:
        return messages_of(value, column)
    if not (text or "").strip():
        raise Unusable("no_question", f"{column} is {kind_of(value)}", _FIXES["no_question"])
    return [Message(role="user", content=text or "")]


def answer_turns(value: Any, column: str) -> list[Message]:
    """The assistant's turn or turns of an answer column."""
    text = _text(value)
    turns = isinstance(value, Mapping) or (
        isinstance(value, list | tuple) and bool(value) and isinstance(value[0], Mapping)
    )
    if turns:
        found = messages_of(value, column)
        if _is_answer(found):
            return found
        text = ""
    elif text is None and value:
        fix = "Write one answer as a text; for ranked ones set format: ranked and name the column."
        raise Unusable("answer_not_text", f"{column} is {kind_of(value)}", fix)
    if not (text or "").strip():
        raise Unusable("no_answer", f"{column} is {kind_of(value)}", _FIXES["no_answer"])
    return [Message(role="assistant", content=text or "")]


def _is_answer(turns: Sequence[Message]) -> bool:
    """Whether a conversation ends with something that the assistant said or called."""
    last = turns[-1] if turns else None
    said = last is not None and (bool(last.text.strip()) or bool(last.tool_calls))
    return last is not None and last.role == "assistant" and said


def _history(value: Any) -> list[Message]:
    """Earlier rounds: pairs of a question and its answer."""
    turns: list[Message] = []
    if value and not isinstance(value, list | tuple):
        raise _bad_history(value)
    for pair in value or ():
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise _bad_history(pair)
        question, answer = (_text(part) for part in pair)
        if question is None or answer is None:
            raise _bad_history(pair)
        turns += [
            Message(role="user", content=question),
            Message(role="assistant", content=answer),
        ]
    return turns


def _bad_history(value: Any) -> Unusable:
    fix = "Write history as a list of [question, answer] pairs."
    return Unusable("bad_history", f"history holds {kind_of(value)}", fix)


def _side(values: Values, name: str) -> list[Message]:
    """The whole conversation of one side: its prompt, if it does not bring it, and its answer."""
    value = values.get(name)
    found = isinstance(value, str) and is_transcript(value)
    answer = transcript(str(value)) if found else answer_turns(value, name)
    if not _is_answer(answer):
        raise Unusable("no_answer", f"{name} ends without an answer", _FIXES["no_answer"])
    if answer[0].role in ("user", "system"):
        _check_asked(values, answer, name)
        return with_system(answer, values.get("system"), values.get("tools"))
    prompt = explicit_prompt(values)
    if not prompt:
        fix = "Name the column with the question: columns: {prompt: ...}."
        raise Unusable("no_prompt", f"{name} is an answer without its question", fix)
    return with_system([*prompt, *answer], values.get("system"), values.get("tools"))


def _check_asked(values: Values, turns: Sequence[Message], name: str) -> None:
    """A whole conversation beside a prompt must ask it, with more or less around it."""
    try:
        given = explicit_prompt(values)
    except Unusable:
        return  # the conversation is whole without it
    asked, wanted = (
        [turn.text for turn in side if turn.role == "user" and turn.text.strip()]
        for side in (turns, given)
    )
    if not asked or not wanted:
        return
    one = _plain(wanted[-1])
    if not any(one in other or other in one for other in map(_plain, asked)):
        got = f"the prompt asks {wanted[-1][:80]!r}, and {name} answers {asked[-1][:80]!r}"
        fix = "Put the pair under its own prompt, or map another column to the name prompt."
        raise Unusable("prompts_differ", got, fix)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def explicit_prompt(values: Values) -> list[Message]:
    """The turns that a row's columns ask; none where it has no such column."""
    for column in ("prompt", "conversations", "messages"):
        if values.get(column) is not None:
            return _prompt(values[column], column)
    if values.get("instruction") is not None:
        return [*_history(values.get("history")), *_question(values)]
    return []


def cleaned(turns: Sequence[Message], side: str = "") -> tuple[list[Message], list[str]]:
    """A conversation in the shape that is trained on, and what that changed."""
    chat = clean_chat(turns)
    for removal in chat.removed:
        detail = f"{side}: {removal.detail or _shape(turns)}".removeprefix(": ")
        raise Unusable(removal.reason, detail, _FIXES[removal.reason])
    return list(chat.pieces[0]), _changes(chat.changed, side)


def _shared(first: Sequence[Message], second: Sequence[Message]) -> int:
    """Length of the prompt: the common turns up to the last that asks for an answer."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if content_of([one]) != content_of([other]) or one.role != other.role:
            break
        count += 1
    while count and first[count - 1].role not in ("user", "tool"):
        count -= 1
    return count
