"""Held-out tasks asked in several ways (``build.held_out.asked``): the same rows in each suite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby

from regimen.curation.ledger import Ledger, Step
from regimen.errors import DataError
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import Purpose, definition_items
from regimen.instances.task_rows import FormattingFailure, numbered_rows
from regimen.instances.template_items import Render, template_items
from regimen.instances.templates import TemplateWorker
from regimen.records import Item, Row, Task
from regimen.settings.asked import asked_formatting
from regimen.settings.build import BuildSettings, FormattingSettings
from regimen.stages.producing import token_counter

Rows = Sequence[tuple[int, Row]]
TokenizerOf = Callable[[FormattingSettings], str]
Tokens = Callable[[str], int] | None
Made = list[tuple[int, Item | FormattingFailure]]


@dataclass(frozen=True, slots=True)
class Tested:
    """A task that a suite asks; ``rows`` are its held-out rows where it is trained on.

    ``seed`` is that of its pool of templates: the build's where it is trained on.
    """

    suite: str
    task: Task
    seed: int
    rows: Rows | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """A way of asking: its name, and how its prompts are written."""

    name: str
    spec: FormattingSpec
    tokens: Tokens = None


def formatting_spec(section: FormattingSettings) -> FormattingSpec:
    """The formatting section as the dataclass of row 1; the names are the same."""
    return FormattingSpec(**section.model_dump(exclude={"tokenizer"}))


def counter(section: FormattingSettings, tokenizer: TokenizerOf) -> Tokens:
    """What counts the tokens of prompts; None where nothing bounds them."""
    place = tokenizer(section)
    return token_counter(place) if place else None


def ways_of(section: BuildSettings, tokenizer: TokenizerOf) -> tuple[Way, ...]:
    """The ways of asking that the settings name."""
    formattings = {
        name: asked_formatting(section.formatting, asked)
        for name, asked in section.held_out.asked.items()
    }
    return tuple(
        Way(name, formatting_spec(one), counter(one, tokenizer))
        for name, one in formattings.items()
    )


def ask_in_ways(
    tested: Sequence[Tested], ways: Sequence[Way], count: int, seed: int, ledger: Ledger
) -> list[Item]:
    """The items of every suite in every way, as suite ``SUITE@NAME``.

    A row is asked in all ways or in none, so that suites can be compared row by row. Each way of
    each row is an account of the ledger's step ``asked``.

    Raises:
        DataError: a task of which no row can be asked in every way (``no-items``).
    """
    found: list[Item] = []
    with ExitStack() as stack:
        render: Render | None = None
        if any(way.spec.encoding == "template" for way in ways):
            render = stack.enter_context(TemplateWorker()).render
        step = stack.enter_context(ledger.step("asked"))
        for _, group in groupby(tested, key=lambda one: one.suite):
            by_way: dict[str, list[Item]] = {way.name: [] for way in ways}
            for one in group:
                rows = numbered_rows(one.task, count, seed) if one.rows is None else one.rows
                made = {way.name: _made(one, rows, way, seed, render) for way in ways}
                whole = _asked_everywhere(one.task, rows, made)
                _account(step, made, whole)
                for name, some in made.items():
                    items = ((n, item) for n, item in some if isinstance(item, Item))
                    by_way[name] += [item for number, item in items if number in whole]
            found += [item for items in by_way.values() for item in items]
    return found


def _made(one: Tested, rows: Rows, way: Way, seed: int, render: Render | None) -> Made:
    """What a task's rows become in one way."""
    purpose = Purpose(one.suite, way.name, apart=one.rows is not None)
    if way.spec.encoding != "template":
        made = definition_items(one.task, rows, purpose, seed, way.spec, way.tokens)
        return [(number, item) for (number, _), item in zip(rows, made, strict=True)]
    assert render is not None
    return template_items(one.task, rows, purpose, seed, way.spec, render, way.tokens, one.seed)


def _asked_everywhere(task: Task, rows: Rows, made: Mapping[str, Made]) -> set[int]:
    """Numbers of the rows that every way asks."""
    whole = {number for number, _ in rows}
    for name, some in made.items():
        whole &= {number for number, item in some if isinstance(item, Item)}
        if not whole:
            problem = next(one for _, one in some if isinstance(one, FormattingFailure))
            raise DataError(
                "No row of a held-out task can be asked in every way of held_out.asked.",
                slug="no-items",
                got=f"{name}: {problem.task}, row {problem.row}: {problem.error}: {problem.got}",
                expected="rows that each of them can ask",
                fix=problem.fix,
            )
    return whole


def _account(step: Step, made: Mapping[str, Made], whole: set[int]) -> None:
    """Every item and failure of a task's rows."""
    for name, some in made.items():
        for number, one in some:
            step.enter()
            if isinstance(one, FormattingFailure):
                where = f"{one.task} row {one.row} asked by {name}"
                step.fail(where, one.error, one.got, one.fix)
            elif number in whole:
                step.keep()
            else:
                step.remove(f"{one.lineage.task} row {number} asked by {name}", "not_in_every_way")
