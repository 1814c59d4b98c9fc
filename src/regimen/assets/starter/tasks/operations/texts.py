"""Operations on letters, sentences, tables, passages, records, kinds and translations."""

from __future__ import annotations

from random import Random
from typing import Any

from regimen.assets.starter.lexicon import categories, dictionary, lexicon, triples
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


def write_word(rng: Random, scene: Scene) -> str:
    """One item of the object."""
    return rng.choice(scene.pool)


def write_short_word(rng: Random, scene: Scene) -> str:
    """One item of three to five letters."""
    return rng.choice([word for word in scene.pool if 3 <= len(word) <= 5])


def letter_at(at: int) -> Solve:
    """The letter at a position of the word."""
    return lambda text, scene: text[at]


def solve_spelling(text: str, scene: Scene) -> Answer:
    """The letters of the word."""
    return tuple(text)


def _sentence(rng: Random, scene: Scene) -> list[str]:
    """Words of a sentence, without its full stop."""
    topic = _topic(scene)
    name = rng.choice(categories(scene.language)["names"])
    deed, when = rng.choice(topic["deeds"]), rng.choice(topic["when"])
    if rng.random() < 0.5:
        return f"{name} {deed} {when}".split(" ")
    return f"{when[0].upper()}{when[1:]} {name} {deed}".split(" ")


def _topic(scene: Scene) -> dict[str, Any]:
    topic: dict[str, Any] = lexicon(scene.language)["sentences"][
        scene.object.removesuffix("_sentences")
    ]
    return topic


def _stopped(words: list[str]) -> str:
    return " ".join(words) + "."


def write_sentence(rng: Random, scene: Scene) -> str:
    """A sentence that ends in a full stop."""
    return _stopped(_sentence(rng, scene))


def write_asked_word(rng: Random, scene: Scene) -> str:
    """A sentence and a word of it that occurs once and is not the last."""
    words = _sentence(rng, scene)
    asked = rng.choice([word for word in words[:-1] if words.count(word) == 1])
    return f"{_stopped(words)}\n? {asked}"


def write_changed_word(rng: Random, scene: Scene) -> str:
    """A sentence, the last word of what is done in it, and another such word."""
    words = _sentence(rng, scene)
    ends = {deed.rsplit(" ", 1)[1] for deed in _topic(scene)["deeds"]}
    old = next(word for word in words if word in ends and words.count(word) == 1)
    new = rng.choice(sorted(ends - set(words)))
    return f"{_stopped(words)}\n{old} -> {new}"


def words_of(text: str) -> list[str]:
    """The words of the sentence on the first line."""
    return text.split("\n", 1)[0].rstrip(".").split(" ")


def sentence_word(at: int) -> Solve:
    """The word at a position of the sentence."""
    return lambda text, scene: words_of(text)[at]


def solve_word_count(text: str, scene: Scene) -> Answer:
    """How many words the sentence has."""
    return str(len(words_of(text)))


def solve_word_after(text: str, scene: Scene) -> Answer:
    """The word behind the one asked about."""
    words = words_of(text)
    return words[words.index(query_of(text)) + 1]


def solve_changed_word(text: str, scene: Scene) -> Answer:
    """The sentence after the change."""
    old, new = change_of(text)
    return _stopped([new if word == old else word for word in words_of(text)])


def write_table(asked: int | None, low: int = 3, high: int = 4) -> Write:
    """Writer of ``key: value`` rows and, unless None, a cell of column ``asked`` (0 or 1)."""

    def write(rng: Random, scene: Scene) -> str:
        left, right = lexicon(scene.language)["tables"][scene.object]
        size = rng.randint(low, high)
        columns = [rng.sample(Scene(scene.language, name).pool, size) for name in (left, right)]
        rows = [f"{key}: {value}" for key, value in zip(*columns, strict=True)]
        if asked is not None:
            rows.append(f"? {rng.choice(columns[asked])}")
        return "\n".join(rows)

    return write


def rows_of(text: str) -> list[tuple[str, str]]:
    """(key, value) of every row of the table."""
    rows = [line.split(": ") for line in text.split("\n") if not line.startswith("? ")]
    return [(key, value) for key, value in rows]


def table_partner(asked: int) -> Solve:
    """The other cell of the row whose column ``asked`` holds the query."""

    def solve(text: str, scene: Scene) -> Answer:
        query = query_of(text)
        return next(row[1 - asked] for row in rows_of(text) if row[asked] == query)

    return solve


def table_cell(row: int, column: int) -> Solve:
    """The cell at fixed coordinates."""
    return lambda text, scene: rows_of(text)[row][column]


def solve_row_count(text: str, scene: Scene) -> Answer:
    """How many rows the table has."""
    return str(len(rows_of(text)))


def write_passage(question: str | None) -> Write:
    """Writer of two or three facts and, unless None, the ``who`` or ``what`` question."""

    def write(rng: Random, scene: Scene) -> str:
        frames = lexicon(scene.language)["passages"][scene.object]
        size = rng.randint(2, 3)
        names = rng.sample(categories(scene.language)["names"], size)
        things = rng.sample(categories(scene.language)[frames["values"]], size)
        pairs = list(zip(names, things, strict=True))
        text = " ".join(frames["fact"].format(n=name, x=thing) for name, thing in pairs)
        if question is None:
            return text
        name, thing = rng.choice(pairs)
        return f"{text}\n{frames[question].format(n=name, x=thing)}"

    return write


def _facts(text: str, scene: Scene) -> list[tuple[str, str]]:
    """(name, thing) of every fact of the passage."""
    fact = lexicon(scene.language)["passages"][scene.object]["fact"]
    _, between, _ = fact.replace("{x}", "{n}").split("{n}")
    sentences = text.split("\n", 1)[0].removesuffix(".").split(". ")
    pairs = [sentence.split(between) for sentence in sentences]
    return [(name, thing) for name, thing in pairs]


def solve_question(question: str) -> Solve:
    """The name (``who``) or the thing (``what``) that the question asks for."""

    def solve(text: str, scene: Scene) -> Answer:
        frame = lexicon(scene.language)["passages"][scene.object][question]
        asked = text.rsplit("\n", 1)[1]
        for name, thing in _facts(text, scene):
            if frame.format(n=name, x=thing) == asked:
                return name if question == "who" else thing
        raise ValueError(f"the passage does not answer {asked!r}")

    return solve


def solve_first_person(text: str, scene: Scene) -> Answer:
    """The name of the first fact."""
    return _facts(text, scene)[0][0]


def solve_people(text: str, scene: Scene) -> Answer:
    """The names of all facts, in order."""
    return tuple(name for name, _ in _facts(text, scene))


def write_record(asked: int | None) -> Write:
    """Writer of ``key=value`` fields and, unless None, a key (0) or value (1) to ask about."""

    def write(rng: Random, scene: Scene) -> str:
        kinds = lexicon(scene.language)["records"][scene.object]
        keys = rng.sample(sorted(kinds), rng.randint(3, len(kinds)))
        pairs = [(key, rng.choice(Scene(scene.language, kinds[key]).pool)) for key in keys]
        line = "; ".join(f"{key}={value}" for key, value in pairs)
        return line if asked is None else f"{line}\n? {rng.choice(pairs)[asked]}"

    return write


def fields_of(text: str) -> list[tuple[str, str]]:
    """(key, value) of every field of the record."""
    fields = [field.split("=") for field in text.split("\n", 1)[0].split("; ")]
    return [(key, value) for key, value in fields]


def record_partner(asked: int) -> Solve:
    """The value of a key (``asked`` 0) or the key of a value (1)."""

    def solve(text: str, scene: Scene) -> Answer:
        query = query_of(text)
        return next(field[1 - asked] for field in fields_of(text) if field[asked] == query)

    return solve


def solve_last_value(text: str, scene: Scene) -> Answer:
    """The value of the last field."""
    return fields_of(text)[-1][1]


def write_one_of_pair(rng: Random, scene: Scene) -> str:
    """A word of one of the object's two categories."""
    return rng.choice(categories(scene.language)[rng.choice(scene.pair)])


def _kind(word: str, scene: Scene) -> str:
    return next(name for name in scene.pair if word in categories(scene.language)[name])


def solve_kind(text: str, scene: Scene) -> Answer:
    """Which of the two categories the word belongs to."""
    return str(lexicon(scene.language)["kinds"][_kind(text, scene)])


def _one_among(rng: Random, scene: Scene) -> tuple[list[str], str]:
    """Two to four words of one category with a single one of the other; the single one's kind."""
    single, common = rng.sample(scene.pair, 2)
    items = rng.sample(categories(scene.language)[common], rng.randint(2, 4))
    items.append(rng.choice(categories(scene.language)[single]))
    rng.shuffle(items)
    return items, single


def write_odd(rng: Random, scene: Scene) -> str:
    """A list with one word of another category."""
    return listed(_one_among(rng, scene)[0])


def solve_odd(text: str, scene: Scene) -> Answer:
    """The word whose category no other has."""
    items = items_of(text)
    kinds = [_kind(item, scene) for item in items]
    return next(item for item, kind in zip(items, kinds, strict=True) if kinds.count(kind) == 1)


def write_asked_kind(rng: Random, scene: Scene) -> str:
    """A list with one word of another category, and the name of that category."""
    items, single = _one_among(rng, scene)
    return listed(items, f"? {lexicon(scene.language)['kinds'][single]}")


def solve_asked_kind(text: str, scene: Scene) -> Answer:
    """The word of the category asked for."""
    names = lexicon(scene.language)["kinds"]
    return next(x for x in items_of(text) if names[_kind(x, scene)] == query_of(text))


def write_foreign(source: str) -> Write:
    """Writer of a word of the object in the source language."""
    column = {"en": 0, "fr": 1, "es": 2}[source]
    return lambda rng, scene: rng.choice(triples()[scene.object])[column]


def translation(source: str, target: str) -> Solve:
    """The word in the target language."""
    return lambda text, scene: dictionary(source, target)[text]
