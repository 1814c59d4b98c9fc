"""Evaluation items that are asked by a task's templates: an item of each row and template."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from regimen.instances.asking import steps_line
from regimen.instances.assembling import assembled
from regimen.instances.demonstrations import Fits, Pool, prompt_fits
from regimen.instances.drafts import Draft, drafts
from regimen.instances.draws import Draws
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import Purpose, candidates_of, worked_examples
from regimen.instances.task_rows import FormattingFailure, input_text
from regimen.instances.templates import RenderFailure, Rendering, RenderJob
from regimen.records import Item, Row, Task

Render = Callable[[Sequence[RenderJob]], Sequence[Rendering | RenderFailure]]
STREAM = "item"


def template_items(
    task: Task,
    rows: Sequence[tuple[int, Row]],
    purpose: Purpose,
    seed: int,
    spec: FormattingSpec,
    render: Render,
    tokens: Callable[[str], int] | None = None,
    pool_seed: int | None = None,
) -> list[tuple[int, Item | FormattingFailure]]:
    """Items of each row, or why there is none, with the row's number.

    ``spec.templates`` says by how many templates a row is asked; those that turn a task round are
    not among them. References are what the template makes of every accepted answer. With a chain of
    thought every prompt asks for it, below what the template writes.

    Args:
        task: whose rows they are; it needs no definition.
        rows: to ask, with their numbers.
        purpose: what they are asked for.
        seed: of all draws.
        spec: the formatting, with ``encoding="template"``.
        render: of templates: ``TemplateWorker.render``.
        tokens: counts the tokens of a prompt, for ``spec.max_tokens``.
        pool_seed: of the templates that are in use; ``seed`` when not given.
    """
    spec = replace(spec, inverted_share=0.0)
    shown = candidates_of(task, seed, spec, rows, apart=purpose.apart)
    made = list(drafts(task, rows, shown, spec, seed, STREAM, pool_seed))
    answers = [_answers(one) if isinstance(one, Draft) else () for one in made]
    jobs = [
        job
        for one, others in zip(made, answers, strict=True)
        if isinstance(one, Draft)
        for job in (*one.jobs, *others)
    ]
    texts = iter(render(jobs))
    maker = _Maker(purpose, seed, Pool.of(task), prompt_fits(spec, tokens))
    found: list[tuple[int, Item | FormattingFailure]] = []
    for one, others in zip(made, answers, strict=True):
        if isinstance(one, FormattingFailure):
            found.append((one.row, one))
            continue
        rendered = [next(texts) for _ in one.jobs]
        accepted = [next(texts) for _ in others]
        found.append((one.number, maker.item(one, rendered, accepted)))
    return found


def _answers(draft: Draft) -> tuple[RenderJob, ...]:
    """What writes the other accepted answers as the template does."""
    first = draft.jobs[0]
    return tuple(
        first._replace(values={**first.values, "output": answer})
        for answer in draft.asked.accepted
        if answer != draft.asked.answer
    )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the items of drafts that are rendered."""

    purpose: Purpose
    seed: int
    pool: Pool
    fits: Fits

    def item(
        self,
        draft: Draft,
        rendered: Sequence[Rendering | RenderFailure],
        accepted: Sequence[Rendering | RenderFailure],
    ) -> Item | FormattingFailure:
        """The item of a draft, or why its template asks nothing."""
        task, row = draft.task, draft.row
        made = assembled(draft, rendered, self.fits, steps_line(task, draft.spec))
        if isinstance(made, FormattingFailure):
            return made
        query = rendered[0]
        assert isinstance(query, Rendering)
        options = draft.asked.options.options if draft.asked.options else query.options
        draws = Draws(self.seed, task.name, draft.number, STREAM)
        return Item(
            suite=self.purpose.asked_as,
            messages=made.messages[:1],
            references=tuple(dict.fromkeys([query.texts[1], *_written(accepted)])),
            input=input_text(row),
            definition=task.definition,
            demonstrations=worked_examples(self.pool, row, draws),
            choices=options,
            cluster=task.name,
            lineage=replace(made.lineage, variant=self.purpose.variant(draft.spec)),
        )


def _written(accepted: Sequence[Rendering | RenderFailure]) -> Iterator[str]:
    """Answers that a template writes; it may be made for the first alone."""
    for one in accepted:
        if isinstance(one, Rendering) and one.texts[1].strip():
            yield one.texts[1]
