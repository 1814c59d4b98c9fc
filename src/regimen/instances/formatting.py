"""Tasks become instruction-formatted instances and evaluation items.

Both go through ``encodings.user_message``, so a model is asked as it was taught. Every draw comes
from (seed, task, row) alone: the same bytes for any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from regimen.errors import DataError
from regimen.instances.demonstrations import (
    demonstration_ids,
    pick_demonstrations,
    seeded,
    within_budget,
)
from regimen.instances.encodings import Encoding, FormattingSpec, user_message
from regimen.instances.task_rows import (
    NO_ANSWER,
    FormattingFailure,
    accepted_outputs,
    input_text,
    numbered_rows,
    row_problem,
)
from regimen.instances.templates import RenderFailure, RenderJob
from regimen.records import Example, Instance, Item, Lineage, Message, Row, Task, Template

__all__ = [
    "Encoding",
    "FormattingFailure",
    "FormattingSpec",
    "RenderFailure",
    "RenderJob",
    "TemplateRenderer",
    "accepted_outputs",
    "numbered_rows",
    "task_instances",
    "task_items",
    "user_message",
]

MOST_FEW_SHOT = 3
ITEM_DEMONSTRATIONS = 8
_DRAFTS_AT_ONCE = 2048


class TemplateRenderer(Protocol):
    """Renders many templates; a failure takes its place in the list."""

    def __call__(self, jobs: Sequence[RenderJob]) -> Sequence[str | RenderFailure]:
        """One text or problem per job, in order."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """An instance before its templates are rendered."""

    task: Task
    number: int
    row: Row
    template: Template | None = None
    positive: tuple[Example, ...] = ()
    negative: tuple[Example, ...] = ()


def task_instances(
    tasks: Sequence[Task], spec: FormattingSpec, n: int, seed: int, render: TemplateRenderer
) -> Iterator[Instance | FormattingFailure]:
    """``n`` rows of every task as instances; what cannot be made comes back as a failure.

    Raises:
        DataError: a task has no rows at all.
    """
    drafts: list[_Draft] = []
    for task in tasks:
        for number, row in numbered_rows(task, n, seed):
            for made in _drafts(task, number, row, spec, seed):
                if isinstance(made, FormattingFailure):
                    yield made
                else:
                    drafts.append(made)
        if len(drafts) >= _DRAFTS_AT_ONCE:
            yield from _finished(drafts, spec, seed, render)
            drafts = []
    yield from _finished(drafts, spec, seed, render)


def _drafts(
    task: Task, number: int, row: Row, spec: FormattingSpec, seed: int
) -> list[_Draft | FormattingFailure]:
    """One draft per template that the row is asked by, or one by definition."""
    rng = seeded(seed, task.name, number, "format")
    by_template = spec.encoding == "template"
    if spec.encoding == "mixed":
        by_template = rng.random() < spec.template_share and bool(task.templates)
    if by_template:
        return _template_drafts(task, number, row, spec, rng)
    problem = row_problem(task, number, row)
    if problem is not None:
        return [problem]
    positive = spec.positive
    if not positive and spec.few_shot_share and rng.random() < spec.few_shot_share:
        positive = rng.randint(1, MOST_FEW_SHOT)
    shown, wrong = _demonstrations(task, input_text(row), replace(spec, positive=positive), rng)
    return [_Draft(task, number, row, positive=shown, negative=wrong)]


def _template_drafts(
    task: Task, number: int, row: Row, spec: FormattingSpec, rng: Random
) -> list[_Draft | FormattingFailure]:
    if not task.templates:
        fix = "Add templates to the task, or set encoding: definition or mixed."
        return [FormattingFailure(task.name, number, "no_template", "a task without any", fix)]
    order = list(task.templates)
    rng.shuffle(order)
    count = {"one": 1, "all": len(order)}.get(str(spec.templates), spec.templates)
    return [_template_draft(task, number, row, template) for template in order[: int(count)]]


def _template_draft(
    task: Task, number: int, row: Row, template: Template
) -> _Draft | FormattingFailure:
    """The draft, unless its template would write the output that the row lacks."""
    if "output" in template.output and "output" in row and not accepted_outputs(row):
        where = f"{task.name}#{template.name}"
        return FormattingFailure(where, number, "no_answer", "a blank output", NO_ANSWER)
    return _Draft(task, number, row, template=template)


def _demonstrations(
    task: Task, text: str, spec: FormattingSpec, rng: Random
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Positive and negative demonstrations that fit; the negative ones give way first.

    Super-NaturalInstructions shows the first ones in their order, and so does its encoding.
    """
    order = None if spec.encoding == "natural_instructions" else rng
    shown = pick_demonstrations(task.positive, text, spec.positive, order)
    wrong = pick_demonstrations(task.negative, text, spec.negative, order)
    shown = within_budget(
        shown, lambda kept: len(user_message(task, text, spec, kept)), spec.max_characters
    )
    wrong = within_budget(
        wrong, lambda kept: len(user_message(task, text, spec, shown, kept)), spec.max_characters
    )
    return shown, wrong


def _finished(
    drafts: Sequence[_Draft], spec: FormattingSpec, seed: int, render: TemplateRenderer
) -> Iterator[Instance | FormattingFailure]:
    jobs: list[RenderJob] = []
    for draft in drafts:
        if draft.template is not None:
            outputs = accepted_outputs(draft.row)
            values = {**draft.row, "output": outputs[0]} if outputs else draft.row
            jobs.append(RenderJob(draft.template.input, values))
            jobs.append(RenderJob(draft.template.output, values))
    rendered = iter(render(jobs)) if jobs else iter(())
    for draft in drafts:
        if draft.template is None:
            prompt = user_message(
                draft.task, input_text(draft.row), spec, draft.positive, draft.negative
            )
            yield _instance(draft, spec, seed, prompt, accepted_outputs(draft.row)[0])
        else:
            yield _from_template(draft, spec, seed, next(rendered), next(rendered))


def _from_template(
    draft: _Draft,
    spec: FormattingSpec,
    seed: int,
    prompt: str | RenderFailure,
    answer: str | RenderFailure,
) -> Instance | FormattingFailure:
    assert draft.template is not None
    where = f"{draft.task.name}#{draft.template.name}"
    for text, error in ((prompt, "no_input"), (answer, "no_answer")):
        if isinstance(text, RenderFailure):
            return FormattingFailure(where, draft.number, text.error, text.got, text.fix)
        if not text.strip():
            fix = "Remove the row, or change the template so that it writes something."
            return FormattingFailure(where, draft.number, error, "a blank rendering", fix)
    return _instance(draft, spec, seed, str(prompt), str(answer))


def _instance(draft: _Draft, spec: FormattingSpec, seed: int, prompt: str, answer: str) -> Instance:
    task = draft.task
    shown = (
        *demonstration_ids(draft.positive, task.positive, "positive"),
        *demonstration_ids(draft.negative, task.negative, "negative"),
    )
    template = draft.template.name if draft.template else _by_definition(spec).encoding
    return Instance(
        messages=(
            Message(role="user", content=prompt),
            Message(role="assistant", content=answer),
        ),
        lineage=_lineage(task, draft.number, seed, template, shown),
    )


def _by_definition(spec: FormattingSpec) -> FormattingSpec:
    """The spec as it applies to what is not asked by a template."""
    if spec.encoding == "natural_instructions":
        return spec
    return replace(spec, encoding="definition")


def _lineage(task: Task, number: int, seed: int, template: str, shown: tuple[str, ...]) -> Lineage:
    return Lineage(
        source=task.source,
        row=number,
        task=task.name,
        family=task.family,
        category=task.category,
        language=task.language,
        licence=task.licence,
        template=template,
        demonstrations=shown,
        seed=seed,
    )


def task_items(
    task: Task, suite: str, n: int, seed: int, spec: FormattingSpec | None = None
) -> list[Item]:
    """At most ``n`` items of a task, asked by its definition as training asks it.

    They carry as many demonstrations in the prompt as ``spec`` gives every instance (none for a
    ``few_shot_share``). Rows without an answer or an input cannot be scored and are not asked.

    Raises:
        DataError: the task has no rows (``task-empty``), or none that can be asked (``no-items``).
    """
    spec = _by_definition(spec or FormattingSpec())
    items = []
    drawn = numbered_rows(task, n, seed)
    for number, row in drawn:
        if row_problem(task, number, row) is not None:
            continue
        text = input_text(row)
        rng = seeded(seed, task.name, number, "item")
        worked = pick_demonstrations(task.positive, text, ITEM_DEMONSTRATIONS, rng)
        shown, wrong = _demonstrations(task, text, spec, rng)
        ids = (
            *demonstration_ids(shown, task.positive, "positive"),
            *demonstration_ids(wrong, task.negative, "negative"),
        )
        prompt = user_message(task, text, spec, shown, wrong)
        items.append(
            Item(
                suite=suite,
                messages=(Message(role="user", content=prompt),),
                references=accepted_outputs(row),
                input=text,
                definition=task.definition,
                demonstrations=worked,
                cluster=task.name,
                lineage=_lineage(task, number, seed, spec.encoding, ids),
            )
        )
    if drawn and not items:
        problem = row_problem(task, *drawn[0])
        assert problem is not None
        raise DataError(
            "None of the drawn rows of a held-out task can be asked.",
            slug="no-items",
            got=f"task {task.name}, row {problem.row}: {problem.error}: {problem.got}",
            expected="rows with an input and an output",
            fix=problem.fix,
        )
    return items
