"""The items of a build: what is evaluated, and what is validated on while the training runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.curation.ledger import Ledger
from regimen.instances.draws import seeded
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items, task_items
from regimen.instances.task_rows import numbered_rows, row_numbers
from regimen.records import Item, Task
from regimen.settings.build import BuildSettings
from regimen.stages.asked import (
    Rows,
    Tested,
    TokenizerOf,
    ask_in_ways,
    counter,
    formatting_spec,
    ways_of,
)
from regimen.stages.splits import Split, held_out_seed

VALIDATION_TASKS = 48
FEWEST_ROWS = 20
"""A task all of whose rows are trained on gives one away for validation if it has this many."""

TRIED_ROWS = 8
"""Rows of a task that are looked at for one that no suite asks, as tasks may share inputs."""


def build_items(
    section: BuildSettings,
    split: Split,
    wanted: Mapping[str, int],
    seed: int,
    tokenizer: TokenizerOf,
    ledger: Ledger,
) -> list[Item]:
    """Items of the held-out tasks and rows, and of training tasks for validation.

    Args:
        section: of the settings.
        split: training and held-out tasks.
        wanted: rows that are trained on, by the task's name.
        seed: of the build; what is held out is asked by ``held_out_seed``.
        tokenizer: what counts the tokens of the prompts of a formatting; "" where nothing bounds
            them.
        ledger: gets the step ``asked`` where ``held_out.asked`` names ways of asking.

    Raises:
        DataError: a held-out task, or held-out rows, of which nothing can be asked.
    """
    spec, tokens = formatting_spec(section.formatting), counter(section.formatting, tokenizer)
    count, held = section.held_out.items_per_task, held_out_seed(section, seed)
    apart = {task.name: _held_out(task, count, held) for task in split.train if task.held_out}
    tested = [Tested(suite, task, held) for suite, some in split.suites.items() for task in some]
    for task in split.train:
        if task.name in apart:
            rows = apart[task.name][1:] or apart[task.name]
            tested.append(Tested("unseen_rows", task, seed, rows))
    ask = task_items if not section.held_out.asked else _askable
    items = [
        item
        for one in tested
        for item in ask(one.task, one.suite, count, held + 1, spec, tokens, one.rows)
    ]
    # what is asked in several ways is validated on in none of them, the plain one included
    evaluated = {item.messages for item in items}
    if section.held_out.asked:
        items = ask_in_ways(tested, ways_of(section, tokenizer), count, held + 1, ledger)
        evaluated |= {item.messages for item in items}
    if items:
        for found in _validation(split.train, apart, wanted, seed, spec, tokens):
            items += [item for item in found if item.messages not in evaluated][:1]
    return items


def _askable(*given: Any) -> list[Item]:
    """As ``task_items``; tasks that cannot be asked by definition give none."""
    return askable_items(*given)[0]


def _held_out(task: Task, count: int, seed: int) -> Rows:
    """A held-out row to validate on, then at most ``count`` to evaluate, with their numbers.

    A task with a single held-out row is evaluated on it.
    """
    rows = replace(task, instances=task.held_out, generator=None)
    drawn = numbered_rows(rows, count + 1, seed + 1)
    first = seed % len(drawn)
    return [drawn[first], *drawn[:first], *drawn[first + 1 :]]


def _validation(
    tasks: Sequence[Task],
    apart: Mapping[str, Rows],
    wanted: Mapping[str, int],
    seed: int,
    spec: FormattingSpec,
    tokens: Callable[[str], int] | None,
) -> Iterator[list[Item]]:
    """Items of some training tasks, of which the first that no suite asks is validated on.

    A row that is validated on is a leak in training. So it is one that is held out or not trained
    on, where there is one, and else one of many. A task that gives none is trained on all the same.
    """
    for task in tasks[:: max(1, len(tasks) // VALIDATION_TASKS)][:VALIDATION_TASKS]:
        rows: Rows | None = apart[task.name][:1] if task.name in apart else None
        if rows is None and task.generator is None:
            rows = _spare(task, wanted[task.name], seed)
        found, _ = askable_items(task, "validation", TRIED_ROWS, seed + 2, spec, tokens, rows)
        yield found


def _spare(task: Task, count: int, seed: int) -> Rows:
    """Rows of a task beside the ``count`` that are trained on; some of these if there are many."""
    total = len(task.instances)
    trained = set(row_numbers(task, count, seed))
    free = [number for number in range(total) if number not in trained]
    if not free and total < FEWEST_ROWS:
        return []
    rng, usable = seeded(seed, task.name, "validation"), free or range(total)
    numbers = rng.sample(usable, min(TRIED_ROWS, len(usable)))
    return [(number, task.instances[number]) for number in numbers]
