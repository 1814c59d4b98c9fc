"""Tasks become instruction-formatted instances: one function writes every prompt.

Training instances and evaluation items go through ``user_message``, so a model is asked as it was
taught. Every draw comes from (seed, task, row) alone: the same bytes for any number of workers.
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from regimen.errors import DataError
from regimen.instances.demonstrations import pick_demonstrations, seeded, within_budget
from regimen.records import Example, Instance, Item, Lineage, Message, Row, Task, Template

Encoding = Literal["definition", "template", "natural_instructions", "mixed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormattingSpec:
    """Formatting design, each variable alone.

    ``positive`` and ``negative`` are numbers of demonstrations; ``few_shot_share`` of the instances
    carry one to three positive ones when ``positive`` is 0. ``template_share`` is what ``mixed``
    asks by a template. ``max_characters`` bounds a prompt: demonstrations give way to the query.
    """

    encoding: Encoding = "definition"
    definition: bool = True
    positive: int = 0
    negative: int = 0
    explanations: bool = False
    templates: str | int = "one"
    few_shot_share: float = 0.0
    template_share: float = 0.3
    max_characters: int = 4000


@dataclass(frozen=True, slots=True)
class FormattingFailure:
    """A row that could not become an instance, by task and row number."""

    task: str
    row: int
    error: str
    got: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Rendering:
    """A template to render with a row."""

    template: str
    values: Row


@dataclass(frozen=True, slots=True)
class RenderProblem:
    """Why a template gave no text."""

    error: str
    got: str = ""
    fix: str = ""


class TemplateRenderer(Protocol):
    """Renders many templates; a failure takes its place in the list."""

    def __call__(self, jobs: Sequence[Rendering]) -> Sequence[str | RenderProblem]:
        """One text or problem per job, in order."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """An instance before its templates are rendered."""

    task: Task
    number: int
    row: Row
    template: Template | None
    positive: tuple[Example, ...]
    negative: tuple[Example, ...]


def accepted_outputs(row: Row) -> tuple[str, ...]:
    """The accepted outputs of a row, the one to learn first."""
    output = row.get("output")
    if output is None:
        return ()
    texts = [output] if isinstance(output, str) else list(output)
    return tuple(str(text) for text in texts if str(text))


def user_message(
    task: Task,
    text: str,
    spec: FormattingSpec,
    positive: Sequence[Example] = (),
    negative: Sequence[Example] = (),
) -> str:
    """The prompt of a task for one input: definition, demonstrations, query.

    Without demonstrations the query is the bare input under the definition: scaffolding costs
    tokens that a small model has to read.
    """
    if spec.encoding == "natural_instructions":
        return natural_instructions(task, text, positive, negative, spec.explanations)
    lines = [task.definition.strip()] if spec.definition and task.definition.strip() else []
    if not positive and not negative:
        return "\n".join([*lines, text])
    for heading, shown in (("", positive), ("Not like this. ", negative)):
        for example in shown:
            lines.append(f"{heading}Input: {example.input}\nOutput: {example.output}")
            if spec.explanations and example.explanation:
                lines[-1] += f"\nExplanation: {example.explanation}"
    return "\n".join([*lines, f"Input: {text}\nOutput:"])


def _stop(text: str) -> str:
    """A full stop, unless the text already ends in punctuation."""
    return text if text and text[-1] in string.punctuation else text + "."


def natural_instructions(
    task: Task,
    text: str,
    positive: Sequence[Example] = (),
    negative: Sequence[Example] = (),
    explanations: bool = False,
) -> str:
    """The encoding of Super-NaturalInstructions (Wang et al. 2022), byte for byte."""
    out = f"Definition: {_stop(task.definition.strip())}\n\n" if task.definition else ""
    for kind, examples in (("Positive", positive), ("Negative", negative)):
        for number, example in enumerate(examples, start=1):
            out += f" {kind} Example {number} -\n"
            out += f"Input: {_stop(example.input.strip())}\n"
            out += f" Output: {_stop(example.output.strip())}\n"
            if explanations and example.explanation:
                out += f" Explanation: {_stop(example.explanation.strip())}\n"
            out += "\n"
    return out + (f"Now complete the following example -\nInput: {_stop(text.strip())}\nOutput: ")


def rows_of(task: Task, n: int, seed: int) -> list[Row]:
    """``n`` rows of a task: made by its generator, or drawn from its instances.

    Raises:
        DataError: the task has neither.
    """
    if task.generator is not None:
        return list(task.generator(seed, n))
    if not task.instances:
        raise DataError(
            "A task has neither instances nor a generator.",
            slug="task-empty",
            got=task.name,
            fix="Add instances to the task's file.",
        )
    order = list(range(len(task.instances)))
    seeded(seed, task.name, "rows").shuffle(order)
    return [task.instances[i] for i in sorted(order[:n])]


def task_instances(
    tasks: Sequence[Task], spec: FormattingSpec, n: int, seed: int, render: TemplateRenderer
) -> Iterator[Instance | FormattingFailure]:
    """``n`` rows of every task as instances; what cannot be made comes back as a failure."""
    drafts: list[_Draft] = []
    for task in tasks:
        for number, row in enumerate(rows_of(task, n, seed)):
            if not accepted_outputs(row) or not str(row.get("input", "")).strip():
                missing = "input" if accepted_outputs(row) else "output"
                yield FormattingFailure(
                    task.name,
                    number,
                    "no_answer" if missing == "output" else "no_input",
                    fix=f"Give the row an '{missing}'.",
                )
                continue
            drafts += _drafts(task, number, row, spec, seed)
    jobs: list[Rendering] = []
    for draft in drafts:
        if draft.template is not None:
            values = {**draft.row, "output": accepted_outputs(draft.row)[0]}
            jobs.append(Rendering(draft.template.input, values))
            jobs.append(Rendering(draft.template.output, values))
    rendered = iter(render(jobs)) if jobs else iter(())
    for draft in drafts:
        if draft.template is None:
            yield _instance(draft, spec, seed)
            continue
        prompt, answer = next(rendered), next(rendered)
        problem = next((x for x in (prompt, answer) if isinstance(x, RenderProblem)), None)
        if problem is not None:
            where = f"{draft.task.name}#{draft.template.name}"
            yield FormattingFailure(where, draft.number, problem.error, problem.got, problem.fix)
        else:
            yield _instance(draft, spec, seed, str(prompt), str(answer))


def _drafts(task: Task, number: int, row: Row, spec: FormattingSpec, seed: int) -> list[_Draft]:
    """One draft per template that the row is asked by, or one by definition."""
    rng = seeded(seed, task.name, number, "format")
    by_template = spec.encoding == "template"
    if spec.encoding == "mixed":
        by_template = rng.random() < spec.template_share
    if by_template and task.templates:
        count = {"one": 1, "all": len(task.templates)}.get(str(spec.templates), spec.templates)
        order = list(task.templates)
        rng.shuffle(order)
        return [_Draft(task, number, row, t, (), ()) for t in order[: int(count)]]
    positive, negative = spec.positive, spec.negative
    if not positive and spec.few_shot_share and rng.random() < spec.few_shot_share:
        positive = rng.randint(1, 3)
    text = str(row["input"])
    shown = pick_demonstrations(task.positive, text, positive, rng)
    wrong = pick_demonstrations(task.negative, text, negative, rng)
    shown = within_budget(
        shown, lambda kept: len(user_message(task, text, spec, kept, wrong)), spec.max_characters
    )
    wrong = within_budget(
        wrong, lambda kept: len(user_message(task, text, spec, shown, kept)), spec.max_characters
    )
    return [_Draft(task, number, row, None, shown, wrong)]


def _instance(
    draft: _Draft, spec: FormattingSpec, seed: int, prompt: str | None = None, answer: str = ""
) -> Instance:
    task, row = draft.task, draft.row
    if prompt is None:
        prompt = user_message(task, str(row["input"]), spec, draft.positive, draft.negative)
        answer = accepted_outputs(row)[0]
    template = draft.template.name if draft.template else spec.encoding
    lineage = replace(
        _lineage(task, draft.number, seed, template),
        demonstrations=tuple(e.input for e in (*draft.positive, *draft.negative)),
    )
    return Instance(
        messages=(
            Message(role="user", content=prompt),
            Message(role="assistant", content=answer),
        ),
        lineage=lineage,
    )


def _lineage(task: Task, number: int, seed: int, template: str) -> Lineage:
    return Lineage(
        source=task.source,
        row=number,
        task=task.name,
        family=task.family,
        category=task.category,
        language=task.language,
        licence=task.licence,
        template=template,
        seed=seed,
    )


def task_items(
    task: Task, suite: str, n: int, seed: int, spec: FormattingSpec | None = None
) -> list[Item]:
    """``n`` items of a task, asked by its definition as training asks it."""
    spec = replace(spec or FormattingSpec(), encoding="definition", few_shot_share=0.0)
    items = []
    for number, row in enumerate(rows_of(task, n, seed)):
        references = accepted_outputs(row)
        if not references:
            continue
        text = str(row["input"])
        shown = pick_demonstrations(task.positive, text, 8, seeded(seed, task.name, number, "k"))
        items.append(
            Item(
                suite=suite,
                messages=(Message(role="user", content=user_message(task, text, spec)),),
                references=references,
                input=text,
                definition=task.definition,
                demonstrations=shown,
                cluster=task.name,
                lineage=_lineage(task, number, seed, "definition"),
            )
        )
    return items
