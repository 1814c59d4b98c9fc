"""Rows of tasks: which are drawn, what they accept as an answer, whether they can be asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from regimen.errors import DataError
from regimen.instances.draws import seeded
from regimen.instances.words import normalise
from regimen.records import Row, Task

NO_ANSWER = "Give the row an 'output', or remove it."


@dataclass(frozen=True, slots=True)
class FormattingFailure:
    """A row that could not become an instance, by task (and template) and row number."""

    task: str
    row: int
    error: str
    got: str = ""
    fix: str = ""


def accepted_outputs(row: Row) -> tuple[str, ...]:
    """The accepted outputs of a row, the one to learn first; blank ones do not count.

    Nor do missing ones: None, and the NaN of a column of numbers.
    """
    output = row.get("output")
    texts = list(output) if isinstance(output, list | tuple) else [output]
    return tuple(str(text) for text in texts if not is_missing(text) and str(text).strip())


def numbered_rows(task: Task, n: int, seed: int) -> list[tuple[int, Row]]:
    """``n`` rows of a task with their numbers: made by its generator, or drawn from its instances.

    Numbers are positions, from 0, in ``task.instances``, or in what the generator made. The draw of
    fewer rows is a subset of the draw of more.

    Raises:
        DataError: the task has neither.
    """
    if task.generator is not None:
        return list(enumerate(task.generator(seed, n)))
    return [(number, task.instances[number]) for number in row_numbers(task, n, seed)]


def row_numbers(task: Task, n: int, seed: int) -> Sequence[int]:
    """The numbers of the rows that ``numbered_rows`` draws from a task's instances, in order.

    Raises:
        DataError: the task has no instances.
    """
    if not task.instances:
        raise DataError(
            "A task has neither instances nor a generator.",
            slug="task-empty",
            got=task.name,
            fix="Add instances to the task's file.",
        )
    if n >= len(task.instances):
        return range(len(task.instances))
    order = list(range(len(task.instances)))
    seeded(seed, task.name, "rows").shuffle(order)
    return sorted(order[:n])


def is_missing(value: object) -> bool:
    """Whether a value of a table says nothing: None, or the NaN of a column of numbers."""
    return value is None or (isinstance(value, float) and value != value)


def input_text(row: Row) -> str:
    """The input of a row; empty where it has none."""
    value = row.get("input")
    return "" if is_missing(value) else str(value)


def row_key(row: Row) -> str:
    """What tells a row from others: its input, or all its columns where it has none."""
    text = input_text(row)
    if not text.strip():
        columns = {str(name): value for name, value in row.items()}
        text = json.dumps(columns, sort_keys=True, ensure_ascii=False, default=str)
    return normalise(text)


def row_problem(task: Task, number: int, row: Row) -> FormattingFailure | None:
    """Why a row cannot be asked by the task's definition. Tasks without inputs are tasks too."""
    if not accepted_outputs(row):
        return FormattingFailure(task.name, number, "no_answer", "no output", NO_ANSWER)
    if "input" not in row:
        fix = "Name the column 'input', or ask by templates that use your columns."
        got = f"columns {', '.join(map(str, row))}"
        return FormattingFailure(task.name, number, "no_input", got, fix)
    if not input_text(row).strip() and not task.definition.strip():
        fix = "Give the row an 'input', or the task a definition."
        return FormattingFailure(task.name, number, "no_input", "a blank input", fix)
    return None
