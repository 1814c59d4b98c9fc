"""Lints on whole tasks: one, or many in a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from regimen.instances.lints.columns import Columns, columns
from regimen.instances.lints.examples import examples_against_task, examples_among_rows
from regimen.instances.lints.findings import Finding, found
from regimen.instances.lints.rows import (
    answers_and_options,
    answers_and_space,
    answers_in_inputs,
    duplicates,
    empty_outputs,
    label_balance,
)
from regimen.instances.lints.sources import lint_sources
from regimen.instances.lints.spaces import stated_space
from regimen.instances.lints.templates import Render, lint_rendered, unused_columns
from regimen.instances.lints.texts import odd_characters
from regimen.instances.task_rows import numbered_rows
from regimen.records import Row, Task

DRAWN_ROWS = 256
"""Rows that are drawn of a task whose rows a generator makes, and rendered of any task."""


def lint_task(task: Task, rows: Sequence[Row] | None = None) -> list[Finding]:
    """What is likely wrong with a task's rows and examples, without rendering a template.

    Args:
        task: the task; its definition and options say what an answer may be.
        rows: rows with ``input`` and ``output``; the task's instances unless they are given, or
            the first 256 rows of its generator. Findings number them from 0. Where none has an
            ``output``, because templates write the answers, lints on answers are left out.

    Time grows linearly with the rows. The lints are those of ``findings.LINTS`` whose names do not
    speak of templates or of what is shown.
    """
    if rows is None:
        rows = task.instances
        if not rows and task.generator is not None:
            rows = task.generator(0, DRAWN_ROWS)
    return list(_findings(task, rows))


def _findings(task: Task, rows: Sequence[Row]) -> Iterator[Finding]:
    if not task.templates and not task.definition.strip():
        yield found(task.name, "definition_missing", [], 1, "no definition, no template", count=1)
    if len(rows) == 1:
        yield found(task.name, "too_few_rows", [0], 1, "one row")
    yield from unused_columns(task, rows)
    c = columns(task, rows)
    yield from odd_characters(c)
    if task.templates and not any("output" in row for row in rows):
        return
    yield from empty_outputs(c)
    yield from _on_answers(c)


def _on_answers(c: Columns) -> Iterator[Finding]:
    task = c.task
    space = stated_space("\n".join((task.definition, task.output_format)))
    yield from label_balance(c)
    yield from duplicates(c)
    yield from answers_and_options(c)
    yield from answers_and_space(c, space)
    yield from answers_in_inputs(c)
    yield from examples_among_rows(c)
    yield from examples_against_task(c, space)


def lint_tasks(
    tasks: Iterable[Task], render: Render | None = None, *, drawn: int = DRAWN_ROWS, seed: int = 0
) -> Iterator[Finding]:
    """The findings of many tasks, one task after the other.

    Args:
        tasks: read one at a time, so that a collection need not fit into memory.
        render: ``TemplateWorker.render``; without it templates are only read.
        drawn: rows of each task that its templates are rendered on, drawn by ``numbered_rows``.
        seed: of the draw.

    Raises:
        TemplateError: as ``render``.
    """
    for task in tasks:
        yield from lint_task(task)
        if not task.templates:
            continue
        if render is None or not (task.instances or task.generator):
            yield from lint_sources(task)
        else:
            yield from lint_rendered(task, render, numbered_rows(task, drawn, seed))
