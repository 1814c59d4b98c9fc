"""Tables, short stories and sentences, and what can be looked up in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .author import Author
from .lists import fresh_item, made_up_code, made_up_word

_BARS = (" | ", ": ", " - ", " = ", ", ", "\t")


def _distinct(author: Author, words: Sequence[str], n: int) -> list[str]:
    return author.rng.sample(words, n)


def table_rows(author: Author) -> tuple[list[str], list[str], bool]:
    """Row names, values, and whether the values are numbers."""
    n = 2 + author.below(6)
    words = author.language.words
    u = author.random()
    if u < 0.3:
        names = list(dict.fromkeys(made_up_word(author.rng) for _ in range(n)))
    else:
        category = author.pick(("name", "city", "fruit", "animal", "toy", "country", "food"))
        names = _distinct(author, words[category], n)
    n = len(names)
    u = author.random()
    if u < 0.5:
        return names, [str(k) for k in author.rng.sample(range(100), n)], True
    if u < 0.65:
        return names, [made_up_code(author.rng) for _ in range(n)], False
    category = author.pick(("colour", "job", "animal", "city", "place", "weekday", "material"))
    values = _distinct(author, words[category], min(n, len(words[category])))
    return names[: len(values)], values, False


def table(author: Author) -> Iterator[str | None]:
    """A small table, then statements looked up from it."""
    names, values, numeric = table_rows(author)
    bar = author.pick(_BARS)
    lines = [f"{name}{bar}{value}" for name, value in zip(names, values, strict=True)]
    yield author.say("t_open") + "\n" + "\n".join(lines) + "\n"
    while True:
        yield table_fact(author, names, values, numeric)


def table_fact(author: Author, names: list[str], values: list[str], numeric: bool) -> str | None:
    """One statement about a table."""
    i = author.below(len(names))
    name, value = names[i], values[i]
    u = author.random()
    if u < 0.38:
        return author.say("t_value", [value], x=author.mark(name))
    if u < 0.64:
        if values.count(value) > 1:
            return None
        return author.say("t_key", [name], x=author.mark(value))
    if u < 0.72:
        return author.say("t_keys", names)
    if u < 0.8:
        return author.say("t_values", values)
    if u < 0.84:
        return author.say("t_rows", [author.number(len(names))])
    if not numeric or len(names) < 2:
        return None
    sizes = [int(v) for v in values]
    if u < 0.92:
        return author.say("t_max", [names[sizes.index(max(sizes))]])
    return author.say("t_min", [names[sizes.index(min(sizes))]])


class Belonging(NamedTuple):
    """One fact of a story: who has what, in which colour, where."""

    who: str
    thing: str
    colour: str
    place: str


def belongings(author: Author) -> list[Belonging]:
    """2 to 5 facts in which no person, thing, colour or place comes twice."""
    n = 2 + author.below(4)
    words = author.language.words
    names = (
        _distinct(author, words["name"], n)
        if author.random() < 0.75
        else [made_up_word(author.rng).capitalize() for _ in range(n)]
    )
    names = list(dict.fromkeys(names))
    n = len(names)
    things = _distinct(author, author.terms["things"], n)
    colours = _distinct(author, words["colour"], n)
    places = _distinct(author, author.terms["places"], n)
    return [Belonging(*row) for row in zip(names, things, colours, places, strict=True)]


def story(author: Author) -> Iterator[str | None]:
    """Who has what and where; then the same facts, asked of the story's memory."""
    facts = belongings(author)
    author.target = max(author.target, 60 * len(facts) + 150)
    for fact in facts:
        yield _capital(author.say("p_fact", **_story_fields(fact)))
    while True:
        yield story_fact(author, facts)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _story_fields(fact: Belonging) -> dict[str, str]:
    return {"who": fact.who, "t": fact.thing, "c": fact.colour, "p": fact.place}


def story_fact(author: Author, facts: list[Belonging]) -> str:
    """One restated fact, or the people or things in order."""
    fact = author.pick(facts)
    fields = _story_fields(fact)
    u = author.random()
    if u < 0.26:
        text = author.say("p_owner", [fact.who], **fields)
    elif u < 0.48:
        text = author.say("p_colour", [fact.colour], **fields)
    elif u < 0.7:
        text = author.say("p_place", [fact.place], **fields)
    elif u < 0.86:
        text = author.say("p_thing", [fact.thing], **fields)
    elif u < 0.93:
        text = author.say("p_people", [f.who for f in facts])
    else:
        text = author.say("p_things", [f.thing for f in facts])
    return _capital(text)


def sentence_words(author: Author) -> list[str]:
    """The words of a plain sentence, without full stop."""
    terms, words = author.terms, author.language.words
    if author.language.code == "en":
        noun = author.pick(words[author.pick(("animal", "job", "family", "bird", "fairy"))])
        subject = f"the {author.pick(words['quality'])} {noun}"
        if author.random() < 0.3:
            subject = author.who
    else:
        subject = author.pick(terms["s_subject"])
        if author.random() < 0.4:
            subject = author.who
    parts = [subject, author.pick(terms["s_verb"]), author.pick(terms["s_object"])]
    if author.random() < 0.6:
        parts.append(author.pick(terms["s_tail"]))
    return " ".join(parts).split(" ")


def sentence(author: Author) -> Iterator[str | None]:
    """A sentence, then statements about its words."""
    words = sentence_words(author)
    yield author.say("s_open", s=" ".join(words) + ".")
    while True:
        yield sentence_fact(author, words)


def sentence_fact(author: Author, words: list[str]) -> str | None:
    """One statement about the words of a sentence; words named must occur once."""
    i = author.below(len(words) - 1)
    x = words[i]
    choice = author.below(12)
    once = words.count(x) == 1
    if choice == 0:
        return author.say("s_full", [" ".join(words)])
    if choice == 1:
        return author.say("s_reversed", [" ".join(words[::-1])])
    if choice == 2:
        return author.say("s_first", words[:1])
    if choice == 3:
        return author.say("s_last", words[-1:])
    if choice == 4 and i < 8:
        return author.say("s_nth", [x], o=author.terms["ordinals"][i], k=str(i + 1))
    if choice == 5:
        return author.say("s_count", [author.number(len(words))])
    if choice in (6, 7) and once:
        y = fresh_item(author, "mixed", words)
        result = " ".join([y if word == x else word for word in words])
        return author.say("s_replaced", [result], x=author.mark(x), y=author.mark(y))
    if choice == 8 and once:
        result = " ".join([word for word in words if word != x])
        return author.say("s_without", [result], x=author.mark(x))
    if choice == 9:
        return author.say("s_caps", [" ".join(words).upper()])
    if choice in (10, 11) and once:
        return author.say("s_after2", [words[i + 1]], x=author.mark(x))
    return None
