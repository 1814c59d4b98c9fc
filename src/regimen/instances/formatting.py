"""Tasks become instruction-formatted instances and evaluation items.

Both go through ``encodings.user_message``, so a model is asked as it was taught. Every draw comes
from (seed, task, row, variable) alone: the same bytes for any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from regimen.errors import DataError
from regimen.instances.asking import Unanswerable, ask, in_language, row_spec
from regimen.instances.assembling import assembled
from regimen.instances.demonstrations import Fits, Pool, Shot, pick, within_budget
from regimen.instances.drafts import Draft, Made, drafts
from regimen.instances.draws import Draws
from regimen.instances.encodings import Count, Encoding, FormattingSpec, user_message
from regimen.instances.lineage import task_lineage
from regimen.instances.task_rows import (
    FormattingFailure,
    accepted_outputs,
    input_text,
    numbered_rows,
    row_key,
    row_numbers,
    row_problem,
)
from regimen.instances.templates import RenderFailure, Rendering, RenderJob
from regimen.records import Example, Instance, Item, Message, Row, Task

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

CANDIDATES = 256
"""Most rows of a task that may be shown as demonstrations, drawn by the seed."""
ITEM_DEMONSTRATIONS = 8
_DRAFTS_AT_ONCE = 2048


class TemplateRenderer(Protocol):
    """Renders many templates; a failure takes its place in the list."""

    def __call__(self, jobs: Sequence[RenderJob]) -> Sequence[Rendering | RenderFailure]:
        """One rendering or problem per job, in order."""


@dataclass(frozen=True, slots=True)
class TaskRows:
    """Rows of a task that are to be formatted, and those that they may show as demonstrations.

    ``task`` goes without its own instances: this is what travels to a worker.
    """

    task: Task
    rows: tuple[tuple[int, Row], ...]
    candidates: tuple[tuple[int, Row], ...] = ()


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
            candidates = made[:CANDIDATES] if made else numbered_rows(task, CANDIDATES, seed)
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
        one
        for piece in pieces
        for one in drafts(piece.task, piece.rows, piece.candidates, spec, seed)
    )
    while batch := list(islice(made, _DRAFTS_AT_ONCE)):
        yield from _finished(batch, render, fits)


def prompt_fits(spec: FormattingSpec, tokens: Callable[[str], int] | None) -> Fits:
    """Whether a prompt keeps to the budget of the spec.

    Raises:
        ValueError: the spec bounds tokens, and nothing counts them.
    """
    if spec.max_tokens is None:
        return lambda prompt: len(prompt) <= spec.max_characters
    if tokens is None:
        raise ValueError("max_tokens needs a tokenizer that counts them")
    most, count = spec.max_tokens, tokens
    return lambda prompt: len(prompt) <= spec.max_characters and count(prompt) <= most


def _finished(
    batch: Sequence[Made], render: TemplateRenderer, fits: Fits
) -> Iterator[Instance | FormattingFailure]:
    jobs = [job for one in batch if isinstance(one, Draft) for job in one.jobs]
    rendered = iter(render(jobs)) if jobs else iter(())
    for one in batch:
        if isinstance(one, FormattingFailure):
            yield one
        else:
            yield assembled(one, list(islice(rendered, len(one.jobs))), fits)


# -- evaluation items ---------------------------------------------------------------------------


def task_items(
    task: Task,
    suite: str,
    n: int,
    seed: int,
    spec: FormattingSpec | None = None,
    tokens: Callable[[str], int] | None = None,
    rows: Sequence[tuple[int, Row]] | None = None,
) -> list[Item]:
    """At most ``n`` items of a task, asked by its definition as training asks it.

    They carry as many demonstrations in the prompt as ``spec`` gives every instance: the smallest
    number where it draws one. Rows without an answer or an input cannot be scored, and are not
    asked; neither are those whose answer is none of their options. ``rows`` are asked, where they
    are given, in place of ``n`` that are drawn.

    Raises:
        DataError: the task has no rows (``task-empty``), or none that can be asked (``no-items``).
    """
    spec = _of_items(spec or FormattingSpec())
    fits = prompt_fits(spec, tokens)
    drawn = numbered_rows(task, n, seed) if rows is None else rows
    candidates: Sequence[tuple[int, Row]] = ()
    if spec.demonstrations != "examples":
        candidates = drawn if task.generator else numbered_rows(task, CANDIDATES, seed)
    pool = Pool.of(task, candidates)
    items: list[Item] = []
    problem: FormattingFailure | None = None
    for number, row in drawn:
        made = _item(task, suite, number, row, seed, spec, pool, fits)
        if isinstance(made, Item):
            items.append(made)
        else:
            problem = problem or made
    if problem is not None and not items:
        raise DataError(
            "None of the drawn rows of a held-out task can be asked.",
            slug="no-items",
            got=f"task {task.name}, row {problem.row}: {problem.error}: {problem.got}",
            expected="rows with an input and an output",
            fix=problem.fix,
        )
    return items


def _of_items(spec: FormattingSpec) -> FormattingSpec:
    """The spec as an evaluation asks: by definition, nothing turned round, answers alone."""
    own = spec.encoding == "natural_instructions"
    return replace(
        spec,
        encoding="natural_instructions" if own or spec.encoding == "tk_instruct" else "definition",
        inverted_share=None,
        chain_of_thought="none",
        reference="first",
        positive=_least(spec.positive),
        negative=_least(spec.negative),
    )


def _least(count: Count) -> int:
    return count if isinstance(count, int) else min(count)


def _item(
    task: Task,
    suite: str,
    number: int,
    row: Row,
    seed: int,
    spec: FormattingSpec,
    pool: Pool,
    fits: Fits,
) -> Item | FormattingFailure:
    spoken = in_language(task, number, spec)
    if isinstance(spoken, FormattingFailure):
        return spoken
    problem = row_problem(spoken, number, row)
    if problem is not None:
        return problem
    draws = Draws(seed, task.name, number, "item")
    spec = row_spec(spoken, spec, draws)
    try:
        asked = ask(spoken, number, row, spec, draws)
    except Unanswerable as error:
        return error.failure
    key = row_key(row)
    examples = pool.shots("examples")
    worked = pick(examples, key, ITEM_DEMONSTRATIONS, draws.order("worked", len(examples)))
    own = spec.encoding == "natural_instructions"

    def drawn(shots: Sequence[Shot], k: object, variable: str) -> list[tuple[str, Example]]:
        order = None if own or not shots else draws.order(variable, len(shots))
        found = pick(shots, key, k if isinstance(k, int) else 0, order)
        return [(shot.id, _example(shot, spoken, spec, draws)) for shot in found]

    def prompt(shown: Sequence[tuple[str, Example]], wrong: Sequence[tuple[str, Example]]) -> str:
        return user_message(spoken, asked.text, spec, [e for _, e in shown], [e for _, e in wrong])

    shown = drawn(pool.shots(spec.demonstrations), spec.positive, "positive shots")
    wrong = drawn(pool.negative, spec.negative, "negative")
    kept = within_budget(shown, lambda some: prompt(some, ()), fits)
    refused = within_budget(wrong, lambda some: prompt(kept, some), fits)
    return Item(
        suite=suite,
        messages=(Message(role="user", content=prompt(kept, refused)),),
        references=asked.accepted,
        input=input_text(row),
        definition=spoken.definition,
        demonstrations=tuple(shot.example for shot in worked if shot.example is not None),
        choices=asked.options.options if asked.options else (),
        cluster=task.name,
        lineage=task_lineage(
            spoken,
            number,
            row,
            seed,
            template=spec.encoding,
            demonstrations=tuple(name for name, _ in (*kept, *refused)),
            shown=asked.options,
        ),
    )


def _example(shot: Shot, task: Task, spec: FormattingSpec, draws: Draws) -> Example:
    if shot.row is None:
        assert shot.example is not None
        return shot.example
    own = Draws(draws.number("shots"), task.name, shot.number)
    asked = ask(task, shot.number, shot.row, spec, own)
    return Example(input=asked.text, output=asked.answer)
