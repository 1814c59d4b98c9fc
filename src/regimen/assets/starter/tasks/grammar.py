"""The catalogue: every task of the grammar, built once, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import groupby
from random import Random

from regimen.assets.starter.lexicon import LANGUAGES, term
from regimen.assets.starter.tasks.examples import Cell, Generator, Oracle, examples
from regimen.assets.starter.tasks.formats import formats_for
from regimen.assets.starter.tasks.operations import operations
from regimen.assets.starter.tasks.steps import avoid
from regimen.assets.starter.tasks.wording import Clauses, Spec, assign, masked, wordings
from regimen.records import Task, Template

LICENCE = "Apache-2.0"
SOURCE = "starter"


@lru_cache(maxsize=1)
def catalogue() -> tuple[Task, ...]:
    """All tasks, ordered by language, operation, object and format."""
    return tuple(_task(cell, clauses) for cell, clauses in _worded().items())


def families(language: str = "en") -> tuple[str, ...]:
    """Names of the families that have tasks in the language, in the order of the table."""
    return tuple(dict.fromkeys(op.family for op in operations(language)))


def family_sample(
    family: str, n: int = 24, seed: int = 0, language: str = "en"
) -> tuple[Task, ...]:
    """At most ``n`` tasks of a family in one language, drawn by seed.

    Raises:
        ValueError: the language has no such family.
    """
    known = families(language)
    if family not in known:
        raise ValueError(f"no family {family!r} in {language!r}; known: {', '.join(known)}")
    tasks = [t for t in catalogue() if t.family == family and t.language == language]
    return tuple(Random(f"{family}/{language}/{seed}").sample(tasks, min(n, len(tasks))))


def masked_definition(task: Task) -> str:
    """The definition in lower case without object names, literals and punctuation.

    Raises:
        KeyError: the task is not of this catalogue.
    """
    tags = task.tags
    return masked(_worded()[Cell(tags["operation"], tags["object"], tags["format"], task.language)])


@lru_cache(maxsize=1)
def _worded() -> dict[Cell, Clauses]:
    """Every cell of the grammar with the clauses of its definition."""
    worded: dict[Cell, Clauses] = {}
    for language in LANGUAGES:
        by_family = groupby(_cells(language), key=lambda cell: cell.op.family)
        for family, members in by_family:
            cells = list(members)
            specs = [Spec(c.op.shape, c.operation, c.form, c.fill) for c in cells]
            clauses = assign(specs, language, f"{family}/{language}")
            worded.update(zip(cells, clauses, strict=True))
    return worded


def _cells(language: str) -> Iterable[Cell]:
    for op in operations(language):
        for name in op.objects[language]:
            for form in formats_for(op.answer, caseless=op.caseless(name)):
                yield Cell(op.name, name, form, language)


def _task(cell: Cell, clauses: Clauses) -> Task:
    positive, negative = examples(cell)
    said = tuple(cell.fill(text) for text in clauses.said())
    return Task(
        name=cell.name,
        family=cell.op.family,
        category=cell.op.category,
        language=cell.language,
        instruction_language=cell.language,
        licence=LICENCE,
        source=SOURCE,
        definition=" ".join(said),
        avoid=avoid(cell.op.family, cell.operation, cell.form, cell.language),
        templates=_templates(cell, said),
        positive=positive,
        negative=negative,
        tags={"operation": cell.operation, "object": cell.object, "format": cell.form},
        generator=Generator(cell),
        oracle=Oracle(cell),
    )


PARAPHRASES = 6
"""Templates that ask in whole sentences, put together anew for each."""


def _templates(cell: Cell, said: tuple[str, ...]) -> tuple[Template, ...]:
    """Two short phrasings, one before the input and one after it, and some in sentences."""
    texts = wordings(cell.language)
    asks = [cell.fill(text) for text in texts["operations"][cell.operation]["short"]]
    forms = texts["formats"][cell.form]["short"]
    colon = term("colon", cell.language)
    inputs = {
        "before": f"{asks[0]} ({forms[0]}){colon}\n{{{{ input }}}}",
        "after": f"{{{{ input }}}}\n{asks[1]}, {forms[1]}{colon}",
    }
    inputs |= {
        f"paraphrase-{number + 1}": f"{text}\n{{{{ input }}}}"
        for number, text in enumerate(_paraphrases(cell, said))
    }
    return tuple(
        Template(name=name, input=text, language=cell.language) for name, text in inputs.items()
    )


def _paraphrases(cell: Cell, said: tuple[str, ...]) -> list[str]:
    """Ways to say what the definition says in other clauses, drawn from the same pools."""
    texts, rng = wordings(cell.language), Random(f"paraphrases/{cell.name}")
    pools = (
        texts["openers"][cell.op.shape],
        texts["operations"][cell.operation]["clauses"],
        texts["formats"][cell.form]["clauses"],
    )
    found: dict[str, None] = {}
    while len(found) < PARAPHRASES:
        clauses = [cell.fill(rng.choice(pool)) for pool in pools]
        rng.shuffle(clauses)
        if set(clauses) != set(said):
            found[" ".join(clauses)] = None
    return list(found)
