"""Tasks become instruction-formatted instances and evaluation items.

Both go through ``encodings.user_message``, so a model is asked as it was taught. Every draw comes
from (seed, task, row, variable) alone: the same bytes for any number of workers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Protocol

from regimen.instances.assembling import assembled
from regimen.instances.demonstrations import Fits, prompt_fits, shown_rows
from regimen.instances.drafts import Draft, Made, drafts
from regimen.instances.encodings import Encoding, FormattingSpec, user_message
from regimen.instances.evaluation_items import task_items
from regimen.instances.task_rows import (
    FormattingFailure,
    accepted_outputs,
    numbered_rows,
    row_numbers,
)
from regimen.instances.templates import RenderFailure, Rendering, RenderJob
from regimen.records import Instance, Row, Task

__all__ = [
    "Encoding",
    "FormattingFailure",
    "FormattingSpec",
    "RenderFailure",
    "RenderJob",
    "Rendering",
    "TaskRows",
    "TemplateRenderer",
    "accepted_outputs",
    "formatted",
    "numbered_rows",
    "prompt_fits",
    "task_instances",
    "task_items",
    "task_rows",
    "user_message",
]

_DRAFTS_AT_ONCE = 2048


class TemplateRenderer(Protocol):
    """Renders many templates: ``TemplateWorker.stream``, or ``render``."""

    def __call__(self, jobs: Iterable[RenderJob]) -> Iterable[Rendering | RenderFailure]:
        """One rendering or failure per job, in order."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """Rows of a task that are to be formatted, and those that they may show as demonstrations.

    ``task`` goes without its own instances: this is what travels to a worker. ``weight`` is that of
    the instances in the loss.
    """

    task: Task
    rows: tuple[tuple[int, Row], ...]
    candidates: tuple[tuple[int, Row], ...] = ()
    weight: float = 1.0


def task_rows(
    tasks: Iterable[Task], spec: FormattingSpec, n: int, seed: int, *, at_once: int = 0
) -> Iterator[TaskRows]:
    """``n`` rows of every task, in pieces of at most ``at_once`` rows (all of a task when 0).

    Raises:
        DataError: a task has no rows at all.
    """
    for task in tasks:
        made = None if task.generator is None else numbered_rows(task, n, seed)
        numbers = row_numbers(task, n, seed) if made is None else range(len(made))
        candidates: Sequence[tuple[int, Row]] = ()
        if spec.demonstrations != "examples" and spec.positive:
            candidates = shown_rows(task, seed, made)
        bare = replace(task, instances=(), held_out=(), generator=None, oracle=None)
        size = at_once or max(1, len(numbers))
        for start in range(0, len(numbers), size):
            # a large task is unpacked piece by piece
            some = numbers[start : start + size]
            rows = made[start : start + size] if made else [(i, task.instances[i]) for i in some]
            yield TaskRows(bare, tuple(rows), tuple(candidates))


def task_instances(
    tasks: Iterable[Task],
    spec: FormattingSpec,
    n: int,
    seed: int,
    render: TemplateRenderer,
    tokens: Callable[[str], int] | None = None,
) -> Iterator[Instance | FormattingFailure]:
    """``n`` rows of every task as instances; what cannot be made comes back as a failure.

    Args:
        tasks: to format.
        spec: how.
        n: rows of each task.
        seed: of all draws.
        render: of templates.
        tokens: counts the tokens of a prompt, for ``spec.max_tokens``.

    Raises:
        DataError: a task has no rows at all.
    """
    yield from formatted(task_rows(tasks, spec, n, seed), spec, seed, render, tokens)


def formatted(
    pieces: Iterable[TaskRows],
    spec: FormattingSpec,
    seed: int,
    render: TemplateRenderer,
    tokens: Callable[[str], int] | None = None,
) -> Iterator[Instance | FormattingFailure]:
    """The rows of the pieces as instances and failures, in their order."""
    fits = prompt_fits(spec, tokens)
    made = (
        (piece.weight, one)
        for piece in pieces
        for one in drafts(piece.task, piece.rows, piece.candidates, spec, seed)
    )
    for first in made:
        yield from _finished(chain([first], islice(made, _DRAFTS_AT_ONCE - 1)), render, fits)


def _finished(
    made: Iterable[tuple[float, Made]], render: TemplateRenderer, fits: Fits
) -> Iterator[Instance | FormattingFailure]:
    """Drafts are made and assembled while the worker renders those in between."""
    waiting: deque[tuple[float, Made]] = deque()
    texts: list[Rendering | RenderFailure] = []
    for one in render(_jobs(made, waiting)):
        while not _jobs_of(waiting[0][1]):
            yield _one(waiting.popleft(), [], fits)
        texts.append(one)
        if len(texts) == len(_jobs_of(waiting[0][1])):
            yield _one(waiting.popleft(), texts, fits)
            texts = []
    for left in chain(waiting, made):
        yield _one(left, [], fits)


def _jobs(
    made: Iterable[tuple[float, Made]], waiting: deque[tuple[float, Made]]
) -> Iterator[RenderJob]:
    for weighted in made:
        waiting.append(weighted)
        yield from _jobs_of(weighted[1])


def _jobs_of(made: Made) -> tuple[RenderJob, ...]:
    return made.jobs if isinstance(made, Draft) else ()


def _one(
    weighted: tuple[float, Made], texts: list[Rendering | RenderFailure], fits: Fits
) -> Instance | FormattingFailure:
    weight, draft = weighted
    if isinstance(draft, FormattingFailure):
        return draft
    made = assembled(draft, texts, fits)
    if weight != 1 and isinstance(made, Instance):
        return replace(made, weight=weight)
    return made
