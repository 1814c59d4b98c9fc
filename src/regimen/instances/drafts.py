"""Rows of a task as drafts: all that is decided about an instance before templates are rendered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from regimen.instances.asking import (
    Asked,
    Unanswerable,
    as_shown,
    ask,
    ask_example,
    below,
    columns_of,
    in_language,
    row_spec,
    spec_with,
    templates_of,
    trigger,
    with_rationale,
)
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
from regimen.instances.template_options import Listing, listing, may_shuffle, reads_output
from regimen.instances.templates import RenderJob, template_job
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
    stream: str = "",
    pool_seed: int | None = None,
) -> Iterator[Made]:
    """The drafts of rows, at least one for each or its failure.

    Args:
        task: what they are rows of; its own instances are not looked at.
        rows: to draft, with their numbers.
        candidates: rows that may be shown as demonstrations.
        spec: the formatting.
        seed: of all draws.
        stream: what the rows are drafted for, where it is not training.
        pool_seed: of the templates that are in use; ``seed`` when not given.
    """
    spoken = in_language(task, spec)
    if isinstance(spoken, FormattingFailure):
        yield from (replace(spoken, row=number) for number, _ in rows)
        return
    pool = Pool.of(task, candidates if spec.demonstrations != "examples" else ())
    for number, row in rows:
        try:
            drafter = _Drafter(spoken, number, row, spec, seed, pool, stream)
            yield from drafter.drafts(seed if pool_seed is None else pool_seed)
        except Unanswerable as error:
            yield error.failure


class _Drafter:
    """The drafts of one row."""

    def __init__(
        self,
        task: Task,
        number: int,
        row: Row,
        spec: FormattingSpec,
        seed: int,
        pool: Pool,
        stream: str,
    ) -> None:
        self.task, self.number, self.row, self.pool, self.seed = task, number, row, pool, seed
        self.draws = Draws(seed, task.name, number, stream)
        self.spec = row_spec(task, spec, self.draws)
        self.mixed = spec.encoding == "mixed"

    def drafts(self, pool_seed: int) -> Iterator[Made]:
        """One draft per template that the row is asked by, or one by definition."""
        task, spec = self.task, self.spec
        inverted: bool | None = None
        if spec.inverted_share is not None:
            inverted = self.draws.chance("inverted", spec.inverted_share)
        templates: Sequence[Template] = ()
        if spec.encoding == "template":
            templates = templates_of(task, spec, self.draws, inverted, pool_seed)
            if not templates and self.mixed:
                self.spec = replace(spec, encoding="definition")
            elif not templates and not inverted:
                fix = "Add templates to the task, or set encoding: definition or mixed."
                got = "a task without any" if not task.templates else "none that fits the settings"
                yield FormattingFailure(task.name, self.number, "no_template", got, fix)
                return
        if templates:
            for template in templates:
                try:
                    yield self.by_template(template)
                except Unanswerable as error:
                    # the other templates may ask it, and each has its own account
                    yield replace(error.failure, task=f"{task.name}#{template.name}")
        else:
            yield self.by_definition(bool(inverted))

    def by_template(self, template: Template) -> Made:
        """The draft, unless its template reads the output that the row lacks."""
        task, row = self.task, self.row
        if not accepted_outputs(row) and reads_output(template.input, template.output):
            where = f"{task.name}#{template.name}"
            return FormattingFailure(where, self.number, "no_answer", "no output", NO_ANSWER)
        spec = _by(template, self.spec)
        asked = ask(task, self.number, row, spec, self.draws)
        spec = as_shown(spec, asked)
        shots = self.shots(("input", "output") if template.output else ())
        worked = tuple(self.worked(shot, spec, listed=True) for shot in shots)
        jobs = [self.job(template, row, asked, self.draws)]
        for one in worked:
            shown = one.shot.row if one.shot.example is None else columns_of(one.shot.example)
            assert shown is not None
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
            shuffle = may_shuffle(template.input, template.output, template.choices)
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
            # the rationale leads to the output, which is given
            spec = spec_with(spec, options=False, chain_of_thought="none")
        asked = ask(task, self.number, row, spec, self.draws)
        spec = as_shown(spec, asked)
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

    def worked(self, shot: Shot, spec: FormattingSpec, *, listed: bool = False) -> Worked:
        """A demonstration as the query is asked: its options, its rationale.

        An example of the task has the task's options where they are ``listed`` by a template.
        """
        draws = Draws(self.seed, self.task.name, self.number, shot.id)
        if shot.row is None:
            assert shot.example is not None
            labelled = ask_example(self.task, shot.example, spec, draws, listed=listed)
            return Worked(shot, *(labelled or (shot.example,)))
        asked = ask(self.task, shot.number, shot.row, spec, draws)
        text = below(asked.text, trigger(asked, self.task, spec))
        answer = with_rationale(asked.answer, asked, self.task, spec)
        return Worked(shot, Example(input=text, output=answer), asked)


def _by(template: Template, spec: FormattingSpec) -> FormattingSpec:
    """The spec as far as a template lets the engine show options and rationale."""
    changes: dict[str, Any] = {}
    found = Listing() if template.choices else listing(template.input, template.output)
    if not found.shown:
        changes["options"] = False
    elif not found.labelled:
        changes["option_labels"] = "dash"
    if not found.free:
        changes["option_order"] = "given"
    if template.inverted:
        changes["chain_of_thought"] = "none"
    return spec_with(spec, **changes)
