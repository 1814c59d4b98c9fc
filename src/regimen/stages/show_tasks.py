"""``show`` for tasks: the same row in every encoding, and how well the task is covered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from regimen import console
from regimen.errors import DataError, SettingsError, near
from regimen.instances.demonstrations import CANDIDATES, shown_rows
from regimen.instances.lints.findings import Finding
from regimen.instances.task_rows import numbered_rows
from regimen.instances.templates import TemplateWorker
from regimen.records import Row, Task
from regimen.stages.show_coverage import coverage, covered, findings_of
from regimen.stages.show_encodings import Encoded, Formatter, encodings, left_out
from regimen.stages.show_material import TaskMaterial
from regimen.stages.show_tables import (
    MOST_TASKS,
    counted,
    coverage_tables,
    facts,
    languages,
    overview,
    remarks,
    row_panels,
    rows_of,
    totals,
)

LIMIT = 1000
"""Rows of a task that are looked at unless another number is given."""
MOST_GENERATED = 100_000
"""Largest number of a row that a function is asked to make."""
PATIENCE = 2.0
"""Seconds before progress is shown."""
_LONGEST_HINT = 400

Tokens = Callable[[str], int]


def show_tasks(
    material: TaskMaterial,
    *,
    task: str = "",
    row: int | None = None,
    number: int = 1,
    limit: int = LIMIT,
    model: str = "",
) -> dict[str, Any]:
    """Print rows of a task in every encoding, its coverage, and all tasks where there are several.

    Args:
        material: tasks, and the settings' formatting if there is one.
        task: name of the task to show, or what only its name begins with; the first unless given.
        row: number of the first row to show; drawn by the seed unless given.
        number: rows to show.
        limit: most rows of a task that are looked at for coverage and lints.
        model: a model or tokenizer folder that counts tokens; none are counted without it.

    Returns:
        ``tasks``, ``totals``, ``task``, ``seed``, ``shown`` (for each row its ``encodings`` by
        name: prompt and answer, or error), ``coverage``, ``lints``, ``failures``, ``others``.

    Raises:
        SettingsError: ``task-unknown``, ``row-unknown``.
        DataError: the task has no rows (``task-empty``).
        ModelError: the tokenizer cannot be loaded.
    """
    chosen = _task(material.tasks, task)
    seed = material.seed
    count = _tokens(model) if model else None
    numbered = _rows(chosen, row, number, seed)
    with TemplateWorker() as worker:
        report = _all(material, worker, limit) if len(material.tasks) > 1 else {}
        remarks(material)
        make = Formatter(
            seed, worker.render, _candidates(chosen, material), _bound(material, count)
        )
        facts(chosen)
        shown = [_shown(chosen, one, make, material, count) for one in numbered]
        some = numbered_rows(_with_rows(chosen), limit, seed)
        total = len(some) * len(covered(chosen, material.spec))
        with console.progress(total, "coverage", "rows", after=PATIENCE) as bar:
            covers = coverage(chosen, some, make, material.spec, bar)
        findings = findings_of(chosen, some, worker.render)
    coverage_tables(covers, findings)
    return {
        "source": material.source,
        **(report or _listed(material.tasks, {chosen.name: findings})),
        "task": chosen.name,
        "seed": seed,
        "shown": shown,
        "coverage": covers,
        "lints": [asdict(one) for one in findings],
        "failed": len(material.failures),
        "failures": [asdict(one) for one in material.failures[:20]],
        "others": material.others,
        "removed": material.removed,
    }


def _all(material: TaskMaterial, worker: TemplateWorker, limit: int) -> dict[str, Any]:
    """Print and return the table of all tasks; the first have their findings."""
    found: dict[str, list[Finding]] = {}
    some = [one for one in material.tasks[:MOST_TASKS] if one.generator is None]
    with console.progress(len(some), "lints", "tasks", after=PATIENCE) as bar:
        for one in some:
            if one.instances:
                rows = numbered_rows(one, limit, material.seed)
                found[one.name] = findings_of(one, rows, worker.render)
            bar.advance()
    overview(material.tasks, found)
    return _listed(material.tasks, found)


def _listed(tasks: Sequence[Task], found: dict[str, list[Finding]]) -> dict[str, Any]:
    """All tasks for machines; rows of generated ones and findings of unseen ones are None."""
    return {
        "tasks": [
            {
                "name": one.name,
                "rows": rows_of(one),
                "held_out": len(one.held_out),
                "templates": len(one.templates),
                "languages": languages(one),
                "category": one.category,
                "findings": counted(found.get(one.name)),
            }
            for one in tasks
        ],
        "totals": {what: totals(tasks, what) for what in ("category", "language")},
    }


def _shown(
    task: Task,
    numbered: tuple[int, Row],
    make: Formatter,
    material: TaskMaterial,
    tokens: Tokens | None,
) -> dict[str, Any]:
    """Print a row in its encodings; the same for machines."""
    number, row = numbered
    found = encodings(task, number, row, make, material.spec)
    rest = left_out(task)
    own = rows_of(task)
    of = "" if own is None else f" of {own:,}" if own else f" of {len(task.held_out):,} held out"
    row_panels(f"row {number}{of}", found, rest, tokens)
    return {
        "row": number,
        "encodings": {one.name: _plain(one, tokens) for one in found},
        "left_out": rest,
    }


def _plain(one: Encoded, tokens: Tokens | None) -> dict[str, Any]:
    """An encoding for machines."""
    if one.error:
        return {"error": one.error, "got": one.got, "fix": one.fix}
    said: dict[str, Any] = {"prompt": one.prompt, "answer": one.answer}
    said |= {key: getattr(one, key) for key in ("reasoning", "note") if getattr(one, key)}
    said["characters"] = {"prompt": len(one.prompt), "answer": len(one.answer)}
    if tokens is not None:
        said["tokens"] = {"prompt": tokens(one.prompt), "answer": tokens(one.answer)}
    return said


# -- what is asked for ----------------------------------------------------------------------------


def _task(tasks: Sequence[Task], name: str) -> Task:
    """The task of this name, or the only one whose name begins so; without a name the first."""
    if not name:
        return tasks[0]
    exact = [one for one in tasks if one.name == name]
    begun = [one for one in tasks if one.name.startswith(name)]
    if exact or len(begun) == 1:
        return (exact or begun)[0]
    known = [one.name for one in begun or tasks]
    hint = near(name, known)
    if len(hint) > _LONGEST_HINT:
        some = ", ".join(sorted(known)[:5])
        hint = f"There are {len(known):,}, such as {some}; --json without --task names all."
    raise SettingsError(
        "The source has no task of this name.", slug="task-unknown", got=repr(name), fix=hint
    )


def _with_rows(task: Task) -> Task:
    """The task, or its held-out rows where it has no others.

    Raises:
        DataError: it has neither.
    """
    if task.generator is not None or task.instances:
        return task
    if task.held_out:
        return replace(task, instances=task.held_out, held_out=())
    raise _empty(task)


def _empty(task: Task) -> DataError:
    return DataError(
        "The task has no row to show.",
        slug="task-empty",
        got=task.name,
        fix="Add instances to the task's file, or name another task with --task.",
    )


def _rows(task: Task, row: int | None, number: int, seed: int) -> list[tuple[int, Row]]:
    """The rows to show with their numbers.

    Raises:
        SettingsError: there is no such row.
        DataError: there is none at all.
    """
    asked = _with_rows(task)
    if row is None:
        found = numbered_rows(asked, number, seed)
        if not found:
            raise _empty(task)
        return found
    known = MOST_GENERATED if asked.generator is not None else len(asked.instances)
    if not 0 <= row < known:
        raise SettingsError(
            "The task has no row of this number.",
            slug="row-unknown",
            got=f"row {row} of task {task.name}",
            expected=f"0 to {known - 1:,}",
            fix="Rows are counted from 0; leave --row out to see one that is drawn.",
        )
    if asked.generator is not None:
        return list(enumerate(asked.generator(seed, row + number)))[row:]
    return [(n, asked.instances[n]) for n in range(row, min(row + number, known))]


def _candidates(task: Task, material: TaskMaterial) -> tuple[tuple[int, Row], ...]:
    """The rows that may be shown as demonstrations: those that a build with the settings shows."""
    task = _with_rows(task)
    made = None
    if task.generator is not None:
        made = numbered_rows(task, material.wanted.get(task.name, CANDIDATES), material.seed)
    return tuple(shown_rows(task, material.seed, made))


def _tokens(model: str) -> Tokens:
    from regimen.models.loading import load_tokenizer

    tokenizer = load_tokenizer(model).backend_tokenizer
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _bound(material: TaskMaterial, tokens: Tokens | None) -> Tokens | None:
    """What counts the tokens that the settings bound: their own tokenizer, else the one given."""
    if material.spec is None or material.spec.max_tokens is None:
        return None
    if not material.tokenizer and tokens is not None:
        return tokens
    from regimen.stages.producing import token_counter

    return token_counter(material.tokenizer)
