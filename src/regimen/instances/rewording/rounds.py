"""Rewording of tasks: what is asked, what is kept, why the rest is not.

Every wording that is wanted is one unit: it is kept, removed with a reason, or failed. The
generator may answer in any order; answers are read in the order of the requests, so the result
depends on the arguments and the answers alone.

A template gets paraphrases and translations, as further templates of its task. A definition gets
translations, in ``Task.definitions``. A task has one definition for each language, so definitions
get no paraphrases; and it has no place for what to avoid and for the output format in another
language, so these are not asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from regimen.instances.rewording.checks import Key, Problem, problem_of, wording_key
from regimen.instances.rewording.prompts import clean
from regimen.instances.rewording.wanted import (
    DEFINITION_GENERATOR,
    GENERATOR,
    REWORDED,
    RewordingSpec,
    Wanted,
    requests_of,
    wanted_wordings,
)
from regimen.protocols import Completion, Generator
from regimen.records import Task

Outcome = Literal["removed", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A wording that is not used: ``text`` is what the generator wrote."""

    outcome: Outcome
    where: str
    language: str
    reason: str
    detail: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reworded:
    """The tasks with their new wordings, and the account: ``wanted`` = ``kept`` + refused."""

    tasks: tuple[Task, ...]
    wanted: int
    kept: int
    refused: tuple[Refused, ...] = ()

    def counts(self) -> Mapping[str, int]:
        """Refused wordings by reason."""
        return dict(sorted(Counter(one.reason for one in self.refused).items()))


@dataclass(slots=True)
class _Round:
    """What is known while the answers are read."""

    tasks: list[Task]
    generator: str
    keys: dict[int, set[Key]] = field(default_factory=dict)
    kept: int = 0
    refused: list[Refused] = field(default_factory=list)


def reword_tasks(tasks: Sequence[Task], generator: Generator, spec: RewordingSpec) -> Reworded:
    """Ask for all wordings of all tasks and take those that pass the checks.

    A wording that a task has already (by the name of the template, or the language of the
    definition) is not asked for again, and templates that were made here are not reworded.

    Raises:
        DataError: a task's own generator of rows is at fault.
    """
    wanted = [one for n, task in enumerate(tasks) for one in wanted_wordings(n, task, spec)]
    requests = requests_of(wanted, spec)
    asked = [request for request in requests if request is not None]
    answers = dict(generator.generate(asked)) if asked else {}
    missing = Completion(text="", finish="error", error="the generator gave no answer")
    books = _Round(list(tasks), generator.name)
    for one, request in zip(wanted, requests, strict=True):
        if request is not None:
            _read(books, one, answers.get(request.id, missing))
        elif one.problem is not None:
            _refuse(books, one, one.problem, "")
    return Reworded(
        tasks=tuple(books.tasks),
        wanted=len(wanted),
        kept=books.kept,
        refused=tuple(books.refused),
    )


def _read(books: _Round, one: Wanted, completion: Completion) -> None:
    """Take an answer into its task, or say why not."""
    if completion.finish == "error":
        refused = _refusal("failed", one, Problem("generation_error", completion.error), "")
        books.refused.append(refused)
        return
    if completion.finish == "length":
        _refuse(books, one, Problem("cut_off", f"{completion.tokens} tokens"), completion.text)
        return
    text = clean(completion.text, one.original.masked.text)
    keys = _keys(books, one.task)
    problem = problem_of(text, one.original, one.language, keys) if text else Problem("empty")
    if problem is not None:
        _refuse(books, one, problem, completion.text)
        return
    source = one.original.masked.put_back(text)
    keys.add(wording_key(source, plain=one.original.plain))
    books.kept += 1
    books.tasks[one.task] = _with_wording(books.tasks[one.task], one, source, books.generator)


def _keys(books: _Round, number: int) -> set[Key]:
    """Keys of all wordings of a task so far."""
    if number not in books.keys:
        task = books.tasks[number]
        texts = [task.definition, *task.definitions.values()]
        books.keys[number] = {wording_key(template.input) for template in task.templates}
        books.keys[number] |= {wording_key(text, plain=True) for text in texts}
    return books.keys[number]


def _with_wording(task: Task, one: Wanted, source: str, generator: str) -> Task:
    if one.template is None:
        tag = {f"{DEFINITION_GENERATOR}{one.language}": generator}
        definitions = {**task.definitions, one.language: source}
        return replace(task, definitions=definitions, tags={**task.tags, **tag})
    original = task.templates[one.template]
    names = {template.name for template in task.templates}
    template = replace(
        original,
        name=_free(f"{original.name}~{one.kind}", names),
        input=source,
        language=one.language,
        tags={**original.tags, REWORDED: original.name, GENERATOR: generator},
    )
    return replace(task, templates=(*task.templates, template))


def _free(name: str, names: set[str]) -> str:
    """The name, or the first of ``name-2``, ``name-3``, ... that no template has."""
    found, number = name, 1
    while found in names:
        number += 1
        found = f"{name}-{number}"
    return found


def _refusal(outcome: Outcome, one: Wanted, problem: Problem, text: str) -> Refused:
    return Refused(
        outcome=outcome,
        where=one.where,
        language=one.language,
        reason=problem.reason,
        detail=problem.detail,
        text=text,
    )


def _refuse(books: _Round, one: Wanted, problem: Problem, text: str) -> None:
    books.refused.append(_refusal("removed", one, problem, text))
