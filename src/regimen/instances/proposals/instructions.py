"""Rows that are instructions with answers, or conversations, already: no task is to be made."""

from __future__ import annotations

from regimen.instances.format_columns import FORMATS
from regimen.instances.proposals.roles import Guess, few_values, label_column
from regimen.instances.proposals.tables import Column, Table

_SAME = {
    "output": ("response", "answer", "completion", "target"),
    "input": ("context",),
    "completion": ("response",),
}


def instructions(table: Table) -> Guess | None:
    """The format of rows that need no task, with the columns that are named differently."""
    keys = {column.name: column for column in table.columns if column.filled >= 0.5}
    if "Definition" in keys and "Instances" in keys:
        return _guess("natural_instructions", ("Definition", "Instances"), {})
    if "chosen" in keys and "rejected" in keys:
        return _guess("preference", ("chosen", "rejected"), {})
    for name, column in (("messages", "messages"), ("sharegpt", "conversations")):
        if column in keys and keys[column].kind == "turns":
            return _guess(name, (column,), {})
    return _alpaca(keys) or _completion(table, keys)


def _alpaca(keys: dict[str, Column]) -> Guess | None:
    asked, output = keys.get("instruction"), _column(keys, "output")
    if asked is None or output is None or asked.kind != "text" or asked.distinct < 2:
        return None
    if output.kind not in ("text", "number"):
        return None
    columns = {"output": output.name} if output.name != "output" else {}
    if "input" not in keys and "context" in keys:
        columns["input"] = "context"
    return _guess("alpaca", ("instruction", output.name), columns)


def _completion(table: Table, keys: dict[str, Column]) -> Guess | None:
    """``prompt`` and an answer in words; with a label beside them they are what is labelled."""
    asked, output = keys.get("prompt"), _column(keys, "completion")
    if asked is None or output is None or asked.kind not in ("text", "turns"):
        return None
    if output.kind == "text" and (few_values(output) or label_column(table) is not None):
        return None
    columns = {"completion": output.name} if output.name != "completion" else {}
    return _guess("prompt_completion", ("prompt", output.name), columns)


def _column(keys: dict[str, Column], name: str) -> Column | None:
    return next((keys[other] for other in (name, *_SAME[name]) if other in keys), None)


def _guess(name: str, seen: tuple[str, ...], columns: dict[str, str]) -> Guess:
    needed = ", ".join(FORMATS[name])
    why = f"The columns {', '.join(seen)} are those of the format {name} ({needed})."
    return Guess(type="instructions", columns=dict(columns), why={"type": [why]}, format=name)
