"""Rows of a table under the names of a task: ``input``, ``output``, ``options``, ``rationale``.

A row keeps all of its own columns beside them, for templates that name those. What cannot be used
raises ``UnusableRow``, which the caller counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from regimen.instances.data_values import (
    label_keys,
    literal,
    plain,
    scalar_text,
    text_field,
    texts_of,
)

Answer = Literal["text", "index", "number", "letter"]
"""How ``output`` says which option is right: by its text, its place from 0, from 1, its letter."""

ANSWERS: tuple[Answer, ...] = ("text", "index", "number", "letter")
CANONICAL = ("input", "output", "options", "rationale")
Columns = str | tuple[tuple[str, str], ...]
"""A column's name, or labels and names of several columns that become the lines of one text."""

_LETTER = re.compile(r"\s*\(?([A-Za-z])\)?[.:)]?\s*")


class UnusableRow(Exception):
    """A row without what the task needs: the error's stable name, what was found, what to do."""

    def __init__(self, error: str, got: str, fix: str) -> None:
        super().__init__(f"{error}: {got}")
        self.error, self.got, self.fix = error, got, fix


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """How the rows of one source become rows of a task.

    Args:
        columns: the source's column, or columns, for each of ``CANONICAL``.
        labels: the word for each value of the output column; values without one are not used.
        answer: how the output says which option is right.
        options: what a row can be answered with where it has no options of its own.
        needed: which of ``input`` and ``output`` every row must have; templates of a collection
            may do without.
    """

    columns: Mapping[str, Columns] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    answer: Answer = "text"
    options: tuple[str, ...] = ()
    needed: tuple[str, ...] = ("input", "output")


def task_row(values: Mapping[str, Any], rules: RowRules) -> dict[str, Any]:
    """The row with its canonical columns beside its own, all of them JSON-compatible.

    Raises:
        UnusableRow: no usable input or output, a label without a word, an answer that is no option.
    """
    row = {str(name): plain(value) for name, value in values.items()}
    made: dict[str, Any] = {}
    text = _input(row, rules)
    if text is not None:
        made["input"] = text
    options, names = _options(row, rules)
    if options is not None:
        made["options"] = options
    output = _output(row, rules, options or list(rules.options), names)
    if output is not None:
        made["output"] = output
    rationale = _rationale(row, rules)
    if rationale is not None:
        made["rationale"] = rationale
    for name in CANONICAL:  # a column of that name that says nothing is not left behind
        if name in row and name not in made:
            del row[name]
    return {**row, **made}


def lookup(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of a field within one (``answers.text``); None without it."""
    if name in row:
        return row[name]
    first, dot, rest = name.partition(".")
    inner = row.get(first) if dot else None
    return lookup(inner, rest) if isinstance(inner, Mapping) else None


def _column(row: Mapping[str, Any], rules: RowRules, name: str) -> Any:
    """The value for a canonical name: of the column given for it, or of the column so named."""
    column = rules.columns.get(name, name)
    return lookup(row, column) if isinstance(column, str) else None


def _short(value: Any) -> str:
    return repr(value)[:80]


def _input(row: Mapping[str, Any], rules: RowRules) -> str | None:
    column = rules.columns.get("input", "input")
    if isinstance(column, str):
        value = lookup(row, column)
        text = scalar_text(value)
        got = f"the column {column} holds {_short(value)}"
    else:
        found = [(label, _joined(lookup(row, name))) for label, name in column]
        text = "\n".join(f"{label}: {said}" for label, said in found if said)
        got = "the columns " + ", ".join(name for _, name in column) + " are blank"
    if text is not None and text.strip():
        return text
    if "input" in rules.needed:
        raise UnusableRow("no_question", got, "Write a text there, or remove the row.")
    return None


def _joined(value: Any) -> str:
    """A scalar as a text, or the texts of a list as lines of their own."""
    text = scalar_text(value)
    if text is not None:
        return text if text.strip() else ""
    return "".join(f"\n- {entry}" for entry in texts_of(value) or [])


def _options(row: Mapping[str, Any], rules: RowRules) -> tuple[list[str] | None, list[str]]:
    """The options of a row and the names that its source gives them (A, B, ...), if any."""
    column = rules.columns.get("options", "options")
    if not isinstance(column, str):
        found = [scalar_text(lookup(row, name)) for _, name in column]
        texts: list[str] | None = [text for text in found if text and text.strip()]
        names = [label for (label, _), text in zip(column, found, strict=True) if text]
        return (texts, names) if texts else (None, [])
    value = lookup(row, column)
    if value is None:
        return None, []
    texts = texts_of(value)
    if not texts:
        if "options" not in rules.columns:
            return None, []  # a column that only happens to have this name
        fix = "Write the options as a list of texts, or remove the row."
        raise UnusableRow("bad_options", f"the column {column} holds {_short(value)}", fix)
    return texts, _option_names(value, texts)


def _option_names(value: Any, texts: Sequence[str]) -> list[str]:
    """Names of options: ``label`` beside ``text``, or the keys of a mapping of texts."""
    if isinstance(value, str):
        value = literal(value)
    names: Any = []
    if isinstance(value, Mapping):
        inner = text_field(value)
        names = value.get("label", []) if inner is not None else list(value)
    elif isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        names = [one.get("label", one.get("key")) for one in value]
    found = [scalar_text(name) for name in names] if isinstance(names, list) else []
    known = [name for name in found if name is not None]
    return known if len(known) == len(texts) else []


def _output(
    row: Mapping[str, Any], rules: RowRules, options: Sequence[str], names: Sequence[str]
) -> str | list[str] | None:
    """The accepted output or outputs, the one to learn first."""
    value = _column(row, rules, "output")
    single = scalar_text(value)
    if single is not None:
        values: list[Any] = [value]
    elif isinstance(value, list) and all(scalar_text(one) is not None for one in value):
        values = value
    else:
        values = list(texts_of(value) or [])
    outputs = [_answer(one, rules, options, names) for one in values if _said(one)]
    if not outputs:
        if "output" in rules.needed:
            got = f"output is {_short(value)}"
            raise UnusableRow("no_answer", got, "Write the expected output, or remove the row.")
        return None
    return outputs[0] if single is not None else list(dict.fromkeys(outputs))


def _said(value: Any) -> bool:
    text = scalar_text(value)
    return text is not None and bool(text.strip())


def _answer(value: Any, rules: RowRules, options: Sequence[str], names: Sequence[str]) -> str:
    """The text of an output: the word for its label, the option that it points at, or itself."""
    text = scalar_text(value) or ""
    if rules.labels:
        for key in label_keys(value):
            if key in rules.labels:
                return rules.labels[key]
        known = ", ".join([*rules.labels][:12])
        fix = "Add it to data.labels, or remove the row."
        raise UnusableRow("unknown_label", f"{text[:60]!r}; data.labels knows {known}", fix)
    if rules.answer == "text":
        return text
    place = _place(value, rules.answer, names)
    if place is None or not 0 <= place < len(options):
        got = f"{text[:60]!r} as {rules.answer}, of {len(options)} options"
        raise UnusableRow("not_an_option", got, "Correct the answer, or remove the row.")
    return options[place]


def _place(value: Any, answer: Answer, names: Sequence[str]) -> int | None:
    """The place from 0 of the option that a value points at; None where it points at none."""
    text = (scalar_text(value) or "").strip()
    if answer == "letter":
        if text in names:
            return names.index(text)
        match = _LETTER.fullmatch(text)
        if match is None or (names and all(_LETTER.fullmatch(name) for name in names)):
            letter = match.group(1).upper() if match else ""
            return names.index(letter) if letter and letter in names else None
        return ord(match.group(1).upper()) - ord("A")
    key = next((key for key in reversed(label_keys(value)) if re.fullmatch(r"-?\d{1,9}", key)), "")
    return int(key) - (answer == "number") if key else None


def _rationale(row: Mapping[str, Any], rules: RowRules) -> str | None:
    value = _column(row, rules, "rationale")
    text = scalar_text(value)
    if text is None:
        text = "\n".join(texts_of(value) or [])
    return text if text.strip() else None
