"""One row as it is asked: which encoding, in which language, with which options and answer.

Each variable of the formatting is drawn from a stream of its own (``draws``), so that a setting
changes what it says and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from regimen.instances.draws import Draws
from regimen.instances.encodings import TK_INSTRUCT, FormattingSpec
from regimen.instances.options import (
    BULLETS,
    MIXED,
    Shown,
    drawn_style,
    options_of,
    place_of,
    show_options,
)
from regimen.instances.task_rows import FormattingFailure, accepted_outputs, input_text
from regimen.instances.wordings import wording
from regimen.records import Example, Row, Task, Template


@dataclass(frozen=True, slots=True)
class Asked:
    """What a row asks and what it wants to hear.

    ``text`` is the input with the options below it, ``bare`` the input alone; ``answer`` is what is
    learned, ``accepted`` what counts as right. ``rationale`` is empty unless it is to be written.
    """

    bare: str
    text: str
    answer: str
    accepted: tuple[str, ...]
    options: Shown | None = None
    rationale: str = ""

    def values(self, row: Row, task: Task) -> dict[str, Any]:
        """The columns that a template of the task can name.

        ``options`` and ``output`` are as shown; ``options_block`` is the list below its heading. A
        template that orders the options itself has them as the row or the task does.
        """
        values: dict[str, Any] = {**row, "output": self.answer}
        if task.options and not row.get("options"):
            values["options"] = list(task.options)
        if self.options is not None:
            heading = wording(task.instruction_language).options
            values["options"] = list(self.options.options)
            values["options_block"] = self.options.block(heading)
        return values


def ask(task: Task, number: int, row: Row, spec: FormattingSpec, draws: Draws) -> Asked:
    """The row under the spec: its options in their order, its answer by label or text.

    Raises:
        Unanswerable: the answer is none of the options.
    """
    accepted = accepted_outputs(row)
    if spec.reference == "random" and len(accepted) > 1:
        first = draws.index("reference", len(accepted))
        accepted = (accepted[first], *accepted[:first], *accepted[first + 1 :])
    bare = input_text(row)
    shown = _options(task, number, row, accepted, spec, draws)
    answer = accepted[0] if accepted else ""
    text = bare
    if shown is not None:
        answer, accepted = shown.answer, tuple(dict.fromkeys((*shown.accepted, *accepted)))
        block = shown.block(wording(task.instruction_language).options)
        text = f"{bare}\n{block}" if bare.strip() else block
    return Asked(bare, text, answer, accepted, shown, _rationale(row, spec, draws))


def ask_example(
    task: Task, example: Example, spec: FormattingSpec, draws: Draws, *, listed: bool = False
) -> tuple[Example, Asked] | None:
    """An example of a task whose options have labels, answered by label as the rows are.

    None where it stays as it is written: an output that is no option of the task, or options
    without labels, unless they are to be ``listed`` all the same.
    """
    if not spec.options or (spec.option_labels in BULLETS and not listed):
        return None
    if place_of((example.output,), task.options) is None:
        return None
    asked = ask(task, -1, columns_of(example), spec, draws)
    return replace(example, input=asked.text, output=asked.answer), asked


def columns_of(example: Example) -> Row:
    """The columns that an example of a task has."""
    return {"input": example.input, "output": example.output}


def trigger(asked: Asked, task: Task, spec: FormattingSpec) -> str:
    """The line below an input that asks for a rationale; empty where none is to be written."""
    return steps_line(task, spec) if asked.rationale else ""


def steps_line(task: Task, spec: FormattingSpec) -> str:
    """What asks for a rationale before or after the answer; empty where the spec has neither."""
    phrases = wording(task.instruction_language)
    lines = {"before": phrases.steps, "after": phrases.explain}
    return lines.get(spec.chain_of_thought, "")


def with_rationale(answer: str, asked: Asked, task: Task, spec: FormattingSpec) -> str:
    """The answer with the rationale before or after it (arXiv 2201.11903)."""
    phrases = wording(task.instruction_language)
    if asked.rationale and spec.chain_of_thought == "before":
        return f"{asked.rationale}\n{phrases.therefore} {answer}"
    if asked.rationale and spec.chain_of_thought == "after":
        return f"{answer}\n{phrases.because} {asked.rationale}"
    return answer


def below(text: str, *lines: str) -> str:
    """The text with what is not empty of the lines below it."""
    return "\n".join([text, *(line for line in lines if line)])


class Unanswerable(ValueError):
    """A row whose answer is none of its options; ``failure`` says so."""

    def __init__(self, failure: FormattingFailure) -> None:
        super().__init__(failure.got)
        self.failure = failure


def _options(
    task: Task,
    number: int,
    row: Row,
    accepted: tuple[str, ...],
    spec: FormattingSpec,
    draws: Draws,
) -> Shown | None:
    options = options_of(row, task.options) if spec.options else ()
    if not options or not accepted:
        return None
    place = place_of(accepted, options)
    if place is None:
        got = f"{accepted[0][:60]!r}, options {', '.join(map(repr, options))[:120]}"
        fix = "Correct the row's output or options, or set options: false."
        if len(accepted[0].strip("().")) == 1:
            # a letter or a digit mostly names a place
            fix = f"Say data.answer: letter, index or number if it names a place. {fix}"
        raise Unanswerable(FormattingFailure(task.name, number, "answer_not_in_options", got, fix))
    return show_options(
        options,
        place,
        draws,
        shuffled=spec.option_order == "shuffled",
        style=spec.option_labels,
        answer_as=spec.option_answer,
    )


def _rationale(row: Row, spec: FormattingSpec, draws: Draws) -> str:
    rationale = row.get("rationale")
    if spec.chain_of_thought == "none" or not isinstance(rationale, str) or not rationale.strip():
        return ""
    wanted = draws.chance("chain_of_thought", spec.chain_of_thought_share)
    return rationale.strip() if wanted else ""


# -- what a row draws of the formatting ---------------------------------------------------------


def row_spec(task: Task, spec: FormattingSpec, draws: Draws) -> FormattingSpec:
    """The spec of one row: every variable that is drawn has its value.

    ``encoding`` is ``definition``, ``template`` or ``natural_instructions``, numbers of
    demonstrations are single ones, and ``option_labels`` is one style, which its demonstrations
    share: an answer by label is read off a list like those above it.
    """
    changes: dict[str, Any] = {}
    if spec.encoding == "mixed":
        template = bool(task.templates) and draws.chance("encoding", spec.template_share)
        changes["encoding"] = "template" if template else "definition"
    elif spec.encoding == "tk_instruct":
        one = TK_INSTRUCT[draws.index("encoding", len(TK_INSTRUCT))]
        changes |= {**one, "encoding": "natural_instructions"}
    for name in ("positive", "negative"):
        counts = getattr(spec, name)
        if name not in changes and not isinstance(counts, int):
            changes[name] = counts[draws.index(name, len(counts))]
    if spec.option_labels == MIXED:
        changes["option_labels"] = drawn_style(MIXED, draws)
    return spec_with(spec, **changes)


@lru_cache(maxsize=4096)
def _spec_with(spec: FormattingSpec, changes: tuple[tuple[str, Any], ...]) -> FormattingSpec:
    return replace(spec, **dict(changes))


def spec_with(spec: FormattingSpec, **changes: Any) -> FormattingSpec:
    """The spec with these fields; kept, as making one costs a third of a row."""
    return _spec_with(spec, tuple(changes.items())) if changes else spec


def as_shown(spec: FormattingSpec, asked: Asked) -> FormattingSpec:
    """The spec with the style that the options of a row have; another one may not suit them."""
    if asked.options is None or asked.options.style == spec.option_labels:
        return spec
    return spec_with(spec, option_labels=asked.options.style)


def in_language(task: Task, spec: FormattingSpec) -> Task | FormattingFailure:
    """The task with its instruction, and its templates, in the language that the spec wants.

    A failure is that of every row of the task; its row number is still to be set.
    """
    if spec.instruction_language == "own":
        return task
    wanted = task.language if spec.instruction_language == "input" else spec.instruction_language
    templates = tuple(one for one in task.templates if one.language == wanted)
    if wanted == task.instruction_language:
        return replace(task, templates=templates)
    if wanted in task.definitions or (spec.encoding == "template" and templates):
        return replace(
            task,
            definition=task.definitions.get(wanted, ""),
            instruction_language=wanted,
            templates=templates,
            # these are in the first language, and a prompt has one
            avoid="",
            output_format="",
        )
    known = ", ".join((task.instruction_language, *task.definitions))
    fix = f"Add definitions: {{{wanted}: ...}} or templates in that language to the task."
    got = f"the task has {known}, wanted {wanted}"
    return FormattingFailure(task.name, -1, "no_instruction_language", got, fix)


def templates_of(
    task: Task, spec: FormattingSpec, draws: Draws, inverted: bool | None, seed: int
) -> list[Template]:
    """The templates that ask a row: one drawn, all, or a number of them, in a random order.

    With ``spec.template_pool``, only so many of the task's are in use: the same for all its rows,
    by ``seed``. A larger pool holds a smaller one, and a row keeps its order of those in both.
    """
    usable = [one for one in task.templates if inverted is None or one.inverted is inverted]
    order = draws.shuffled("templates", list(range(len(usable))))
    if spec.template_pool is not None and spec.template_pool < len(usable):
        pool = Draws(seed, task.name, -1).shuffled("template pool", sorted(order))
        kept = set(pool[: spec.template_pool])
        order = [number for number in order if number in kept]
    count = {"one": 1, "all": len(order)}.get(str(spec.templates), spec.templates)
    return [usable[number] for number in order[: int(count)]]
