"""Answers that no rule scores, with all their turns: a few items of each such suite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from regimen.records import stable_hash
from regimen.reports.files import read_table
from regimen.reports.markup import Column, clipped, details, el, table
from regimen.reports.rundata import RunData
from regimen.reports.theme import system
from regimen.reports.wording import count, things, title

ITEMS = 6
"""Items shown of each suite."""

PROMPT, ANSWER = 240, 400

Row = Mapping[str, Any]


def conversations(run: RunData, names: Sequence[str]) -> list[Markup]:
    """For each suite that only a judge scores, some items with every system's turns."""
    if run.evaluation is None or run.answers is None:
        return []
    unscored = [suite.name for suite in run.evaluation.suites if not suite.metric]
    return [part for name in unscored if (part := _suite(run.answers, name, names))]


def _suite(path: Path, suite: str, names: Sequence[str]) -> Markup:
    rows: dict[str, dict[str, Row]] = {}
    for row in read_table(path, filters=[("suite", "==", suite)]).to_pylist():
        if row["system"] in names:
            rows.setdefault(row["item_id"], {})[row["system"]] = row
    shown = sorted(rows, key=stable_hash)[:ITEMS]
    if not shown:
        return Markup()
    asked = [name for name in names if any(name in rows[key] for key in shown)]
    columns = [Column(label="Turn"), *(Column(label=title(system(name).label)) for name in asked)]
    lines = [line for key in shown for line in _lines(rows[key], asked)]
    caption = f"{title(suite)}: answers to {things(len(shown), 'item')} of {count(len(rows))}"
    return details(caption, table(caption, columns, lines, show_caption=False))


def _lines(by_system: Mapping[str, Row], names: Sequence[str]) -> list[list[Any]]:
    """One line for each turn: what the user said, what every system answered."""
    turns = {name: _turns(by_system[name]) for name in names if name in by_system}
    longest = max(turns.values(), key=len)
    return [
        [
            clipped(turn["user"], PROMPT),
            *(_answer(turns.get(name, []), by_system.get(name, {}), number) for name in names),
        ]
        for number, turn in enumerate(longest)
    ]


def _turns(row: Row) -> list[dict[str, str]]:
    """The turns of a row; one without follow-ups is a conversation of one turn."""
    if row.get("turns"):
        return list(json.loads(row["turns"]))
    return [{"user": row["prompt"], "answer": row["answer"]}]


def _answer(turns: Sequence[Mapping[str, str]], row: Row, number: int) -> Markup:
    """An answer, or why there is none."""
    if number < len(turns) and turns[number]["answer"]:
        return clipped(turns[number]["answer"], ANSWER)
    return el("span", row.get("error") or "no answer", class_="small")
