"""Demonstrations: worked examples of the same task that come before the query.

They never contain the instance itself or one with an equal input, and they give way to the query
when the prompt would become too long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from regimen.instances.words import normalise
from regimen.records import Example, stable_hash


def seeded(*parts: object) -> random.Random:
    """A generator of its own for every (seed, task, row): equal on every machine and worker."""
    return random.Random(int(stable_hash([str(part) for part in parts], length=16), 16))


def pick_demonstrations(
    examples: Sequence[Example], query: str, k: int, rng: random.Random | None
) -> tuple[Example, ...]:
    """At most ``k`` examples, none with the query's input, no input twice.

    Inputs are equal when they differ in case, white space and compatibility forms alone. The order
    is random; without ``rng`` it is the given one.
    """
    if k < 1:
        return ()
    seen = {normalise(query)}
    usable = []
    for example in examples:
        key = normalise(example.input)
        if key not in seen:
            seen.add(key)
            usable.append(example)
    if rng is not None:
        rng.shuffle(usable)
    return tuple(usable[:k])


def within_budget(
    shown: Sequence[Example], length: Callable[[Sequence[Example]], int], limit: int
) -> tuple[Example, ...]:
    """The longest run of leading examples whose prompt keeps to ``limit`` characters."""
    kept = list(shown)
    while kept and length(kept) > limit:
        kept.pop()
    return tuple(kept)


def demonstration_ids(
    shown: Sequence[Example], examples: Sequence[Example], kind: str
) -> tuple[str, ...]:
    """``positive:2`` for the second positive example of the task, as the lineage names it."""
    return tuple(f"{kind}:{examples.index(example) + 1}" for example in shown)
