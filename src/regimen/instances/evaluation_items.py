"""Evaluation items of tasks: rows asked as training asks them, by the task's definition.

``template_items`` asks by templates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from regimen.errors import DataError
from regimen.instances.asking import (
    Unanswerable,
    as_shown,
    ask,
    ask_example,
    below,
    in_language,
    row_spec,
    steps_line,
    trigger,
    with_rationale,
)
from regimen.instances.demonstrations import (
    Fits,
    Pool,
    Shot,
    pick,
    prompt_fits,
    shown_rows,
    within_budget,
)
from regimen.instances.draws import Draws
from regimen.instances.encodings import Count, FormattingSpec, user_message
from regimen.instances.lineage import task_lineage
from regimen.instances.task_rows import (
    FormattingFailure,
    input_text,
    numbered_rows,
    row_key,
    row_problem,
)
from regimen.records import Example, Item, Message, Row, Task

ITEM_DEMONSTRATIONS = 8


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
    are given, in place of ``n`` that are drawn: held-out rows of a task that has some, with their
    numbers among these.

    Raises:
        DataError: the task has no rows (``task-empty``), or none that can be asked (``no-items``).
    """
    items, problem = askable_items(task, suite, n, seed, spec, tokens, rows)
    if problem is not None and not items:
        raise DataError(
            "None of the drawn rows of a held-out task can be asked.",
            slug="no-items",
            got=f"task {task.name}, row {problem.row}: {problem.error}: {problem.got}",
            expected="rows with an input and an output",
            fix=problem.fix,
        )
    return items


def askable_items(
    task: Task,
    suite: str,
    n: int,
    seed: int,
    spec: FormattingSpec | None = None,
    tokens: Callable[[str], int] | None = None,
    rows: Sequence[tuple[int, Row]] | None = None,
) -> tuple[list[Item], FormattingFailure | None]:
    """The items of ``task_items``, and why the first row that is not asked cannot be.

    Raises:
        DataError: the task has no rows (``task-empty``).
    """
    spec = _of_items(spec or FormattingSpec())
    drawn = numbered_rows(task, n, seed) if rows is None else rows
    apart = rows is not None and bool(task.held_out)
    made = definition_items(task, drawn, Purpose(suite, apart=apart), seed, spec, tokens)
    problems = (one for one in made if isinstance(one, FormattingFailure))
    return [one for one in made if isinstance(one, Item)], next(problems, None)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What rows are asked for.

    ``apart`` are rows that the task does not count as its own; ``name`` is the way of asking, where
    a suite has several.
    """

    suite: str
    name: str = ""
    apart: bool = False

    @property
    def asked_as(self) -> str:
        """Name of the suite of its items, such as ``unseen_families@steps``."""
        return f"{self.suite}@{self.name}" if self.name else self.suite

    def variant(self, spec: FormattingSpec) -> str:
        """What the lineage says of it."""
        parts = ["held_out"] if self.apart else []
        if self.name:
            parts.append(f"asked_{self.name}")
        if spec.chain_of_thought != "none":
            parts.append(f"rationale_{spec.chain_of_thought}")
        return "+".join(parts)


def base_suite(suite: str) -> str:
    """``unseen_families`` of ``unseen_families@steps``: the suite without its way of asking."""
    return suite.partition("@")[0]


def asks_for_steps(item: Item) -> bool:
    """Whether a prompt asks for steps before or after the answer."""
    said = item.lineage.variant.split("+")
    return "rationale_before" in said or "rationale_after" in said


def definition_items(
    task: Task,
    rows: Sequence[tuple[int, Row]],
    purpose: Purpose,
    seed: int,
    spec: FormattingSpec,
    tokens: Callable[[str], int] | None = None,
) -> list[Item | FormattingFailure]:
    """An item of each row, asked by definition or as Super-NaturalInstructions does, or why not.

    Every field of the spec that says something about a prompt is honoured: with a chain of thought,
    every prompt asks for it, and the references stay the answers.
    """
    pool = Pool.of(task, candidates_of(task, seed, spec, rows, apart=purpose.apart))
    asker = _Asker(task, purpose, seed, spec, pool, prompt_fits(spec, tokens))
    return [asker.item(number, row) for number, row in rows]


def candidates_of(
    task: Task, seed: int, spec: FormattingSpec, asked: Sequence[tuple[int, Row]], *, apart: bool
) -> Sequence[tuple[int, Row]]:
    """Rows that prompts may show: as far as there are others, none that is asked itself."""
    if spec.demonstrations == "examples":
        return ()
    if task.generator is not None and not apart:
        return asked
    rows = shown_rows(task, seed)
    numbers = set() if apart else {number for number, _ in asked}
    return [one for one in rows if one[0] not in numbers] or rows


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


Named = tuple[Shot, Example]


@dataclass(frozen=True, slots=True)
class _Asker:
    """Makes items of the rows of a task."""

    task: Task
    purpose: Purpose
    seed: int
    spec: FormattingSpec
    pool: Pool
    fits: Fits

    def item(self, number: int, row: Row) -> Item | FormattingFailure:
        """The item of a row, or why it cannot be asked."""
        task = in_language(self.task, self.spec)
        if isinstance(task, FormattingFailure):
            return replace(task, row=number)
        problem = row_problem(task, number, row)
        if problem is not None:
            return problem
        draws = Draws(self.seed, task.name, number, "item")
        spec = row_spec(task, self.spec, draws)
        try:
            asked = ask(task, number, row, spec, draws)
        except Unanswerable as error:
            return error.failure
        text = below(asked.text, steps_line(task, spec))
        prompt, shown = self.prompt(task, text, row_key(row), as_shown(spec, asked), draws)
        return Item(
            suite=self.purpose.asked_as,
            messages=(Message(role="user", content=prompt),),
            references=asked.accepted,
            input=input_text(row),
            definition=task.definition,
            demonstrations=worked_examples(self.pool, row, draws),
            choices=asked.options.options if asked.options else (),
            cluster=task.name,
            lineage=task_lineage(
                *(task, number, row, self.seed),
                template=spec.encoding,
                demonstrations=tuple(shot.id for shot, _ in shown),
                shown=asked.options,
                variant=self.purpose.variant(spec),
                parents=[shot.row for shot, _ in shown if shot.row is not None],
            ),
        )

    def prompt(
        self, task: Task, text: str, key: str, spec: FormattingSpec, draws: Draws
    ) -> tuple[str, Sequence[Named]]:
        """The prompt within its budget, and the demonstrations in it."""
        own = spec.encoding == "natural_instructions"

        def drawn(shots: Sequence[Shot], k: object, variable: str) -> list[Named]:
            order = None if own or not shots else draws.order(variable, len(shots))
            found = pick(shots, key, k if isinstance(k, int) else 0, order)
            return [(shot, _example(shot, task, spec, draws)) for shot in found]

        def prompt(shown: Sequence[Named], wrong: Sequence[Named]) -> str:
            return user_message(task, text, spec, [e for _, e in shown], [e for _, e in wrong])

        shown = drawn(self.pool.shots(spec.demonstrations), spec.positive, "positive shots")
        wrong = drawn(self.pool.negative, spec.negative, "negative")
        kept = within_budget(shown, lambda some: prompt(some, ()), self.fits)
        refused = within_budget(wrong, lambda some: prompt(kept, some), self.fits)
        return prompt(kept, refused), (*kept, *refused)


def worked_examples(pool: Pool, row: Row, draws: Draws) -> tuple[Example, ...]:
    """The task's examples that an item brings along for a prompted base."""
    examples = pool.shots("examples")
    order = draws.order("worked", len(examples))
    worked = pick(examples, row_key(row), ITEM_DEMONSTRATIONS, order)
    return tuple(shot.example for shot in worked if shot.example is not None)


def _example(shot: Shot, task: Task, spec: FormattingSpec, draws: Draws) -> Example:
    own = Draws(draws.number("shots"), task.name, shot.number, shot.id if shot.example else "")
    if shot.example is not None:
        labelled = ask_example(task, shot.example, spec, own)
        return labelled[0] if labelled else shot.example
    assert shot.row is not None
    asked = ask(task, shot.number, shot.row, spec, own)
    text = below(asked.text, trigger(asked, task, spec))
    return Example(input=text, output=with_rationale(asked.answer, asked, task, spec))
