"""Preference pairs that ``build`` makes, beside those that sources hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from regimen.instances.draws import seeded
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items
from regimen.records import Message, Preference, Task
from regimen.settings.build import PreferenceSettings

Tokens = Callable[[str], int]


def make_preferences(
    section: PreferenceSettings,
    tasks: Sequence[Task],
    spec: FormattingSpec,
    seed: int,
    tokens: Tokens | None = None,
) -> list[Preference]:
    """The pairs that the settings ask for; ``tokens`` counts those of a prompt."""
    found: list[Preference] = []
    if section.starter_safety:
        from regimen.assets.starter.safety import preferences

        found += preferences("train", section.starter_safety, seed)
    if section.corrupted_answers and tasks:
        found += corrupted(tasks, section.corrupted_answers, spec, seed, tokens)
    return found


def corrupted(
    tasks: Sequence[Task],
    count: int,
    spec: FormattingSpec,
    seed: int,
    tokens: Tokens | None = None,
) -> list[Preference]:
    """A task's right answer against the right answer to another of its inputs.

    Such an answer has the right form and the wrong content, so a model must read the input to
    tell the two apart. A task of which no row can be asked gives none.
    """
    order = list(tasks)
    seeded(seed, "corrupted").shuffle(order)
    found: list[Preference] = []
    for task in order:
        items, _ = askable_items(task, "preference", 4, seed + 3, spec, tokens)
        for item, other in pairwise(items):
            right, wrong = item.references[0], other.references[0]
            if wrong in item.references:
                continue
            found.append(
                Preference(
                    prompt=item.messages,
                    chosen=(Message(role="assistant", content=right),),
                    rejected=(Message(role="assistant", content=wrong),),
                    lineage=item.lineage,
                )
            )
            break
        if len(found) >= count:
            break
    return found
