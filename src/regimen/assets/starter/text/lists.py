"""Statements about a list: naming it again, picking from it, changing it, counting it.

Each ability is a function `(author, items) -> statement or None`; None means that the list does
not allow it. Items are distinct, except where a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .author import Author
from .resources import sort_key

Items = list[str]
Ability = Callable[[Author, Items], str | None]
Change = Callable[[Author, Items], tuple[str, Items] | None]

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_HARD = "bcdfghjklmnprstvwz"
_SOFT = "aeiou"
_SIGNS = "abcdefghijkmnpqrstuvwxyz23456789"


_TAKEN = frozenset({"dis", "lis"})
"""Words that the syllables make and that one of the languages has, as a request to somebody."""


def made_up_word(rng: Random) -> str:
    """A pronounceable word that means nothing, of 3 to 8 letters."""
    random = rng.random
    word = ""
    for _ in range(1 + int(random() * 3)):
        word += _HARD[int(random() * 18)] + _SOFT[int(random() * 5)]
    if random() < 0.7 or len(word) < 3:
        word += _HARD[int(random() * 18)]
    return made_up_word(rng) if word in _TAKEN else word


def made_up_code(rng: Random) -> str:
    """A string of 2 to 5 letters and digits."""
    random = rng.random
    return "".join([_SIGNS[int(random() * 32)] for _ in range(2 + int(random() * 4))])


def fresh_item(author: Author, kind: str, items: Items) -> str:
    """An item of the kind that is not on the list; any word where the kind is used up."""
    if len(items) >= len(author.language.words.get(kind, ALPHABET)):
        kind = "mixed"
    while True:
        item = new_item(author, kind)
        if item not in items:
            return item


def new_item(author: Author, kind: str) -> str:
    """An item of a kind; `mixed` draws from every category."""
    if kind == "nonsense":
        return made_up_word(author.rng)
    if kind == "code":
        return made_up_code(author.rng)
    if kind == "letter":
        return ALPHABET[author.below(26)]
    if kind == "number":
        return str(author.below(101))
    if kind == "mixed":
        kind = author.pick(author.language.categories)
    return author.pick(author.language.words[kind])


def _whole(key: str) -> Ability:
    """An ability whose result is a function of the whole list."""
    make, least = WHOLE[key]

    def ability(author: Author, items: Items) -> str | None:
        return author.say(key, make(items)) if len(items) >= least else None

    return ability


def _about_one(key: str, make: Callable[[str], Items]) -> Ability:
    """An ability whose result is a function of one item x."""

    def ability(author: Author, items: Items) -> str | None:
        x = author.pick(items)
        return author.say(key, make(x), x=author.mark(x))

    return ability


def nth(author: Author, items: Items) -> str | None:
    """The item at a place."""
    i = author.below(min(len(items), 8))
    return author.say("nth", items[i : i + 1], o=author.terms["ordinals"][i], k=str(i + 1))


def middle(author: Author, items: Items) -> str | None:
    """The middle item of an odd number of items."""
    half, odd = divmod(len(items), 2)
    return author.say("middle", [items[half]]) if odd and half else None


def after(author: Author, items: Items) -> str | None:
    """What follows x."""
    i = author.below(len(items) - 1)
    return author.say("after", [items[i + 1]], x=author.mark(items[i]))


def before(author: Author, items: Items) -> str | None:
    """What precedes x."""
    i = author.below(len(items) - 1)
    return author.say("before", [items[i]], x=author.mark(items[i + 1]))


def between(author: Author, items: Items) -> str | None:
    """What stands between two items."""
    if len(items) < 3:
        return None
    i = author.below(len(items) - 2)
    x, y = author.mark(items[i]), author.mark(items[i + 2])
    return author.say("between", [items[i + 1]], x=x, y=y)


def without(author: Author, items: Items) -> str | None:
    """The list without x."""
    if len(items) < 3:
        return None
    x = author.pick(items)
    return author.say("without", [item for item in items if item != x], x=author.mark(x))


def replaced(author: Author, items: Items) -> str | None:
    """The list with y for x."""
    x, y = author.pick(items), fresh_item(author, author.base["kind"], items)
    result = [y if item == x else item for item in items]
    return author.say("replaced", result, x=author.mark(x), y=author.mark(y))


def added(author: Author, items: Items) -> str | None:
    """The list with one more at the end."""
    x = fresh_item(author, author.base["kind"], items)
    return author.say("added", [*items, x], x=author.mark(x))


def added_start(author: Author, items: Items) -> str | None:
    """The list with one more at the start."""
    x = fresh_item(author, author.base["kind"], items)
    return author.say("addedstart", [x, *items], x=author.mark(x))


def exchange(items: Items, i: int, j: int) -> Items:
    """The list with places i and j exchanged."""
    result = list(items)
    result[i], result[j] = items[j], items[i]
    return result


def swapped(author: Author, items: Items) -> str | None:
    """The list with two items exchanged."""
    i, j = author.rng.sample(range(len(items)), 2)
    x, y = author.mark(items[i]), author.mark(items[j])
    return author.say("swapped", exchange(items, i, j), x=x, y=y)


def copies(author: Author, items: Items) -> str | None:
    """One item several times."""
    x, k = author.pick(items), 2 + author.below(4)
    return author.say("copies", [x] * k, x=author.mark(x), k=author.number(k))


def count(author: Author, items: Items) -> str | None:
    """How many items there are."""
    return author.say("count", [author.number(len(items))])


def position(author: Author, items: Items) -> str | None:
    """The place of x."""
    i = author.below(len(items))
    return author.say("position", [author.number(i + 1)], x=author.mark(items[i]))


def word_length(author: Author, items: Items) -> str | None:
    """The number of letters of x."""
    x = author.pick(items)
    if "-" in x:
        return None
    return author.say("wordlen", [author.number(len(x))], x=author.mark(x))


def _extreme(key: str, sign: int) -> Ability:
    def ability(author: Author, items: Items) -> str | None:
        lengths = sorted([sign * len(item) for item in items])
        if lengths[-1] == lengths[-2] or any("-" in item for item in items):
            return None
        return author.say(key, [item for item in items if sign * len(item) == lengths[-1]])

    return ability


def by_length(author: Author, items: Items) -> str | None:
    """The items from short to long, when no two are as long."""
    if len({len(item) for item in items}) < len(items):
        return None
    return author.say("bylength", sorted(items, key=len))


def member(author: Author, items: Items) -> str | None:
    """Whether x is on the list: as a fact, or as yes or no."""
    there = author.random() < 0.5
    x = author.pick(items) if there else fresh_item(author, author.base["kind"], items)
    if author.random() < 0.4:
        return author.say("memberyes" if there else "memberno", x=author.mark(x))
    return author.say("member", author.terms["yes" if there else "no"], x=author.mark(x))


def starts_with(author: Author, items: Items) -> str | None:
    """The items with a given first letter."""
    letter = author.pick(items)[0]
    found = [item for item in items if item[0] == letter]
    return author.say("startswith", found, x=author.mark(letter))


def containing(author: Author, items: Items) -> str | None:
    """The items with a given letter."""
    letter = author.pick(author.pick(items))
    if not letter.isalnum():
        return None
    found = [item for item in items if letter in item]
    return author.say("containing", found, x=author.mark(letter))


def longer_than(author: Author, items: Items) -> str | None:
    """The items with more than k letters."""
    k = 2 + author.below(5)
    found = [item for item in items if len(item) > k]
    if not found or any("-" in item for item in items):
        return None
    return author.say("longerthan", found, k=author.number(k))


def order(author: Author, items: Items) -> str | None:
    """Which of two came earlier."""
    i, j = sorted(author.rng.sample(range(len(items)), 2))
    return author.say("order", x=author.mark(items[i]), y=author.mark(items[j]))


def more_than(author: Author, items: Items) -> str | None:
    """Which of two words is longer."""
    x, y = author.rng.sample(items, 2)
    if len(x) == len(y) or "-" in x + y:
        return None
    x, y = (x, y) if len(x) > len(y) else (y, x)
    return author.say("morethan", x=author.mark(x), y=author.mark(y))


def how_many(author: Author, items: Items) -> str | None:
    """How often x came up (items may repeat)."""
    x = author.pick(items)
    return author.say("howmany", [author.number(items.count(x))], x=author.mark(x))


def spelled(author: Author, items: Items) -> str | None:
    """The letters of one word."""
    x = author.pick(items)
    letters = list(x)
    result = letters if author.random() < 0.5 else [author.pick(("-", " ", ", ")).join(letters)]
    return author.say("spelled", result, x=author.mark(x))


def sort_words(items: Items) -> Items:
    """Alphabetical order, case and accents aside."""
    return sorted(items, key=sort_key)


def unique(items: Items) -> Items:
    """The items without repeats, in the order of their first place."""
    return list(dict.fromkeys(items))


WHOLE: dict[str, tuple[Callable[[Items], Items], int]] = {
    "full": (list, 2),
    "reversed": (lambda items: items[::-1], 2),
    "first": (lambda items: items[:1], 2),
    "last": (lambda items: items[-1:], 2),
    "firstletters": (lambda items: [item[0] for item in items], 2),
    "lastletters": (lambda items: [item[-1] for item in items], 2),
    "alphabetical": (sort_words, 2),
    "alphareverse": (lambda items: sort_words(items)[::-1], 2),
    "glued": (lambda items: ["".join(items)], 2),
    "beforelast": (lambda items: items[-2:-1], 3),
    "firsttwo": (lambda items: items[:2], 3),
    "lasttwo": (lambda items: items[-2:], 3),
    "firstthree": (lambda items: items[:3], 4),
    "butfirst": (lambda items: items[1:], 2),
    "butlast": (lambda items: items[:-1], 2),
    "ends": (lambda items: [items[0], items[-1]], 3),
    "swapends": (lambda items: exchange(items, 0, -1), 2),
    "rotated": (lambda items: [*items[1:], items[0]], 2),
    "twice": (lambda items: [item for item in items for _ in range(2)], 2),
    "everysecond": (lambda items: items[::2], 3),
    "unique": (unique, 2),
}
"""Functions of a whole list, and the fewest items that each makes sense for."""

full = _whole("full")
backwards = _whole("reversed")
first = _whole("first")
last = _whole("last")
first_letters = _whole("firstletters")

WORD_ABILITIES: tuple[Ability, ...] = (
    first_letters,
    _whole("lastletters"),
    _about_one("wordrev", lambda x: [x[::-1]]),
    _about_one("firstletter", lambda x: [x[0]]),
    _about_one("lastletter", lambda x: [x[-1]]),
    _about_one("capital", lambda x: [x.upper()]),
    spelled,
    word_length,
    _extreme("longest", 1),
    _extreme("shortest", -1),
    by_length,
    starts_with,
    containing,
    longer_than,
    more_than,
    _whole("alphabetical"),
    _whole("alphabetical"),
    _whole("alphareverse"),
    _whole("glued"),
)

PLACE_ABILITIES: tuple[Ability, ...] = (
    full,
    full,
    backwards,
    backwards,
    first,
    last,
    nth,
    nth,
    middle,
    _whole("beforelast"),
    after,
    before,
    between,
    _whole("firsttwo"),
    _whole("lasttwo"),
    _whole("firstthree"),
    _whole("butfirst"),
    _whole("butlast"),
    _whole("ends"),
    without,
    added,
    added_start,
    replaced,
    swapped,
    _whole("swapends"),
    _whole("rotated"),
    _whole("twice"),
    copies,
    count,
    count,
    position,
    member,
    member,
    _whole("everysecond"),
    order,
)

REPEAT_ABILITIES: tuple[Ability, ...] = (
    full,
    backwards,
    first,
    last,
    count,
    how_many,
    how_many,
    _whole("unique"),
    _whole("unique"),
    _whole("butfirst"),
    _whole("butlast"),
)
