"""Filters of judged answers: from records of one kind to, for each, a reason to remove it or None.

The records are pairs, labelled answers, lists with scores and answers in steps. What holds for
instances holds for them: ``each_answer`` runs a filter of instances on the prompt with every
answer. Besides, there are reasons that instances do not have:

    exact_duplicate         of an earlier record
    contradictory           the same two answers are preferred both ways in one dimension, or an
                            answer is labelled both ways; all such records go
    equal_answers           both sides of a pair say the same
    near_duplicate_prompt   the prompt is too close to another one before it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction

from regimen.curation.filters import ExactDuplicates, Filter
from regimen.curation.novelty import NoveltyPool
from regimen.records import (
    Instance,
    Labelled,
    Message,
    Preference,
    Ranked,
    Stepwise,
    content_of,
    stable_hash,
)

Judged = Preference | Labelled | Ranked | Stepwise
JudgedFilter = Callable[[Sequence[Judged]], list[str | None]]


def answers_of(record: Judged) -> dict[str, tuple[Message, ...]]:
    """The answers of a record by what a reason calls them; "" where there is one alone."""
    if isinstance(record, Preference):
        return {"chosen": record.chosen, "rejected": record.rejected}
    if isinstance(record, Ranked):
        return {f"answer {place}": one for place, one in enumerate(record.answers, start=1)}
    if isinstance(record, Stepwise):
        return {"": (Message(role="assistant", content="\n".join(record.steps)),)}
    return {"": record.answer}


def each_answer(filter: Filter) -> JudgedFilter:
    """A filter of instances for judged answers: a record is removed for the first reason of any."""

    def judge(records: Sequence[Judged]) -> list[str | None]:
        answers = [answers_of(one) for one in records]
        sides = [
            Instance(messages=(*one.prompt, *turns), lineage=one.lineage)
            for one, own in zip(records, answers, strict=True)
            for turns in own.values()
        ]
        found = iter(filter(sides))
        named = [[_named(next(found), side) for side in own] for own in answers]
        return [next((reason for reason in own if reason), None) for own in named]

    return judge


def _named(reason: str | None, side: str) -> str | None:
    """The reason with the answer that has it in its detail."""
    if reason is None or not side:
        return reason
    slug, _, detail = reason.partition(": ")
    return f"{slug}: {side}: {detail}" if detail else f"{slug}: {side}"


def duplicates(records: Sequence[Judged]) -> list[str | None]:
    """All but the first of equal records."""
    seen = ExactDuplicates()
    return [
        seen.reason(one.content_id, one.instance_id, one.lineage.source, one.lineage.row)
        for one in records
    ]


def contradictory_labels(answers: Sequence[Labelled]) -> list[str | None]:
    """Answers that are labelled both ways for one prompt; neither label is to be believed."""
    keys = [stable_hash([content_of(one.prompt), content_of(one.answer)]) for one in answers]
    ways: dict[str, set[bool]] = defaultdict(set)
    for key, one in zip(keys, answers, strict=True):
        ways[key].add(one.desirable)
    return ["contradictory" if len(ways[key]) == 2 else None for key in keys]


def contradictory(pairs: Sequence[Preference]) -> list[str | None]:
    """Pairs whose answers another pair prefers the other way round; neither is to be believed.

    What is more helpful may be less harmless: pairs that name no dimension in common do not
    contradict each other.
    """
    ways: dict[tuple[str, str], set[bool]] = defaultdict(set)
    keys = []
    for pair in pairs:
        sides = [stable_hash(content_of(side)) for side in (pair.chosen, pair.rejected)]
        same = stable_hash([content_of(pair.prompt), sorted(sides)])
        keys.append([(same, dimension) for dimension in pair.dimensions or ("",)])
        for key in keys[-1]:
            ways[key].add(sides[0] <= sides[1])
    both = {key for key, found in ways.items() if len(found) == 2}
    return ["contradictory" if both.intersection(own) else None for own in keys]


def equal_answers(pairs: Sequence[Preference]) -> list[str | None]:
    """Pairs both sides of which say the same."""
    return [
        "equal_answers" if content_of(one.chosen) == content_of(one.rejected) else None
        for one in pairs
    ]


def near_duplicate_prompts(threshold: float) -> JudgedFilter:
    """Records whose prompt's ROUGE-L with an earlier, different prompt is at least ``threshold``.

    Records of one prompt stay together, and so do prompts that begin with the same question: one
    conversation goes on from the other. ``threshold`` is read as it is written, in decimals.
    """
    limit = str(Fraction(str(threshold)))

    def judge(records: Sequence[Judged]) -> list[str | None]:
        asked = [tuple(m.text for m in one.prompt if m.role == "user") for one in records]
        openings = {"\n".join(turns): turns[:1] for turns in asked}
        near = NoveltyPool((), limit).admit_all(list(openings))
        close = {
            text: other
            for text, other in zip(openings, near, strict=True)
            if other is not None and openings[text] != openings[other]
        }
        return [
            f"near_duplicate_prompt: of {close[text]!r}" if text in close else None
            for text in map("\n".join, asked)
        ]

    return judge
