"""Rows of a task as drafts: all that is decided about an instance before templates are rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from regimen.instances.asking import (
    Asked,
    Unanswerable,
    ask,
    below,
    in_language,
    row_spec,
    templates_of,
    trigger,
    with_rationale,
)
from regimen.instances.collections.option_order import can_shuffle
from regimen.instances.demonstrations import Pool, Shot, pick
from regimen.instances.draws import Draws
from regimen.instances.encodings import FormattingSpec
from regimen.instances.task_rows import (
    NO_ANSWER,
    FormattingFailure,
    accepted_outputs,
    input_text,
    row_key,
    row_problem,
)
from regimen.instances.templates import (
    RenderJob,
    compile_check,
    missing_columns,
    template_job,
)
from regimen.records import Example, Row, Task, Template


@dataclass(frozen=True, slots=True)
class Worked:
    """A demonstration as this prompt shows it, with the columns that a template reads."""

    shot: Shot
    example: Example
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An instance before its templates are rendered. ``spec`` is that of its row."""

    task: Task
    number: int
    row: Row
    spec: FormattingSpec
    asked: Asked
    seed: int
    template: Template | None = None
    positive: tuple[Worked, ...] = ()
    negative: tuple[Worked, ...] = ()
    inverted: bool = False
    jobs: tuple[RenderJob, ...] = field(default=(), repr=False)


Made = Draft | FormattingFailure


def drafts(
    task: Task,
    rows: Sequence[tuple[int, Row]],
    candidates: Sequence[tuple[int, Row]],
    spec: FormattingSpec,
    seed: int,
) -> Iterator[Made]:
    """The drafts of rows, at least one for each or its failure.

    Args:
        task: what they are rows of; its own instances are not looked at.
        rows: to draft, with their numbers.
        candidates: rows that may be shown as demonstrations.
        spec: the formatting.
        seed: of all draws.
    """
    pool = Pool.of(task, candidates if spec.demonstrations != "examples" else ())
    for number, row in rows:
        spoken = in_language(task, number, spec)
        if isinstance(spoken, FormattingFailure):
            yield spoken
            continue
        try:
            yield from _Drafter(spoken, number, row, spec, seed, pool).drafts()
        except Unanswerable as error:
            yield error.failure


class _Drafter:
    """The drafts of one row."""

    def __init__(
        self, task: Task, number: int, row: Row, spec: FormattingSpec, seed: int, pool: Pool
    ) -> None:
        self.task, self.number, self.row, self.pool, self.seed = task, number, row, pool, seed
        self.draws = Draws(seed, task.name, number)
        self.spec = row_spec(task, spec, self.draws)

    def drafts(self) -> Iterator[Made]:
        """One draft per template that the row is asked by, or one by definition."""
        task, spec = self.task, self.spec
        inverted: bool | None = None
        if spec.inverted_share is not None:
            inverted = self.draws.chance("inverted", spec.inverted_share)
        templates: Sequence[Template] = ()
        if spec.encoding == "template":
            templates = templates_of(task, spec, self.draws, inverted)
            if not templates and not inverted:
                fix = "Add templates to the task, or set encoding: definition or mixed."
                got = "a task without any" if not task.templates else "none that fits the settings"
                yield FormattingFailure(task.name, self.number, "no_template", got, fix)
                return
        if templates:
            for template in templates:
                yield self.by_template(template)
        else:
            yield self.by_definition(bool(inverted))

    def by_template(self, template: Template) -> Made:
        """The draft, unless its template would write the output that the row lacks."""
        task, row = self.task, self.row
        if "output" in template.output and "output" in row and not accepted_outputs(row):
            where = f"{task.name}#{template.name}"
            return FormattingFailure(where, self.number, "no_answer", "a blank output", NO_ANSWER)
        # a template that does not list the engine's options cannot be answered by their labels
        own = bool(template.choices) or not _lists_options(template.input)
        spec = _without_options(self.spec) if own else self.spec
        asked = ask(task, self.number, row, spec, self.draws)
        shots = self.shots(("input", "output") if template.output else ())
        worked = tuple(self.worked(shot, spec) for shot in shots)
        jobs = [self.job(template, row, asked, self.draws)]
        for one in worked:
            shown = one.shot.row or {"input": one.example.input, "output": one.example.output}
            draws = Draws(self.seed, task.name, self.number, one.shot.id)
            jobs.append(self.job(template, shown, one.asked, draws))
        return Draft(
            *(task, self.number, row, spec, asked, self.seed, template, worked),
            jobs=tuple(jobs),
        )

    def job(self, template: Template, row: Row, asked: Asked | None, draws: Draws) -> RenderJob:
        """The rendering of a row, the query's or a demonstration's."""
        values = row if asked is None else asked.values(row, self.task)
        shuffle = self.spec.option_order == "shuffled" and bool(template.choices)
        if shuffle:
            shuffle = _shuffles(template.input, template.output, template.choices)
        return template_job(template, values, draws.number("rendering"), shuffle)

    def by_definition(self, inverted: bool) -> Made:
        """The draft in the words of the task's definition."""
        task, row, spec = self.task, self.row, self.spec
        problem = row_problem(task, self.number, row)
        if problem is None and inverted and not input_text(row).strip():
            fix = "A row without an input cannot be turned round; set inverted_share: 0."
            problem = FormattingFailure(task.name, self.number, "no_input", "a blank input", fix)
        if problem is not None:
            return problem
        if inverted:
            spec = _without_options(spec)
        asked = ask(task, self.number, row, spec, self.draws)
        positive = tuple(self.worked(shot, spec) for shot in self.shots(("input",)))
        given = None if spec.encoding == "natural_instructions" else "negative"
        wrong = self.pick(self.pool.negative, spec.negative, given)
        negative = tuple(self.worked(shot, spec) for shot in wrong)
        return Draft(
            *(task, self.number, row, spec, asked, self.seed, None, positive, negative),
            inverted=inverted,
        )

    def shots(self, columns: Sequence[str]) -> tuple[Shot, ...]:
        """The positive demonstrations; examples only where input and output are all columns."""
        wanted = self.spec.demonstrations if columns else "rows"
        variable = None if self.spec.encoding == "natural_instructions" else "positive shots"
        return self.pick(self.pool.shots(wanted), self.spec.positive, variable)

    def pick(self, shots: Sequence[Shot], k: object, variable: str | None) -> tuple[Shot, ...]:
        """Demonstrations in a random order; Super-NaturalInstructions shows the first ones."""
        if not shots or not isinstance(k, int) or k < 1:
            return ()
        order = None if variable is None else self.draws.order(variable, len(shots))
        return pick(shots, row_key(self.row), k, order)

    def worked(self, shot: Shot, spec: FormattingSpec) -> Worked:
        """A demonstration as the query is asked: its options, its rationale."""
        if shot.row is None:
            assert shot.example is not None
            return Worked(shot, shot.example)
        draws = Draws(self.seed, self.task.name, self.number, shot.id)
        asked = ask(self.task, shot.number, shot.row, spec, draws)
        text = below(asked.text, trigger(asked, self.task, spec))
        answer = with_rationale(asked.answer, asked, self.task, spec)
        return Worked(shot, Example(input=text, output=answer), asked)


def _without_options(spec: FormattingSpec) -> FormattingSpec:
    return replace(spec, options=False)


@lru_cache(maxsize=4096)
def _lists_options(source: str) -> bool:
    """Whether a template shows the options as the engine orders and labels them."""
    if compile_check(source) is not None:
        return False
    return not {"options", "options_block"}.isdisjoint(missing_columns(source, ()))


@lru_cache(maxsize=4096)
def _shuffles(prompt: str, answer: str, choices: str) -> bool:
    """``can_shuffle``, which parses the template, asked once for each."""
    return can_shuffle(Template(name="", input=prompt, output=answer, choices=choices))
