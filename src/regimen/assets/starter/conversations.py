"""The hand-written conversations, seed instructions and constitution of the starter material."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from regimen.records import Instance, Lineage, Message

SOURCE = "starter-chats"

CHAT_FILES = ("everyday", "system", "french", "spanish", "harmful", "harmless")
"""The files under ``chats/``, in reading order. The last two are the safety conversations."""

_PRINCIPLE = re.compile(r"^\d+\. (?P<text>.+)$", re.MULTILINE)


def _asset(*parts: str) -> Traversable:
    path = files("regimen.assets.starter")
    for part in parts:
        path = path / part
    return path


def _jsonl(*parts: str) -> list[dict[str, Any]]:
    lines = _asset(*parts).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def chats() -> tuple[Instance, ...]:
    """All conversations in file order.

    The lineage's ``task`` is the conversation's id (file and line), ``row`` its number over all
    files from 1, and ``family`` is ``harmful`` or ``harmless`` for safety and ``chat`` otherwise.
    """
    instances: list[Instance] = []
    for name in CHAT_FILES:
        for entry in _jsonl("chats", f"{name}.jsonl"):
            family = name if entry["category"] == "safety" else "chat"
            lineage = Lineage(
                source=SOURCE,
                row=len(instances) + 1,
                task=entry["id"],
                family=family,
                category=entry["category"],
                language=entry["language"],
                licence=entry["licence"],
            )
            messages = tuple(Message(**message) for message in entry["messages"])
            instances.append(Instance(messages=messages, lineage=lineage))
    return tuple(instances)


def seeds() -> tuple[dict[str, Any], ...]:
    """The seed instructions: id, instruction, input, output, is_classification, category, licence.

    They are the pool that a Self-Instruct round starts from (arXiv:2212.10560).
    """
    return tuple(_jsonl("seeds", "instructions.jsonl"))


def constitution() -> tuple[str, ...]:
    """The principles, in order, without their numbers."""
    text = _asset("constitution.md").read_text(encoding="utf-8")
    return tuple(match["text"] for match in _PRINCIPLE.finditer(text))
