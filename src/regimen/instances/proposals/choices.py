"""Multiple choice: a list of options, or a column for each, and a column that says which."""

from __future__ import annotations

import re
from collections.abc import Iterator

from regimen.instances.data_rows import ANSWERS, Answer, Columns, RowRules, UnusableRow, task_row
from regimen.instances.proposals.roles import (
    ANSWER,
    CONTEXT,
    KEY,
    QUESTION,
    RATIONALE,
    Guess,
    inputs,
)
from regimen.instances.proposals.tables import MOSTLY, Column, Table

_FAMILY = re.compile(
    r"(option|choice|ending|opt|op|sol|answer|candidate|alternative|distractor|)_?([a-j]|\d)"
)
_LISTS = ("options", "choices", "answer_choices", "endings", "candidates", "alternatives")
_LETTER = re.compile(r"\(?[A-Z]\)?")
_SAMPLE = 500


def multiple_choice(table: Table) -> Guess | None:
    """Options with a column that points at one of them in nearly every row."""
    for options, why in _options(table):
        taken = {options} if isinstance(options, str) else {name for _, name in options}
        keys = [c for c in _keys(table) if c.name not in taken or _is_distractors(options)]
        for key in keys:
            found = _answer(table, options, key)
            asked = _asked(table, {*taken, key.name}) if found else []
            if found is not None and asked:
                return _guess(table, options, key, found, asked, why)
    return None


def _options(table: Table) -> Iterator[tuple[Columns, str]]:
    """Where options may be: lists by the usual names, other lists, families of columns."""
    lists = [c for c in table.columns if c.kind == "texts" and c.filled >= MOSTLY]
    for column in sorted(lists, key=lambda c: c.key not in _LISTS):
        yield column.name, f"The column {column.name!r} holds a list of texts in each row."
    families: dict[str, list[tuple[str, str]]] = {}
    for column in table.columns:
        match = _FAMILY.fullmatch(column.key)
        if match and column.kind in ("text", "number"):
            families.setdefault(match[1], []).append((match[2].upper(), column.name))
    for stem, members in families.items():
        right = table.named(("correct_answer", "correct")) if stem == "distractor" else None
        if right is not None:
            members = [("right", right.name), *members]
        numbered = all(label.isdigit() for label, _ in members)
        if len(members) >= 2 and not (numbered and stem in ("answer", "")):
            names = ", ".join(name for _, name in members)
            yield tuple(members), f"The columns {names} belong together by their names."


def _is_distractors(options: Columns) -> bool:
    return not isinstance(options, str) and options[0][0] == "right"


def _keys(table: Table) -> list[Column]:
    """Columns that may say which option is right, those with the usual names first."""
    usable = [c for c in table.columns if c.kind in ("text", "number") and not c.is_id]
    ranks = {name: rank for rank, name in enumerate((*KEY, *ANSWER))}
    named = sorted((c for c in usable if c.key in ranks), key=lambda c: ranks[c.key])
    return [*named, *(c for c in usable if c.key not in ranks and c.words < 3)]


def _answer(table: Table, options: Columns, key: Column) -> tuple[Answer, float] | None:
    """How a column says which option is right, and in what share of the rows it does."""
    if key.distinct < 2:
        return None
    rows = table.rows[:_SAMPLE]
    shares: dict[Answer, float] = {}
    for answer in ANSWERS:
        if answer == "index" and key.low > 0:
            continue  # counts from 1: no row has the first option otherwise
        rules = RowRules(
            columns={"options": options, "output": key.name}, answer=answer, needed=("output",)
        )
        shares[answer] = sum(_points(row, rules) for row in rows) / max(1, len(rows))
    best = max(shares, key=lambda answer: shares[answer])
    return (best, shares[best]) if shares[best] >= MOSTLY else None


def _points(row: object, rules: RowRules) -> bool:
    assert isinstance(row, dict)
    try:
        made = task_row(row, rules)
    except UnusableRow:
        return False
    options = made.get("options", [])
    return len(options) > 1 and made["output"] in options


def _guess(
    table: Table,
    options: Columns,
    key: Column,
    found: tuple[Answer, float],
    asked: list[Column],
    why: str,
) -> Guess:
    answer, share = found
    taken = {key.name, *([options] if isinstance(options, str) else [name for _, name in options])}
    rationale = table.named(RATIONALE, "text")
    columns: dict[str, Columns] = {"input": inputs(asked), "output": key.name, "options": options}
    if rationale is not None and rationale.name not in (*taken, *(c.name for c in asked)):
        columns["rationale"] = rationale.name
    how = {
        "text": "the text of an option",
        "index": "the place of an option, counted from 0",
        "number": "the place of an option, counted from 1",
        "letter": "the letter of an option",
    }[answer]
    reasons = {
        "type": [why],
        "output": [f"{key.name!r} is {how} in {share:.0%} of the rows looked at."],
    }
    if _is_distractors(options):
        reasons["options"] = ["The right option stands first here: have the options shuffled."]
    return Guess(type="multiple_choice", columns=columns, answer=answer, why=reasons)


def _asked(table: Table, taken: set[str]) -> list[Column]:
    """The texts that are asked: context and question by name, else the longest text."""
    free = [c for c in table.texts(*taken) if c.filled >= 0.5]
    premise = next((c for c in free if c.key in ("premise", *CONTEXT)), None)
    question = next((c for c in free if c.key in (*QUESTION, "goal", "sentence", "ctx")), None)
    found = [c for c in (premise, question) if c is not None]
    if not found and free:
        found = [max(free, key=lambda c: c.words)]
    return found


def letters_in_text(table: Table, text: Column, output: Column) -> Guess | None:
    """Outputs that are letters of options which the input spells out, as in ``(B)``."""
    if output.kind != "text":
        return None
    rows = table.rows[:_SAMPLE]
    answers = [str(row.get(output.name)).strip() for row in rows]
    letters = [_LETTER.fullmatch(answer) is not None for answer in answers]
    inside = [answer in str(row.get(text.name)) for row, answer in zip(rows, answers, strict=True)]
    if sum(a and b for a, b in zip(letters, inside, strict=True)) < MOSTLY * len(rows):
        return None
    why = f"{output.name!r} is the letter of an option that {text.name!r} spells out."
    return Guess(
        type="multiple_choice",
        columns={"input": text.name, "output": output.name},
        why={"type": [why]},
        others=("classification, if the letters mean the same in every row",),
    )
