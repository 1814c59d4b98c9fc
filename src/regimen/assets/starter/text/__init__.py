"""Endless simple text that is rich in recall, in English, French and Spanish.

Every document states facts (a list, numbers, a table, a short story, a sentence, words of two
languages, strings) and then says them again in other ways: in full, reversed, shortened, counted,
sorted, in capitals, one per line. A small model trained on it learns to copy from its own context,
to order, count and compare; it holds no instruction, no question and no chat markup.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import accumulate
from random import Random

from .author import LONGEST, Author
from .changes import CHANGES
from .figures import NUMBER_ABILITIES, NUMBER_FACTS, calendar_fact, date_fact
from .kinds import bilingual, kind_list, mappings, strings
from .lists import (
    PLACE_ABILITIES,
    REPEAT_ABILITIES,
    WORD_ABILITIES,
    Ability,
    Items,
    fresh_item,
)
from .resources import LANGUAGES, load_language
from .rules import habit
from .rules import turns as rule_turns
from .scenes import sentence, story, table

__all__ = ["LANGUAGES", "documents", "sample_items"]

Topic = Callable[[Author], Iterator[str | None]]
_SHORTEST = 60
_CHANGE_SHARE = 0.14


def sample_items(author: Author, kind: str, n: int) -> Items:
    """n distinct items of a kind."""
    items: Items = []
    for _ in range(n):
        items.append(fresh_item(author, kind, items))
    return items


def _list_kind(author: Author) -> str:
    u = author.random()
    if u < 0.56:
        return author.pick(author.language.categories)
    if u < 0.72:
        return "mixed"
    return "nonsense" if u < 0.86 else "code" if u < 0.95 else "letter"


def _open(author: Author, kind: str, items: Items) -> str:
    author.base["kind"] = kind
    author.base["kinds"] = author.terms[f"kind_{kind}"][0]
    author.base["n"] = author.number(len(items))
    return author.say("open", items)


def _several(author: Author, abilities: tuple[Ability, ...], items: Items) -> Iterator[str | None]:
    """Statements about a list that changes now and then."""
    while True:
        if author.random() < _CHANGE_SHARE and len(items) < 9:
            change = author.pick(CHANGES)(author, items)
            if change is not None:
                yield change[0]
                # A change that did not fit on the page ends it: nothing may speak of it.
                if author.parts[-1] is not change[0]:
                    return
                items = change[1]
        else:
            yield author.pick(abilities)(author, items)


_WORDS = PLACE_ABILITIES + WORD_ABILITIES
_CODES = PLACE_ABILITIES + PLACE_ABILITIES + WORD_ABILITIES[:5]
_NUMBERS = PLACE_ABILITIES[::2] + NUMBER_ABILITIES + NUMBER_ABILITIES


def recital(author: Author) -> Iterator[str | None]:
    """A short list, and a page about who stands where in it: as much recall as a page can hold."""
    u = author.random()
    kind = "nonsense" if u < 0.15 else "letter" if u < 0.22 else "number" if u < 0.29 else "mixed"
    if u > 0.7:
        kind = author.pick(author.language.categories)
    items = sample_items(author, kind, 3 + author.below(5))
    author.target = LONGEST
    opening = _open(author, kind, items)
    # now and then the list stands alone on its line, as it does where something is asked of it
    yield ", ".join(items) + "\n" if author.random() < 0.4 else opening
    while True:
        yield author.pick(PLACE_ABILITIES)(author, items)


def habits(author: Author) -> Iterator[str | None]:
    """What somebody always takes from a list, and lists."""
    kind = _list_kind(author)
    author.base["kind"] = kind
    author.target = 300 + author.below(LONGEST - 300)
    yield from habit(author, lambda n: sample_items(author, kind, n))


def turns(author: Author) -> Iterator[str | None]:
    """Another rule for each list."""
    kind = _list_kind(author)
    author.base["kind"] = kind
    author.target = 300 + author.below(LONGEST - 300)
    yield from rule_turns(author, lambda n: sample_items(author, kind, n))


def word_list(author: Author) -> Iterator[str | None]:
    """A list of words, codes or letters."""
    kind = _list_kind(author)
    size = 2 + author.below(7)
    items = sample_items(author, kind, size)
    yield _open(author, kind, items)
    abilities = PLACE_ABILITIES if kind == "letter" else _CODES if kind == "code" else _WORDS
    yield from _several(author, abilities, items)


def number_list(author: Author) -> Iterator[str | None]:
    """A list of numbers."""
    items = sample_items(author, "number", 2 + author.below(6))
    yield _open(author, "number", items)
    yield from _several(author, _NUMBERS, items)


def repeats(author: Author) -> Iterator[str | None]:
    """A list in which words come more than once."""
    kind = _list_kind(author)
    few = sample_items(author, kind, 2 + author.below(3))
    items = few + [author.pick(few) for _ in range(1 + author.below(4))]
    author.rng.shuffle(items)
    yield _open(author, kind, items)
    while True:
        yield author.pick(REPEAT_ABILITIES)(author, items)


def number_facts(author: Author) -> Iterator[str | None]:
    """Sums, comparisons, number words, counting."""
    while True:
        yield author.pick(NUMBER_FACTS)(author)


def calendar(author: Author) -> Iterator[str | None]:
    """Months, weekdays and dates."""
    while True:
        yield author.pick((calendar_fact, calendar_fact, date_fact))(author)


_TOPICS: dict[Topic, float] = {
    recital: 20,
    habits: 20,
    turns: 20,
    word_list: 42,
    number_list: 10,
    repeats: 5,
    number_facts: 6,
    calendar: 3,
    table: 7,
    story: 8,
    sentence: 6,
    kind_list: 5,
    bilingual: 4,
    strings: 5,
    mappings: 4,
}
TOPICS: dict[str, float] = {topic.__name__: weight for topic, weight in _TOPICS.items()}
"""Topics and how often each comes up, as parts of their sum."""


def documents(
    seed: int, language: str, topics: Collection[str] | Mapping[str, float] | None = None
) -> Iterator[str]:
    """Endless documents of 60 to 900 characters, the same for the same seed and language.

    With `topics`, such as `("word_list", "repeats")`, documents are about these only; a mapping
    from topic to weight also says how often each comes up.
    Raises: KeyError for a language outside `LANGUAGES`; ValueError for a topic that is not one.
    """
    unknown = set(topics or ()) - set(TOPICS)
    if unknown or (topics is not None and not topics):
        raise ValueError(f"topics are {sorted(TOPICS)}, not {topics}")
    wanted = (
        topics if isinstance(topics, Mapping) else {name: TOPICS[name] for name in topics or TOPICS}
    )
    chosen = [topic for topic in _TOPICS if topic.__name__ in wanted]
    weights = list(accumulate(wanted[topic.__name__] for topic in chosen))
    author = Author(load_language(language), Random(f"{seed}/{language}"))
    while True:
        author.begin()
        (topic,) = author.rng.choices(chosen, cum_weights=weights)
        author.add_all(topic(author))
        page = author.page()
        if _SHORTEST <= len(page) <= LONGEST:
            yield page
