"""Which wordings of which texts are asked for, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from regimen.instances.rewording.checks import Original, Problem, row_answers, written_answers
from regimen.instances.rewording.languages import base_code
from regimen.instances.rewording.marks import answers_written, mask
from regimen.instances.rewording.prompts import paraphrase_prompt, translation_prompt
from regimen.instances.templates import compile_check, missing_columns
from regimen.protocols import Request
from regimen.records import Message, Task, Template, stable_hash

REWORDED = "reworded_from"
GENERATOR = "generator"
"""Tags of a template that was written by a generator: the original's name, the generator's."""
DEFINITION_GENERATOR = "definition_generator:"
"""Tag of a task, followed by a language code: who translated its definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewordingSpec:
    """What is asked for: ``paraphrases`` of each template, one translation for each language.

    ``languages`` are codes. With ``as_text`` prompts are plain text to continue, for a base model
    without a chat template. ``max_new_tokens`` is the longest answer in tokens.
    """

    paraphrases: int = 2
    languages: tuple[str, ...] = ()
    templates: bool = True
    definitions: bool = True
    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 512
    seed: int = 0
    as_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One wording to ask for.

    ``task`` and ``template`` are positions, None for the definition. ``kind`` is ``p1``, ``p2``,
    ... for paraphrases, whose ``number`` it is, and the language for translations. ``problem``
    says why it cannot be asked for.
    """

    task: int
    template: int | None
    kind: str
    language: str
    original: Original
    where: str
    number: int = 0
    problem: Problem | None = None


def wanted_wordings(number: int, task: Task, spec: RewordingSpec) -> Iterator[Wanted]:
    """The wordings of a task that it does not have: templates in their order, then definition."""
    known = {template.name for template in task.templates}
    answers = row_answers(task, spec.seed)
    for place, template in enumerate(task.templates if spec.templates else ()):
        if REWORDED in template.tags:
            continue
        original = _template_original(template, answers)
        problem = _source_problem(original)
        for kind, language, nth in _kinds(spec, template.language, spec.paraphrases):
            if f"{template.name}~{kind}" not in known:
                yield Wanted(
                    task=number,
                    template=place,
                    kind=kind,
                    language=language,
                    original=original,
                    where=f"{task.name}#{template.name}~{kind}",
                    number=nth,
                    problem=problem,
                )
    if spec.definitions and task.definition.strip():
        yield from _definitions(number, task, spec, answers)


def _definitions(
    number: int, task: Task, spec: RewordingSpec, answers: tuple[str, ...]
) -> Iterator[Wanted]:
    original = Original(
        source=task.definition,
        masked=mask(task.definition, plain=True),
        language=task.instruction_language,
        answers=answers,
    )
    for kind, language, _ in _kinds(spec, task.instruction_language, 0):
        if language not in task.definitions:
            yield Wanted(
                task=number,
                template=None,
                kind=kind,
                language=language,
                original=original,
                where=f"{task.name}~{kind}",
                problem=_source_problem(original),
            )


def _kinds(spec: RewordingSpec, language: str, paraphrases: int) -> Iterator[tuple[str, str, int]]:
    """Kind, language and number of each wording of a source in a language."""
    yield from ((f"p{n}", language, n) for n in range(1, paraphrases + 1))
    own = base_code(language)
    yield from ((code, code, 0) for code in dict.fromkeys(spec.languages) if base_code(code) != own)


def _template_original(template: Template, answers: tuple[str, ...]) -> Original:
    answer = not template.output
    compiles = compile_check(template.input) is None
    return Original(
        source=template.input,
        masked=mask(template.input, answer=answer),
        language=template.language,
        answer=answer,
        answers=(*answers, *written_answers(template)),
        names=missing_columns(template.input, ()) if compiles else (),
    )


def _source_problem(original: Original) -> Problem | None:
    """Why a text cannot be reworded at all."""
    failure = None if original.plain else compile_check(original.source)
    if failure is not None:
        return Problem("source_does_not_compile", failure.got)
    if original.answer and answers_written(original.source) > 1:
        return Problem("several_answers", "more than one ||| in the template")
    if not any(letter.isalpha() for letter in original.words(original.source)):
        return Problem("nothing_to_reword", original.source[:200])
    return None


def requests_of(wanted: Sequence[Wanted], spec: RewordingSpec) -> list[Request | None]:
    """The request for each wording, None for one that cannot be asked for.

    The id is ``reword-<task>#<template>~<kind>``; ids that would be equal are numbered in their
    order. Id, prompt and seed depend on the task, the template, the kind and ``spec`` alone.
    """
    times: Counter[str] = Counter()
    requests: list[Request | None] = []
    for one in wanted:
        if one.problem is not None:
            requests.append(None)
            continue
        name = f"reword-{one.where}"
        times[name] += 1
        requests.append(_request(one, name if times[name] == 1 else f"{name}-{times[name]}", spec))
    return requests


def _request(one: Wanted, name: str, spec: RewordingSpec) -> Request:
    masked, marks = one.original.masked, len(one.original.masked.marks)
    if one.number:
        prompt = paraphrase_prompt(masked.text, one.language, one.number, marks=marks)
    else:
        prompt = translation_prompt(masked.text, one.language, marks=marks)
    base = Request(
        id=name,
        temperature=spec.temperature,
        top_p=spec.top_p,
        max_new_tokens=spec.max_new_tokens,
        seed=int(stable_hash([spec.seed, name], length=7), 16),
    )
    if spec.as_text:
        return replace(base, text=prompt)
    return replace(base, messages=(Message(role="user", content=prompt),))
