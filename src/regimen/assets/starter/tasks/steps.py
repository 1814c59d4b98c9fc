"""Rationales: the short true steps from an input to its answer, for the operations that have some.

Steps look at the input alone: most number its items, as a reader does with a finger on the line.
The last one ends with the raw answer, before the output format writes it down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from regimen.assets.starter.lexicon import term
from regimen.assets.starter.tasks.operations.base import (
    change_of,
    items_of,
    query_of,
    value_of,
)
from regimen.assets.starter.tasks.wording import wordings

Places = Callable[[int], Iterable[int]]
"""Places of the answer in a list of so many items, from 0."""


@dataclass(frozen=True, slots=True)
class Given:
    """An input in its language, and the phrases that steps are written in."""

    text: str
    language: str

    @property
    def items(self) -> list[str]:
        """The items of the first line."""
        return items_of(self.text)

    @property
    def query(self) -> str:
        """What the last line asks about."""
        return query_of(self.text)

    @property
    def values(self) -> list[int]:
        """The numbers of the items."""
        return [value_of(item, self.language) for item in self.items]

    def say(self, phrase: str, **slots: object) -> str:
        """A phrase of the language with its slots filled."""
        said: str = wordings(self.language)["steps"][phrase]
        return said.format(**slots)

    def listing(self, pairs: Iterable[tuple[object, object]]) -> str:
        """Pairs as ``1: dog, 2: cat.``"""
        colon = term("colon", self.language)
        return f"{', '.join(f'{name}{colon} {value}' for name, value in pairs)}."

    def numbered(self, items: Sequence[str]) -> str:
        """Items with their numbers, from 1."""
        return self.listing(enumerate(items, start=1))


Steps = Callable[[Given], tuple[str, ...]]


def _at(phrase: str, places: Places) -> Steps:
    """The items, numbered, and those at the places."""

    def steps(given: Given) -> tuple[str, ...]:
        items = given.items
        found = list(places(len(items)))
        said = {"n": found[0] + 1, "ns": ", ".join(str(place + 1) for place in found)}
        answer = ", ".join(items[place] for place in found)
        return given.numbered(items), given.say(phrase, answer=answer, **said)

    return steps


def _neighbour(offset: int) -> Steps:
    def steps(given: Given) -> tuple[str, ...]:
        items, query = given.items, given.query
        n = items.index(query) + 1
        answer = items[n - 1 + offset]
        return (
            given.numbered(items),
            given.say("place", item=query, n=n),
            given.say("one", n=n + offset, answer=answer),
        )

    return steps


def _between(given: Given) -> tuple[str, ...]:
    items = given.items
    places = {item: items.index(item) + 1 for item in given.query.split(", ")}
    n = sum(places.values()) // 2
    known = (given.say("place", item=item, n=place) for item, place in places.items())
    return given.numbered(items), *known, given.say("one", n=n, answer=items[n - 1])


def _replace(given: Given) -> tuple[str, ...]:
    items, (old, new) = given.items, change_of(given.text)
    n = items.index(old)
    answer = ", ".join([*items[:n], new, *items[n + 1 :]])
    return (
        given.numbered(items),
        given.say("place", item=old, n=n + 1),
        given.say("taken", item=new, answer=answer),
    )


def _add(phrase: str) -> Steps:
    def steps(given: Given) -> tuple[str, ...]:
        line, new = ", ".join(given.items), given.query
        answer = f"{new}, {line}" if phrase == "front" else f"{line}, {new}"
        return (given.say(phrase, item=new, answer=answer),)

    return steps


def _remove(given: Given) -> tuple[str, ...]:
    items, query = given.items, given.query
    n = items.index(query)
    return (
        given.numbered(items),
        given.say("place", item=query, n=n + 1),
        given.say("without", answer=", ".join([*items[:n], *items[n + 1 :]])),
    )


def _verdict(given: Given, truth: bool) -> str:
    return term("yes" if truth else "no", given.language)


def _contains(given: Given) -> tuple[str, ...]:
    items, query = given.items, given.query
    if query in items:
        said = given.say(
            "found", item=query, n=items.index(query) + 1, answer=_verdict(given, True)
        )
    else:
        said = given.say("absent", item=query, answer=_verdict(given, False))
    return given.numbered(items), said


def _is_first(given: Given) -> tuple[str, ...]:
    first = given.items[0]
    answer = _verdict(given, first == given.query)
    return given.numbered(given.items), given.say("other", item=first, answer=answer)


def _comes_before(given: Given) -> tuple[str, ...]:
    items, asked = given.items, given.query.split(", ")
    n, m = (items.index(item) + 1 for item in asked)
    known = [given.say("place", item=item, n=items.index(item) + 1) for item in asked]
    said = given.say("earlier" if n < m else "later", n=n, m=m, answer=_verdict(given, n < m))
    return given.numbered(items), *known, said


def _total(parts: Callable[[str], Sequence[str]]) -> Steps:
    """What is counted, numbered, and the last number."""

    def steps(given: Given) -> tuple[str, ...]:
        found = parts(given.text)
        return given.numbered(found), given.say("total", answer=len(found))

    return steps


def _occurrences(given: Given) -> tuple[str, ...]:
    items, query = given.items, given.query
    found = [str(n) for n, item in enumerate(items, start=1) if item == query]
    return (
        given.numbered(items),
        given.say("places", item=query, ns=", ".join(found)),
        given.say("total", answer=len(found)),
    )


def _best(phrase: str, *, lengths: bool = False) -> Steps:
    """Every item with its number, or with its letters, and the item with the best."""

    def steps(given: Given) -> tuple[str, ...]:
        items = given.items
        values = [len(item) for item in items] if lengths else given.values
        n = (min if phrase == "smallest" else max)(values)
        said = given.say(phrase, n=n, answer=items[values.index(n)])
        plain = [str(value) for value in values] == items
        return (*(() if plain else (given.listing(zip(items, values, strict=True)),)), said)

    return steps


def _sum(write: Callable[[list[int]], str]) -> Steps:
    """The calculation in digits, below the words that stand for these."""

    def steps(given: Given) -> tuple[str, ...]:
        items, values = given.items, given.values
        spelled = [
            (item, value)
            for item, value in zip(items, values, strict=True)
            if not item[0].isdigit()
        ]
        return (*((given.listing(spelled),) if spelled else ()), write(values))

    return steps


def _halves(values: list[int]) -> str:
    half, left = divmod(values[0], 2)
    return f"{values[0]} = {half} + {half}" + (" + 1" if left else "")


def _parity(given: Given) -> tuple[str, ...]:
    *known, said = _sum(_halves)(given)
    answer = term("odd" if given.values[0] % 2 else "even", given.language)
    return *known, f"{said}{term('colon', given.language)} {answer}."


def _more(given: Given) -> tuple[str, ...]:
    m, n = sorted(given.values)
    answer = given.items[given.values.index(n)].split(" ", 1)[1]
    return (given.say("more", n=n, m=m, answer=answer),)


def _same(given: Given) -> tuple[str, ...]:
    item, other = given.items
    phrase, name = ("equal", "same") if item == other else ("unequal", "different")
    return (given.say(phrase, item=item, other=other, answer=term(name, given.language)),)


STEPS: dict[str, Steps] = {
    "first": _at("one", lambda n: [0]),
    "second": _at("one", lambda n: [1]),
    "third": _at("one", lambda n: [2]),
    "last": _at("one", lambda n: [n - 1]),
    "next_to_last": _at("one", lambda n: [n - 2]),
    "middle": _at("one", lambda n: [n // 2]),
    "first_two": _at("several", lambda n: [0, 1]),
    "last_two": _at("several", lambda n: [n - 2, n - 1]),
    "all_but_first": _at("several", lambda n: range(1, n)),
    "all_but_last": _at("several", lambda n: range(n - 1)),
    "reverse": _at("order", lambda n: range(n - 1, -1, -1)),
    "first_to_end": _at("order", lambda n: [*range(1, n), 0]),
    "last_to_front": _at("order", lambda n: [n - 1, *range(n - 1)]),
    "swap_ends": _at("order", lambda n: [n - 1, *range(1, n - 1), 0]),
    "after": _neighbour(1),
    "before": _neighbour(-1),
    "between": _between,
    "replace": _replace,
    "append": _add("end"),
    "prepend": _add("front"),
    "remove": _remove,
    "contains": _contains,
    "is_first": _is_first,
    "comes_before": _comes_before,
    "items": _total(items_of),
    "occurrences": _occurrences,
    "words": _total(lambda text: text.rstrip(".").split(" ")),
    "rows": _total(lambda text: [row.split(":")[0] for row in text.split("\n")]),
    "largest": _best("largest"),
    "smallest": _best("smallest"),
    "longest": _best("largest", lengths=True),
    "shortest": _best("smallest", lengths=True),
    "add": _sum(lambda values: f"{values[0]} + {values[1]} = {sum(values)}."),
    "subtract": _sum(lambda values: f"{values[0]} - {values[1]} = {values[0] - values[1]}."),
    "one_more": _sum(lambda values: f"{values[0]} + 1 = {values[0] + 1}."),
    "double": _sum(lambda values: f"{values[0]} + {values[0]} = {2 * values[0]}."),
    "parity": _parity,
    "larger": _best("largest"),
    "more": _more,
    "same": _same,
}
"""The operations with steps: those of pick, slice, order, neighbour, edit, member, count, extreme,
sum and compare."""


def rationale(operation: str, text: str, language: str) -> str:
    """The steps from an input to its answer, in one line; empty for operations without."""
    steps = STEPS.get(operation)
    return "" if steps is None else " ".join(steps(Given(text, language)))


def avoid(family: str, operation: str, form: str, language: str) -> str:
    """What an answer of such a task must not do: one thing of the operation, one of the format."""
    texts = wordings(language)["avoid"]
    of_operation = texts["operations"].get(operation) or texts["families"][family]
    return f"{of_operation} {texts['formats'][form]}"
