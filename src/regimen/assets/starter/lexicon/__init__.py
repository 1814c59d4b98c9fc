"""Words of the starter tasks: categories, calendars, numbers and translation triples.

``en.json`` holds its own categories. French and Spanish share ``triples.json`` with it (one
English, one French and one Spanish noun per line, unique in each language) and add names and
towns. Every word belongs to one category, so that a category question has one answer.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "fr", "es")


def _load(name: str) -> Any:
    return json.loads(files(__package__).joinpath(f"{name}.json").read_text(encoding="utf-8"))


@cache
def lexicon(language: str) -> dict[str, Any]:
    """Everything the language's file holds; treat it as read-only."""
    return dict(_load(language))


@cache
def triples() -> dict[str, tuple[tuple[str, str, str], ...]]:
    """Category -> (English, French, Spanish) nouns."""
    return {name: tuple((e, f, s) for e, f, s in rows) for name, rows in _load("triples").items()}


@cache
def categories(language: str) -> dict[str, tuple[str, ...]]:
    """Category -> words of the language, every word once."""
    own = {name: tuple(words) for name, words in lexicon(language)["categories"].items()}
    if language == "en":
        return own
    column = LANGUAGES.index(language)
    shared = {name: tuple(row[column] for row in rows) for name, rows in triples().items()}
    return own | shared


@cache
def dictionary(source: str, target: str) -> dict[str, str]:
    """Word of the source language -> word of the target language, over all triples."""
    a, b = LANGUAGES.index(source), LANGUAGES.index(target)
    return {row[a]: row[b] for rows in triples().values() for row in rows}


@cache
def number_words(language: str) -> dict[int, str]:
    """0..20 and the larger multiples of ten, in words."""
    words = lexicon(language)
    small = dict(enumerate(words["numbers"]))
    return small | {30 + 10 * i: word for i, word in enumerate(words["tens"])}


def term(name: str, language: str) -> str:
    """A fixed word or frame of the answers, such as ``yes`` or the label."""
    return str(lexicon(language)["terms"][name])
