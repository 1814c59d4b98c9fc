"""Statements about numbers, the calendar and ages."""

from __future__ import annotations

from collections.abc import Callable

from .author import Author
from .lists import Ability, Items

Fact = Callable[[Author], str]


def _all(key: str, make: Callable[[list[int]], list[int]]) -> Ability:
    def ability(author: Author, items: Items) -> str | None:
        result = make([int(item) for item in items])
        return author.say(key, [str(n) for n in result]) if result else None

    return ability


def _bound(key: str, sign: int) -> Ability:
    def ability(author: Author, items: Items) -> str | None:
        k = int(author.pick(items))
        result = [item for item in items if sign * int(item) > sign * k]
        return author.say(key, result, k=str(k)) if result else None

    return ability


def in_words(author: Author, items: Items) -> str | None:
    """Every number as a word."""
    if any(int(item) > 100 for item in items):
        return None
    return author.say("n_words", [author.language.numbers[int(item)] for item in items])


def _two(author: Author, items: Items) -> str | None:
    return author.pick((larger, smaller, greater, addition, difference))(author, items)


def _pair(author: Author, items: Items | None) -> tuple[int, int]:
    if items is not None:
        a, b = author.rng.sample(items, 2)
        return int(a), int(b)
    return author.below(101), author.below(101)


def larger(author: Author, items: Items | None = None) -> str:
    """The larger of two numbers."""
    a, b = _pair(author, items)
    return author.say("larger" if a != b else "equal", [str(max(a, b))], a=str(a), b=str(b))


def smaller(author: Author, items: Items | None = None) -> str:
    """The smaller of two numbers."""
    a, b = _pair(author, items)
    return author.say("smaller" if a != b else "equal", [str(min(a, b))], a=str(a), b=str(b))


def greater(author: Author, items: Items | None = None) -> str:
    """That one number is greater than another, or that they are equal."""
    a, b = _pair(author, items)
    a, b = max(a, b), min(a, b)
    return author.say("gt" if a != b else "equal", [str(a)], a=str(a), b=str(b))


def addition(author: Author, items: Items | None = None) -> str:
    """A small sum."""
    a, b = _pair(author, items)
    if items is None and author.random() < 0.7:
        a, b = a % 21, b % 21
    return author.say("sum", [str(a + b)], a=str(a), b=str(b))


def difference(author: Author, items: Items | None = None) -> str:
    """A difference that is not negative."""
    a, b = _pair(author, items)
    if items is None and author.random() < 0.7:
        a, b = a % 21, b % 21
    a, b = max(a, b), min(a, b)
    return author.say("diff", [str(a - b)], a=str(a), b=str(b))


def product(author: Author) -> str:
    """A product from the small tables."""
    a, b = 2 + author.below(9), 2 + author.below(9)
    return author.say("times", [str(a * b)], a=str(a), b=str(b))


def neighbour(author: Author) -> str:
    """One more or one less."""
    a = 1 + author.below(99)
    step, key = (1, "next") if author.random() < 0.5 else (-1, "prev")
    return author.say(key, [str(a + step)], a=str(a))


def word_or_digits(author: Author) -> str:
    """A number as a word, or a number word in digits."""
    a = author.below(101)
    word = author.language.numbers[a]
    if author.random() < 0.5:
        return author.say("word", [word], a=str(a))
    return author.say("digits", [str(a)], w=word)


def parity(author: Author) -> str:
    """Even or odd."""
    a = author.below(101)
    return author.say("parity", author.terms["odd" if a % 2 else "even"], a=str(a))


def counting(author: Author) -> str:
    """Counting on by a fixed step, or down by one."""
    length = 3 + author.below(5)
    if author.random() < 0.25:
        a = length + author.below(90)
        return author.say("backcount", [str(a - i) for i in range(length)], a=str(a))
    k = author.pick((1, 2, 2, 3, 4, 5, 5, 10, 10))
    a = author.pick((0, k, author.below(60)))
    run = [str(a + k * i) for i in range(length)]
    return author.say("counting", run, a=str(a), k=str(k))


def age(author: Author) -> str:
    """An age after some years, or the older of two."""
    a, b = 1 + author.below(60), 1 + author.below(20)
    if author.random() < 0.5:
        return author.say("age", [str(a + b)], a=str(a), b=str(b))
    other = author.pick(author.language.words["name"])
    if a == b or other == author.who:
        return author.say("age", [str(a + b)], a=str(a), b=str(b))
    older = author.who if a > b else other
    return author.say("agediff", [older], a=str(a), b=str(b), z=other)


NUMBER_ABILITIES: tuple[Ability, ...] = (
    _all("n_asc", sorted),
    _all("n_asc", sorted),
    _all("n_desc", lambda numbers: sorted(numbers, reverse=True)),
    _all("n_max", lambda numbers: [max(numbers)]),
    _all("n_min", lambda numbers: [min(numbers)]),
    _all("n_even", lambda numbers: [n for n in numbers if n % 2 == 0]),
    _all("n_odd", lambda numbers: [n for n in numbers if n % 2]),
    _bound("n_over", 1),
    _bound("n_under", -1),
    _all("n_plusone", lambda numbers: [n + 1 for n in numbers]),
    _all("n_double", lambda numbers: [2 * n for n in numbers]),
    _all("n_total", lambda numbers: [sum(numbers)]),
    in_words,
    _two,
    _two,
)

NUMBER_FACTS: tuple[Fact, ...] = (
    larger,
    smaller,
    greater,
    addition,
    addition,
    difference,
    product,
    neighbour,
    neighbour,
    word_or_digits,
    word_or_digits,
    parity,
    counting,
    counting,
    age,
)


def calendar_fact(author: Author) -> str:
    """What comes before or after a month or day, a run of them, or a place in the order."""
    names = author.language.words[author.pick(("month", "weekday"))]
    i, size = author.below(len(names)), len(names)
    x = names[i]
    choice = author.below(4)
    if choice == 0:
        return author.say("s_after", [names[(i + 1) % size]], x=x)
    if choice == 1:
        return author.say("s_before", [names[(i - 1) % size]], x=x)
    if choice == 2:
        run = [names[(i + k) % size] for k in range(2 + author.below(min(5, size - 2)))]
        return author.say("s_run", run, x=x)
    return author.say("s_place", [author.number(i + 1)], x=x)


def date_fact(author: Author) -> str:
    """A date in long and short form, or a part of it."""
    day, month, year = 1 + author.below(28), 1 + author.below(12), 1900 + author.below(130)
    name = author.language.words["month"][month - 1]
    long = {
        "en": f"{day} {name} {year}",
        "fr": f"{day} {name} {year}",
        "es": f"{day} de {name} de {year}",
    }[author.language.code]
    short = author.pick((f"{year}-{month:02}-{day:02}", f"{day:02}/{month:02}/{year}"))
    choice = author.below(3)
    if choice == 0:
        return author.say("date", [short], x=long)
    if choice == 1:
        return author.say("datelong", [long], x=short)
    part = author.below(3)
    value = (str(day), name, str(year))[part]
    return author.say("dateparts", [value], x=long, p=author.terms["day_parts"][part])
