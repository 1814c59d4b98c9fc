"""One row of a task in every encoding that the task has: prompts, answers, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import TaskRows, TemplateRenderer, formatted
from regimen.instances.options import options_of
from regimen.instances.task_rows import FormattingFailure
from regimen.records import Instance, Row, Task, Template

MOST_TEMPLATES = 8
"""Templates of a task that are shown; the others are counted."""
MOST_LANGUAGES = 6
POSITIVE, NEGATIVE = 2, 2
SETTINGS = "your settings"
OTHER_ROWS = f"definition + {POSITIVE} other rows"


@dataclass(frozen=True, slots=True)
class Variant:
    """An encoding by name: the task and the formatting that make it.

    ``demonstrations`` is how many the formatting asks for and the task has.
    """

    name: str
    task: Task
    spec: FormattingSpec
    demonstrations: int = 0


@dataclass(frozen=True, slots=True)
class Encoded:
    """A row in one encoding. Where ``error`` is set there is no prompt, and ``got`` says why."""

    name: str
    prompt: str = ""
    answer: str = ""
    reasoning: str = ""
    note: str = ""
    error: str = ""
    got: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Formatter:
    """What turns rows into instances: the same for all encodings.

    ``candidates`` are rows that may be shown as demonstrations; ``tokens`` counts a prompt's tokens
    where the formatting of the settings bounds them.
    """

    seed: int
    render: TemplateRenderer
    candidates: tuple[tuple[int, Row], ...] = ()
    tokens: Callable[[str], int] | None = None

    def __call__(
        self, variant: Variant, rows: Sequence[tuple[int, Row]]
    ) -> Iterator[Instance | FormattingFailure]:
        """The rows in an encoding, in their order."""
        task = bare(variant.task)
        piece = TaskRows(task, tuple(rows), self.candidates)
        return formatted([piece], variant.spec, self.seed, self.render, self.tokens)


def bare(task: Task) -> Task:
    """The task without its rows, which are given apart."""
    return replace(task, instances=(), held_out=(), generator=None, oracle=None)


def encodings(
    task: Task, number: int, row: Row, make: Formatter, spec: FormattingSpec | None = None
) -> list[Encoded]:
    """The row in every encoding, that of the settings first.

    Args:
        task: of the row.
        number: of the row.
        row: the row.
        make: formats it.
        spec: formatting of a settings file, if there is one. It may make several instances.
    """
    found: list[Encoded] = []
    names: dict[str, int] = {}
    for variant in variants(task, row, spec):
        if variant.name == OTHER_ROWS and len(make.candidates) < 2:
            continue
        for made in make(variant, [(number, row)]):
            name = variant.name
            names[name] = names.get(name, 0) + 1
            if names[name] > 1:
                name = f"{name} ({names[name]})"
            found.append(_encoded(name, variant, made))
    return found


def _encoded(name: str, variant: Variant, made: Instance | FormattingFailure) -> Encoded:
    if isinstance(made, FormattingFailure):
        return Encoded(name, error=made.error, got=made.got, fix=made.fix)
    prompt, answer = made.messages
    lineage, note = made.lineage, ""
    shown = len(lineage.demonstrations)
    if shown < variant.demonstrations:
        note = f"{shown} of {variant.demonstrations} demonstrations: others are too long or alike"
    elif variant.name == SETTINGS:
        named = lineage.template in {one.name for one in variant.task.templates}
        how = f"template {lineage.template}" if named else lineage.template
        note = ", ".join(filter(None, (how, lineage.variant)))
    return Encoded(name, prompt.text, answer.text, answer.reasoning, note)


def left_out(task: Task) -> dict[str, int]:
    """How many templates and languages ``encodings`` does not show; only those that there are."""
    counts = {
        "templates": len(task.templates) - MOST_TEMPLATES,
        "languages": len(task.definitions) - MOST_LANGUAGES,
    }
    return {name: count for name, count in counts.items() if count > 0}


def variants(task: Task, row: Row, spec: FormattingSpec | None = None) -> Iterator[Variant]:
    """The encodings of a row; those that need what neither task nor row has are left out."""
    plain = FormattingSpec(max_characters=spec.max_characters if spec else 4000)
    if spec is not None:
        yield Variant(SETTINGS, task, spec)
    yield by_definition(task, plain)
    yield from _demonstrated(task, plain)
    yield from (by_template(task, one, plain) for one in task.templates[:MOST_TEMPLATES])
    yield Variant("inverted", replace(task, templates=()), replace(plain, inverted_share=1.0))
    if options_of(row, task.options):
        labels = replace(plain, option_labels="(A)")
        yield Variant("options shuffled, answered by label", task, labels)
    if isinstance(row.get("rationale"), str) and str(row["rationale"]).strip():
        for place in ("before", "after"):
            steps = replace(plain, chain_of_thought=place)
            yield Variant(f"rationale {place} the answer", task, steps)
    for language in list(task.definitions)[:MOST_LANGUAGES]:
        told = replace(plain, instruction_language=language)
        yield Variant(f"instruction in {language}", task, told)


def by_definition(task: Task, plain: FormattingSpec) -> Variant:
    """The task's definition and the input."""
    return Variant("definition", task, replace(plain, encoding="definition"))


def by_template(task: Task, template: Template, plain: FormattingSpec) -> Variant:
    """One template of the task."""
    said = [template.language] if template.language != task.instruction_language else []
    said += ["inverted"] if template.inverted else []
    name = f"template {template.name}" + (f" ({', '.join(said)})" if said else "")
    alone = replace(task, templates=(template,))
    return Variant(name, alone, replace(plain, encoding="template", templates="all"))


def _demonstrated(task: Task, plain: FormattingSpec) -> Iterator[Variant]:
    """The encodings with demonstrations, as far as the task has some, and the published one."""
    positive = min(POSITIVE, len(task.positive))
    negative = min(NEGATIVE, len(task.negative))
    if positive:
        shown = replace(plain, positive=positive)
        yield Variant(f"definition + {positive} positive", task, shown, positive)
    else:
        rows = replace(plain, positive=POSITIVE, demonstrations="rows")
        yield Variant(OTHER_ROWS, task, rows, POSITIVE)
    explained = any(one.explanation for one in (*task.positive, *task.negative))
    if negative or (positive and explained):
        wrong = replace(plain, positive=positive, negative=negative, explanations=explained)
        parts = [f"{positive} positive"] if positive else []
        parts += [f"{negative} negative"] if negative else []
        name = "definition + " + " + ".join(parts) + (", explained" if explained else "")
        yield Variant(name, task, wrong, positive + negative)
    published = replace(plain, encoding="natural_instructions", positive=positive)
    yield Variant("natural_instructions", task, published, positive)
