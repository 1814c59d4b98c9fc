"""Preference pairs of ``build``: those that it makes, and what is removed of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from regimen.curation.filters import apply
from regimen.curation.ledger import Ledger
from regimen.curation.pair_filters import (
    PairFilter,
    both_sides,
    contradictory,
    equal_answers,
    near_duplicate_prompts,
    pair_duplicates,
)
from regimen.instances.draws import seeded
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items
from regimen.records import Item, Message, Preference, Task
from regimen.settings.build import CurationSettings, PreferenceSettings
from regimen.stages.producing import clean_filters, leak_filters

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


def curate(
    pairs: Sequence[Preference],
    rules: CurationSettings,
    items: Sequence[Item],
    ledger: Ledger,
) -> list[Preference]:
    """What is left of pairs after the rules for instances, on both sides, and those for pairs.

    Each rule is a step of the ledger, ``preferences-<rule>``; the last, ``preferences``, removes
    duplicates.
    """
    if not pairs:
        ledger.step("preferences").close()
        return []
    filters: dict[str, PairFilter] = {"equal": equal_answers}
    for name, rule in (clean_filters(rules) | leak_filters(rules, items)).items():
        filters[name] = both_sides(rule)
    filters["contradictory"] = contradictory
    if rules.near_duplicate_prompts is not None:
        filters["near-prompts"] = near_duplicate_prompts(rules.near_duplicate_prompts)
    kept = list(pairs)
    for name, judge in filters.items():
        kept = apply(f"preferences-{name}", kept, judge, ledger)
    if rules.exact_duplicates:
        kept = apply("preferences", kept, pair_duplicates, ledger)
    return kept


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
