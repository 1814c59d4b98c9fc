"""Operations on lists by position, identity and number: pick, slice, order and their like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from regimen.assets.starter.lexicon import term
from regimen.assets.starter.tasks.formats import Answer
from regimen.assets.starter.tasks.operations.base import (
    Solve,
    Write,
    change_of,
    items_of,
    listed,
    query_of,
)
from regimen.assets.starter.tasks.scenes import Scene


def draw(rng: Random, scene: Scene, low: int = 3, high: int = 6) -> list[str]:
    """Between ``low`` and ``high`` distinct items."""
    return rng.sample(scene.pool, rng.randint(low, high))


def plain_list(low: int, high: int, step: int = 1) -> Write:
    """Writer of a bare list whose length is one of ``low, low + step, .. high``."""

    def write(rng: Random, scene: Scene) -> str:
        return listed(rng.sample(scene.pool, rng.randrange(low, high + 1, step)))

    return write


def by_items(function: Callable[[list[str]], str]) -> Solve:
    """Solver from the items of the first line to one string."""
    return lambda text, scene: function(items_of(text))


def to_list(function: Callable[[list[str]], Sequence[str]]) -> Solve:
    """Solver from the items of the first line to a list."""
    return lambda text, scene: tuple(function(items_of(text)))


def swapped_ends(items: list[str]) -> list[str]:
    """The items with the first and the last exchanged."""
    return [items[-1], *items[1:-1], items[0]]


def asked_neighbour(offset: int) -> Write:
    """Writer of a list and an item of it that has a neighbour at ``offset`` (+1 or -1)."""

    def write(rng: Random, scene: Scene) -> str:
        items = draw(rng, scene)
        at = rng.randrange(len(items) - 1) + (offset < 0)
        return listed(items, f"? {items[at]}")

    return write


def neighbour(offset: int) -> Solve:
    """The item at ``offset`` from the one asked about."""

    def solve(text: str, scene: Scene) -> Answer:
        items = items_of(text)
        return items[items.index(query_of(text)) + offset]

    return solve


def write_between(rng: Random, scene: Scene) -> str:
    """A list and two of its items that have exactly one other between them."""
    items = draw(rng, scene)
    at = rng.randrange(len(items) - 2)
    return listed(items, f"? {items[at]}, {items[at + 2]}")


def solve_between(text: str, scene: Scene) -> Answer:
    """The item after the left one of the two asked about."""
    items = items_of(text)
    return items[items.index(query_of(text).split(", ")[0]) + 1]


def write_replace(rng: Random, scene: Scene) -> str:
    """A list, one of its items and another that takes its place."""
    *items, new = rng.sample(scene.pool, rng.randint(4, 6))
    return listed(items, f"{rng.choice(items)} -> {new}")


def solve_replace(text: str, scene: Scene) -> Answer:
    """The list after the change."""
    old, new = change_of(text)
    return tuple(new if item == old else item for item in items_of(text))


def write_addition(rng: Random, scene: Scene) -> str:
    """A list and a new item."""
    *items, new = rng.sample(scene.pool, rng.randint(3, 5))
    return listed(items, f"+ {new}")


def solve_append(text: str, scene: Scene) -> Answer:
    """The new item behind the others."""
    return (*items_of(text), query_of(text))


def solve_prepend(text: str, scene: Scene) -> Answer:
    """The new item before the others."""
    return (query_of(text), *items_of(text))


def write_removal(rng: Random, scene: Scene) -> str:
    """A list and one of its items."""
    items = draw(rng, scene)
    return listed(items, f"- {rng.choice(items)}")


def solve_removal(text: str, scene: Scene) -> Answer:
    """The other items."""
    gone = query_of(text)
    return tuple(item for item in items_of(text) if item != gone)


def write_occurrences(rng: Random, scene: Scene) -> str:
    """A list in which one item occurs one to three times, and that item."""
    target, *others = rng.sample(scene.pool, rng.randint(3, 4))
    items = [*others, *[target] * rng.randint(1, 3)]
    rng.shuffle(items)
    return listed(items, f"? {target}")


def write_membership(rng: Random, scene: Scene) -> str:
    """A list and an item that belongs to it half of the time."""
    *items, other = rng.sample(scene.pool, rng.randint(4, 6))
    return listed(items, f"? {rng.choice(items) if rng.random() < 0.5 else other}")


def write_leading(rng: Random, scene: Scene) -> str:
    """A list and an item of it, the first half of the time."""
    items = draw(rng, scene, 3, 5)
    return listed(items, f"? {items[0] if rng.random() < 0.5 else rng.choice(items[1:])}")


def write_two_asked(rng: Random, scene: Scene) -> str:
    """A list and two of its items in either order."""
    items = draw(rng, scene, 3, 5)
    return listed(items, f"? {', '.join(rng.sample(items, 2))}")


def verdict(truth: Callable[[list[str], str], bool]) -> Solve:
    """Solver that answers yes or no about the items and the query."""

    def solve(text: str, scene: Scene) -> Answer:
        return term("yes" if truth(items_of(text), query_of(text)) else "no", scene.language)

    return solve


def in_order(items: list[str], query: str) -> bool:
    """Whether the left one of the two asked about comes first in the list."""
    left, right = query.split(", ")
    return items.index(left) < items.index(right)


def write_repeated(rng: Random, scene: Scene) -> str:
    """A list in which exactly one item occurs twice."""
    items = rng.sample(scene.pool, rng.randint(3, 4))
    items.append(rng.choice(items))
    rng.shuffle(items)
    return listed(items)


def write_repeats(rng: Random, scene: Scene) -> str:
    """A list with one or two items too many."""
    items = rng.sample(scene.pool, rng.randint(2, 4))
    items += rng.sample(items, rng.randint(1, 2))
    rng.shuffle(items)
    return listed(items)


def write_single(rng: Random, scene: Scene) -> str:
    """A list of pairs and one item without a double."""
    single, *paired = rng.sample(scene.pool, rng.randint(2, 3))
    items = [single, *paired, *paired]
    rng.shuffle(items)
    return listed(items)


def with_count(count: int) -> Solve:
    """The first item that occurs ``count`` times."""
    return by_items(lambda items: next(item for item in items if items.count(item) == count))


def solve_occurrences(text: str, scene: Scene) -> Answer:
    """How often the item asked about occurs."""
    return str(items_of(text).count(query_of(text)))
