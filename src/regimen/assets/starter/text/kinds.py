"""Kinds of words, words in other languages, strings of signs, and pairs that follow one rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .author import Author
from .lists import fresh_item, made_up_word
from .resources import LANGUAGES

DISJOINT = ("animal", "colour", "clothing", "furniture", "vehicle", "job", "country", "month",
            "tool", "plant", "vegetable", "family", "sport", "action")  # fmt: skip


def kind_list(author: Author) -> Iterator[str | None]:
    """Words of two or three kinds, then which of them belongs where."""
    clear, terms = author.language.clear, author.terms
    groups = author.rng.sample(DISJOINT, 2 + author.below(2))
    home = {
        word: group
        for group in groups
        for word in author.rng.sample(clear[group], 1 + author.below(3))
    }
    words = list(home)
    author.rng.shuffle(words)
    author.base["kinds"] = terms["kind_mixed"][0]
    author.base["n"] = str(len(words))
    yield author.say("open", words)
    while True:
        yield kind_fact(author, words, home, groups)


def kind_fact(
    author: Author, words: list[str], home: dict[str, str], groups: list[str]
) -> str | None:
    """One true statement about the kinds of the words."""
    terms = author.terms
    word, group = author.pick(words), author.pick(groups)
    plural, one = terms[f"kind_{group}"][:2]
    members = [w for w in words if home[w] == group]
    u = author.random()
    if u < 0.25:
        key = "c_is" if home[word] == group else "c_isnot"
        return author.say(key, x=author.mark(word), k=one)
    if u < 0.5:
        return author.say("c_members", members, kinds=plural)
    if u < 0.65:
        return author.say("c_kind", [terms[f"kind_{home[word]}"][0]], x=author.mark(word))
    if len(members) != 1:
        return author.say("full", words) if u > 0.9 else None
    if u < 0.85:
        return author.say("c_only", members, k=one)
    return author.say("c_odd", members) if len(groups) == 2 and len(words) > 2 else None


def bilingual(author: Author) -> Iterator[str | None]:
    """Notes on words of two languages, then translations looked up from them."""
    own = LANGUAGES.index(author.language.code)
    other = author.pick([i for i in range(3) if i != own])
    source, target = (own, other) if author.random() < 0.5 else (other, own)
    names = author.terms["languages"]
    rows = author.rng.sample(author.language.meanings, 2 + author.below(5))
    pairs = [(row[source], row[target]) for row in rows]
    labels = {"A": names[source], "B": names[target]}
    author.target = max(author.target, 45 * len(pairs) + 120)
    for x, y in pairs:
        yield author.say("b_pair", x=author.mark(x), y=author.mark(y), **labels)
    while True:
        if author.random() < 0.2:
            yield author.say("full", [x for x, _ in pairs])
            yield author.say("b_list", [y for _, y in pairs], **labels)
        x, y = author.pick(pairs)
        if author.random() < 0.3:
            back = {"A": names[target], "B": names[source]}
            yield author.say("b_to", [x], x=author.mark(y), **back)
        else:
            yield author.say("b_to", [y], x=author.mark(x), **labels)


Edit = tuple[str, Callable[[str], str]]
EDITS: tuple[Edit, ...] = (
    ("x_full", lambda x: x),
    ("x_reversed", lambda x: x[::-1]),
    ("x_reversed", lambda x: x[::-1]),
    ("x_first", lambda x: x[0]),
    ("x_last", lambda x: x[-1]),
    ("x_butfirst", lambda x: x[1:]),
    ("x_butlast", lambda x: x[:-1]),
    ("x_twice", lambda x: x + x),
    ("x_caps", str.upper),
    ("x_spaced", " ".join),
)


def strings(author: Author) -> Iterator[str | None]:
    """Strings of letters or digits and what becomes of them."""
    digits = author.random() < 0.3
    signs = "0123456789" if digits else "abcdefghijklmnopqrstuvwxyz"
    few = "".join(author.rng.sample(signs, 3)) if author.random() < 0.4 else signs
    what = author.pick(author.terms["what_digits" if digits else "what_letters"])
    while True:
        x = "".join([author.pick(few) for _ in range(3 + author.below(5))])
        yield author.say("x_open", x=author.mark(x), what=what)
        for _ in range(3 + author.below(4)):
            yield string_fact(author, x, signs, what)


def string_fact(author: Author, x: str, signs: str, what: str) -> str:
    """One statement about a string."""
    y, z = author.pick(signs), author.pick(x)
    fields = {"x": author.mark(x), "y": author.mark(y), "z": author.mark(z), "what": what}
    choice = author.below(16)
    if choice == 0:
        return author.say("x_added", [x + y], **fields)
    if choice == 1:
        return author.say("x_front", [y + x], **fields)
    if choice == 2 and y != z:
        return author.say("x_replaced", [x.replace(z, y)], **fields)
    if choice == 3 and x.replace(z, ""):
        return author.say("x_without", [x.replace(z, "")], **fields)
    if choice == 4:
        return author.say("x_count", [author.number(len(x))], **fields)
    key, edit = author.pick(EDITS)
    return author.say(key, [edit(x)], **fields)


RULES: tuple[Callable[[str], str], ...] = (
    str.upper,
    lambda x: x[::-1],
    lambda x: x[0],
    lambda x: x[-1],
    lambda x: x[1:],
    lambda x: x[:-1],
    lambda x: x + x,
    lambda x: "-".join(x),
    lambda x: f"[{x}]",
    lambda x: f'"{x}"',
    lambda x: f"{x}.",
    lambda x: x[:1].upper() + x[1:],
    lambda x: f"{x} {x}",
    lambda x: str(len(x)),
)


def pairs_of_rule(author: Author) -> list[tuple[str, str]]:
    """4 to 8 pairs that share one rule, or pairs at random to be remembered."""
    n = 4 + author.below(5)
    u = author.random()
    if u < 0.2:
        k = 1 + author.below(10)
        return [(str(a), str(a + k)) for a in author.rng.sample(range(90), n)]
    words: list[str] = []
    kind = author.pick(("nonsense", "mixed", "code", "animal", "food"))
    for _ in range(n):
        words.append(fresh_item(author, kind, words))
    if u < 0.55:
        return [(word, made_up_word(author.rng)) for word in words]
    rule = author.pick(RULES)
    return [(word, rule(word)) for word in words]


def mappings(author: Author) -> Iterator[str | None]:
    """Pairs in a row, then the same pairs again in another order."""
    pairs = pairs_of_rule(author)
    joint = author.pick((", ", "; ", "\n"))
    phrase = author.pick(author.phrases["m_pair"]).text
    if author.random() < 0.5:
        yield author.say("m_open")
    lines = [phrase.format(x=x, y=y, **author.base) for x, y in pairs]
    yield joint.join(lines) + ("\n" if joint == "\n" else ".")
    while True:
        author.rng.shuffle(pairs)
        for x, y in pairs:
            yield author.say("m_again", [y], x=author.mark(x))
