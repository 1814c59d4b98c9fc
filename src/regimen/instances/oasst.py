"""OpenAssistant's trees of messages: sets of sibling answers, by the ranks that people gave.

A tree is one row with nested ``replies``, below ``prompt`` (an exported tree) or from its root on
(a message), or many rows of one message each that name their parent (a table of messages). Every
turn of the user that has answers is one set; rank 0 is the best (Köpf et al. 2023, arXiv
2304.07327). Deleted messages count as answers without a score.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.instances.answer_sets import Answer, AnswerSet
from regimen.instances.format_columns import MESSAGE_ROW, renamed
from regimen.instances.readers import RawRow, RowFailure
from regimen.instances.row_records import Values, number_of
from regimen.instances.turns import Unusable, kind_of
from regimen.records import Lineage, Message

_ROLES = {"prompter": "user", "user": "user", "assistant": "assistant"}
_DEEPEST = 200
"""Turns of a conversation beyond which a tree is refused: deeper ones are damaged."""


def is_flat(values: Values) -> bool:
    """Whether a row is one message of a table of messages."""
    return all(name in values for name in MESSAGE_ROW) and not isinstance(
        values.get("replies"), list
    )


def tree_sets(values: Values, lineage: Lineage, weight: float) -> list[AnswerSet]:
    """The sets of one tree, from its root on.

    Raises:
        Unusable: the row is no tree of messages, or nobody answers in it (``no_answer``).
    """
    root = values.get("prompt") if isinstance(values.get("prompt"), Mapping) else values
    assert isinstance(root, Mapping)
    sets = list(_sets(root, (), lineage, weight))
    if not sets:
        raise Unusable("no_answer", "a tree in which nobody answers", "Remove the tree.")
    return sets


def _sets(
    message: Mapping[str, Any], before: tuple[Message, ...], lineage: Lineage, weight: float
) -> Iterator[AnswerSet]:
    own = _message(message)
    so_far = (*before, own)
    if len(so_far) > _DEEPEST:
        raise Unusable("bad_tree", f"more than {_DEEPEST} turns", "Check the parents.")
    replies = message.get("replies") or ()
    if not isinstance(replies, Sequence) or isinstance(replies, str):
        fix = "Write the replies as a list of messages."
        raise Unusable("bad_tree", f"replies is {kind_of(replies)}", fix)
    if own.role == "user" and replies:
        answers = [_answer(one) for one in replies]
        language = message.get("lang")
        origin = replace(
            lineage,
            task=lineage.task or str(message.get("message_id") or ""),
            language=language if isinstance(language, str) else lineage.language,
        )
        yield AnswerSet(
            prompt=so_far, answers=tuple(answers), kind="ranks", lineage=origin, weight=weight
        )
    for one in replies:
        if isinstance(one, Mapping):
            yield from _sets(one, so_far, lineage, weight)


def _message(message: Mapping[str, Any]) -> Message:
    role, text = message.get("role"), message.get("text")
    if role not in _ROLES or not isinstance(text, str):
        fix = "A message has a role (prompter, assistant) and a text."
        raise Unusable("bad_tree", f"a message with role {role!r} and {kind_of(text)}", fix)
    return Message(role=_ROLES[role], content=text)  # type: ignore[arg-type]


def _answer(message: Any) -> Answer:
    if not isinstance(message, Mapping):
        raise Unusable("bad_tree", f"a reply is {kind_of(message)}", "Write it as an object.")
    own = _message(message)
    if own.role != "assistant":
        fix = "An answer to the user is by the assistant."
        raise Unusable("bad_tree", f"the {message.get('role')} answers the user", fix)
    rank = None if message.get("deleted") is True else number_of(message.get("rank"))
    author = message.get("model_name")
    return Answer(
        turns=(own,),
        score=None if rank is None else -rank,
        author=author if isinstance(author, str) else "",
    )


def trees(
    rows: Iterable[RawRow | RowFailure], file: str, columns: Mapping[str, str]
) -> Iterator[RawRow | RowFailure]:
    """The trees of a table of messages, each under the number of its root's row.

    ``columns`` are the user's names of the columns.

    A message whose parent is not in the table is a failure, and so is every message below it, or
    whose parents form a ring.
    """
    messages: dict[str, tuple[int, dict[str, Any]]] = {}
    for row in rows:
        if isinstance(row, RowFailure):
            yield row
            continue
        given = renamed(row.values, columns)
        name = str(given.get("message_id"))
        if name in messages:
            fix = "Give each message an id of its own."
            yield RowFailure(row.row, "message_twice", f"message_id {name}", fix, file)
        else:
            messages[name] = (row.row, {**given, "replies": []})
    roots = []
    for name, (_, values) in messages.items():
        parent = values.get("parent_id")
        if parent in (None, ""):
            roots.append(name)
        elif str(parent) in messages:
            messages[str(parent)][1]["replies"].append(values)
    reached: set[str] = set()
    waiting = [messages[name][1] for name in roots]
    while waiting:
        values = waiting.pop()
        reached.add(str(values["message_id"]))
        waiting += values["replies"]
    for name in roots:
        yield RawRow(*messages[name])
    for name, (number, values) in messages.items():
        if name not in reached:
            got = f"parent_id {values.get('parent_id')}, from which no parent leads to a root"
            fix = "Put the whole tree into the table."
            yield RowFailure(number, "parent_missing", got, fix, file)
