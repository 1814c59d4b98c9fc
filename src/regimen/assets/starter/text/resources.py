"""The words, phrases and small tables of one language, read from this package's text files."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

LANGUAGES = ("en", "fr", "es")
_FILES = {"en": "english.txt", "fr": "french.txt", "es": "spanish.txt"}


class Phrase(NamedTuple):
    """A sentence pattern.

    `head` is what stands before the result when the pattern ends in `{r}` (then any way of
    writing the result can follow), else None; `joint` is `" "` or `": "`.
    """

    text: str
    head: str | None
    joint: str


@dataclass(frozen=True)
class Language:
    """Everything that a document in one language is made of."""

    code: str
    phrases: dict[str, tuple[Phrase, ...]]
    terms: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]
    """Category to words; words of two categories stay in both."""
    categories: tuple[str, ...]
    clear: dict[str, tuple[str, ...]]
    """Category to the words that no other category has."""
    meanings: tuple[tuple[str, str, str], ...]
    """(English, French, Spanish) words whose three forms are unique to one meaning."""
    numbers: tuple[str, ...]
    """Number words from 0 to 100."""


def _lines(folder: str, name: str) -> list[str]:
    text = (files(__package__) / folder / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _phrase(text: str) -> Phrase:
    for joint in (" : ", ": ", " "):
        end = joint + "{r}"
        if text.endswith(end):
            head = text[: -len(end)]
            plain = head[-1] in "=>«" or not head
            return Phrase(text + ".", None if plain else head, joint)
    return Phrase(text, None, " ")


def _phrases(code: str) -> dict[str, tuple[Phrase, ...]]:
    found: dict[str, list[Phrase]] = {}
    key = ""
    for line in _lines("phrases", f"{code}.txt"):
        if line.startswith("@"):
            key = line[1:]
            found[key] = []
        else:
            found[key].append(_phrase(line))
    return {key: tuple(phrases) for key, phrases in found.items()}


def _terms(code: str) -> dict[str, tuple[str, ...]]:
    pairs = (line.split(": ", 1) for line in _lines("terms", f"{code}.txt"))
    return {key: tuple(value.split(" | ")) for key, value in pairs}


def _table() -> list[tuple[str, tuple[str, str, str]]]:
    rows = []
    for line in _lines("words", "trilingual.txt"):
        category, meanings = line.split(": ", 1)
        for meaning in meanings.split(", "):
            english, french, spanish = meaning.split(" ")
            rows.append((category, (english, french, spanish)))
    return rows


def _words(code: str) -> dict[str, tuple[str, ...]]:
    column = LANGUAGES.index(code)
    found: dict[str, dict[str, None]] = {}
    for category, meaning in _table():
        found.setdefault(category, {})[meaning[column]] = None
    for line in _lines("words", _FILES[code]):
        category, words = line.split(": ", 1)
        found.setdefault(category, {}).update(dict.fromkeys(words.split(" ")))
    return {category: tuple(words) for category, words in found.items()}


def _clear(words: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    homes: dict[str, int] = {}
    for members in words.values():
        for word in members:
            homes[word.lower()] = homes.get(word.lower(), 0) + 1
    return {
        category: tuple(word for word in members if homes[word.lower()] == 1)
        for category, members in words.items()
    }


def _meanings() -> tuple[tuple[str, str, str], ...]:
    rows = [meaning for _, meaning in _table()]
    counts: list[dict[str, int]] = [{}, {}, {}]
    for row in rows:
        for column, word in zip(counts, row, strict=True):
            column[word] = column.get(word, 0) + 1
    return tuple(
        row
        for row in rows
        if all(column[word] == 1 for column, word in zip(counts, row, strict=True))
    )


def number_words(code: str, terms: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The words for 0 to 100."""
    if code == "fr":
        small = terms["units"]
        return (*(_french_number(n, small) for n in range(100)), *terms["hundred"])
    link = " y " if code == "es" else "-"
    words = list(terms["units"])
    for n in range(len(words), 100):
        tens = terms["tens"][n // 10 - 2]
        words.append(tens if n % 10 == 0 else tens + link + words[n % 10])
    return (*words, *terms["hundred"])


def _french_number(n: int, small: tuple[str, ...]) -> str:
    if n < 20:
        return small[n]
    if n == 80:
        return "quatre-vingts"
    if n > 80:
        return "quatre-vingt-" + small[n - 80]
    base = min(n // 10 * 10, 60)
    tens = {20: "vingt", 30: "trente", 40: "quarante", 50: "cinquante", 60: "soixante"}[base]
    rest = n - base
    if rest == 0:
        return tens
    return tens + (" et " if rest in (1, 11) else "-") + small[rest]


def sort_key(word: str) -> str:
    """Alphabetical key: case and accents do not count."""
    if word.isascii():
        return word.lower()
    return "".join(
        c
        for c in unicodedata.normalize("NFD", word.lower().replace("œ", "oe"))
        if not unicodedata.combining(c)
    )


@cache
def load_language(code: str) -> Language:
    """Reads the files of one language once.

    Raises: KeyError for a language outside `LANGUAGES`.
    """
    if code not in LANGUAGES:
        raise KeyError(code)
    words, terms = _words(code), _terms(code)
    return Language(
        code=code,
        phrases=_phrases(code),
        terms=terms,
        words=words,
        categories=tuple(words),
        clear=_clear(words),
        meanings=_meanings(),
        numbers=number_words(code, terms),
    )
