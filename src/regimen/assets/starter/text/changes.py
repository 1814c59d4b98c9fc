"""Changes that a document makes to its list: what follows speaks of the changed list."""

from __future__ import annotations

from .author import Author
from .lists import Change, Items, exchange, fresh_item


def remove(author: Author, items: Items) -> tuple[str, Items] | None:
    """x is taken away."""
    if len(items) < 4:
        return None
    x = author.pick(items)
    left = [item for item in items if item != x]
    return author.say("u_remove", left, x=author.mark(x)), left


def append(author: Author, items: Items) -> tuple[str, Items] | None:
    """x joins at the end."""
    x = fresh_item(author, author.base["kind"], items)
    return author.say("u_add", [*items, x], x=author.mark(x)), [*items, x]


def prepend(author: Author, items: Items) -> tuple[str, Items] | None:
    """x joins at the start."""
    x = fresh_item(author, author.base["kind"], items)
    return author.say("u_start", [x, *items], x=author.mark(x)), [x, *items]


def replace(author: Author, items: Items) -> tuple[str, Items] | None:
    """y takes the place of x."""
    x, y = author.pick(items), fresh_item(author, author.base["kind"], items)
    now = [y if item == x else item for item in items]
    return author.say("u_replace", now, x=author.mark(x), y=author.mark(y)), now


def swap(author: Author, items: Items) -> tuple[str, Items] | None:
    """x and y change places."""
    i, j = author.rng.sample(range(len(items)), 2)
    now = exchange(items, i, j)
    return author.say("u_swap", now, x=author.mark(items[i]), y=author.mark(items[j])), now


def reverse(author: Author, items: Items) -> tuple[str, Items] | None:
    """The whole order is turned around."""
    return author.say("u_reverse", items[::-1]), items[::-1]


CHANGES: tuple[Change, ...] = (remove, append, prepend, replace, swap, reverse)
