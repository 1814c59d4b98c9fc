"""Filters of preference pairs: from pairs to, for each, a reason to remove it or None.

What holds for instances holds for pairs: ``both_sides`` runs a filter of instances on the prompt
with either answer. Besides, there are reasons that only a pair can have:

    exact_duplicate         of an earlier pair
    contradictory           the same two answers are preferred both ways in one dimension; all such
                            pairs go
    equal_answers           both sides say the same
    near_duplicate_prompt   the prompt is too close to another one before it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction

from regimen.curation.filters import ExactDuplicates, Filter
from regimen.curation.novelty import NoveltyPool
from regimen.records import Instance, Message, Preference, content_of, stable_hash

PairFilter = Callable[[Sequence[Preference]], list[str | None]]


def both_sides(filter: Filter) -> PairFilter:
    """A filter of instances for pairs: one with either answer is removed for the first reason."""

    def judge(pairs: Sequence[Preference]) -> list[str | None]:
        sides = [_side(pair, pair.chosen) for pair in pairs]
        sides += [_side(pair, pair.rejected) for pair in pairs]
        found = filter(sides)
        chosen, rejected = found[: len(pairs)], found[len(pairs) :]
        return [
            _named(first, "chosen") or _named(second, "rejected")
            for first, second in zip(chosen, rejected, strict=True)
        ]

    return judge


def _side(pair: Preference, answer: Sequence[Message]) -> Instance:
    return Instance(messages=(*pair.prompt, *answer), lineage=pair.lineage)


def _named(reason: str | None, side: str) -> str | None:
    """The reason with the side that has it in its detail."""
    if reason is None:
        return None
    slug, _, detail = reason.partition(": ")
    return f"{slug}: {side}: {detail}" if detail else f"{slug}: {side}"


def pair_duplicates(pairs: Sequence[Preference]) -> list[str | None]:
    """All but the first of equal pairs."""
    seen = ExactDuplicates()
    return [
        seen.reason(one.content_id, one.instance_id, one.lineage.source, one.lineage.row)
        for one in pairs
    ]


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


def near_duplicate_prompts(threshold: float) -> PairFilter:
    """Pairs whose prompt's ROUGE-L with an earlier, different prompt is at least ``threshold``.

    Pairs of one prompt stay together, and so do prompts that begin with the same question: one
    conversation goes on from the other. ``threshold`` is read as it is written, in decimals.
    """
    limit = str(Fraction(str(threshold)))

    def judge(pairs: Sequence[Preference]) -> list[str | None]:
        asked = [tuple(m.text for m in one.prompt if m.role == "user") for one in pairs]
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
