"""Which option an answer names, when options are answered by writing: by label or by text.

Looked at in this order: what stands behind a mark ("The answer is (B)"), where the first option
named counts; the whole answer, where exactly one option may be named; its last line, then its first
line, in the same way. An answer that names none or several is unparsed: wrong, and counted apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

from regimen.instances.words import normalise, tokens
from regimen.judging.extraction import after_answer
from regimen.judging.rules import bare
from regimen.records import Item

Unparsed = Literal["none", "several"]

_LABEL = re.compile(r"[(\[]?([A-Za-z]|\d{1,2}|[ivx]{1,6})[)\].]?")
# An option that is a label without a text; a bare number is a text.
_ALONE = re.compile(r"[(\[]?([A-Za-z])[)\].]?|\((\d{1,2}|[ivx]{1,6})\)")
_LATIN = "[A-Za-z0-9_\u00c0-\u024f'\u2019]"
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")


def chosen(answer: str, choices: Sequence[str]) -> int | Unparsed:
    """Place of the option that the answer names; else why none could be read.

    Args:
        answer: as generated.
        choices: the options in the order in which they were shown: texts, or labels alone.
    """
    known = _options(tuple(choices))
    marked = after_answer(answer)
    if marked is not None:
        found = known.first(marked)
        if found is not None:
            return found
    lines = [line for line in answer.splitlines() if line.strip()]
    several = False
    for part in (answer, *lines[-1:], *lines[:1]):
        named = known.named(part)
        if len(named) == 1:
            return named[0]
        several |= len(named) > 1
    return "several" if several else "none"


def choice(answer: str, item: Item) -> float:
    """1 when the answer names the option of a reference; 0 also where it names none or several.

    References are texts or labels of ``item.choices``, which are in the order they were shown in.
    """
    found = chosen(answer, item.choices)
    return float(isinstance(found, int) and found in right_choices(item))


def unparsed(answer: str, item: Item) -> float:
    """1 when no option could be read from the answer: none named, or several."""
    return float(not isinstance(chosen(answer, item.choices), int))


def right_choices(item: Item) -> frozenset[int]:
    """Places of the options that the references are; a reference that is none adds nothing."""
    known = _options(item.choices)
    places = (known.whole(text) for text in item.references)
    return frozenset(place for place in places if place is not None)


class _Options:
    """Options with the patterns of their labels and texts."""

    def __init__(self, choices: tuple[str, ...]) -> None:
        labels = [_ALONE.fullmatch(text.strip()) for text in choices]
        self.only_labels = bool(choices) and all(labels)
        names = [found[1] or found[2] for found in labels if found] if self.only_labels else []
        self.labels = [name.casefold() for name in names] or _letters(len(choices))
        self.texts = [bare(text) for text in choices]
        self.words = [f" {' '.join(tokens(text))} " for text in choices]
        numbers = any(text.isdecimal() for text in self.texts)
        styles = (
            [self.labels] if self.only_labels else [self.labels, *_others(len(choices), numbers)]
        )
        self.place = {name: at for style in reversed(styles) for at, name in enumerate(style)}
        one = "|".join(sorted(map(re.escape, self.place), key=len, reverse=True)) or r"(?!)"
        # In brackets, behind "option", or at the start of a line with a mark behind it.
        self.marked = re.compile(
            rf"[(\[]\s*({one})\s*[)\]]|\b(?:option|choice|opción|opção|réponse|選択肢|选项|보기)\s*"
            rf"[:*]*\s*\(?({one})\b|^\W*({one})\s*[).:、,](?=\s|\W|$)|^\W*({one})\W*$",
            re.IGNORECASE | re.MULTILINE,
        )
        # A capital alone; A and I are English words unless nothing or a full stop follows.
        capitals = "".join(name.upper() for name in self.labels if re.fullmatch("[a-z]", name))
        self.capital = re.compile(
            rf"(?<!{_LATIN})(?:([{capitals}])(?=\W*$)|(?![AI])([{capitals}])(?!{_LATIN}))"
            if capitals
            else r"(?!)",
            re.MULTILINE,
        )

    def whole(self, text: str) -> int | None:
        """The option that the whole text is: its text, its label, or both."""
        plain = bare(text)
        same = [at for at, option in enumerate(self.texts) if option == plain]
        if len(same) == 1:
            return same[0]
        label = _LABEL.fullmatch(normalise(text))
        return self.place.get(label[1]) if label and not same else None

    def named(self, text: str) -> list[int]:
        """The options named in a text, each once, in the order in which they come."""
        found = self.whole(text)
        if found is not None:
            return [found]
        same = [at for at, option in enumerate(self.texts) if option == bare(text)]
        if same:
            return same
        plain = _compatible(text)
        by_label = _distinct(self._places(self.marked, plain))
        if by_label:
            return by_label
        by_text = [] if self.only_labels else self._texts_in(text)
        return by_text or _distinct(self._places(self.capital, plain))

    def first(self, text: str) -> int | None:
        """The option named first behind a mark."""
        named = self.named(text)
        if named:
            return named[0]
        start = re.match(r"\W*(\w+)\b", _compatible(text))
        return self.place.get(start[1].casefold()) if start else None

    def _places(self, pattern: re.Pattern[str], text: str) -> Iterator[int]:
        for found in pattern.finditer(text):
            yield self.place[next(filter(None, found.groups())).casefold()]

    def _texts_in(self, text: str) -> list[int]:
        """Options whose words are in the text, without those inside a longer one."""
        words = f" {' '.join(tokens(text))} "
        found: list[tuple[int, int]] = []
        for at in sorted(range(len(self.words)), key=lambda at: -len(self.words[at])):
            option = self.words[at]
            if option.strip() and (start := words.find(option)) >= 0:
                found.append((start, at))
                words = words.replace(option, " " + "\0" * (len(option) - 2) + " ")
        return [at for _, at in sorted(found)]


@lru_cache(maxsize=4096)
def _options(choices: tuple[str, ...]) -> _Options:
    return _Options(choices)


def _compatible(text: str) -> str:
    """Compatibility forms folded and case kept; lines stay."""
    return unicodedata.normalize("NFKC", text)


def _letters(total: int) -> list[str]:
    return [chr(ord("a") + at) for at in range(min(total, 26))]


def _others(total: int, numbers: bool) -> list[list[str]]:
    """Other labels that options may have been shown with; numbers only where none is an option."""
    roman = list(_ROMAN[:total]) if total <= len(_ROMAN) else []
    return [roman] if numbers else [[str(at + 1) for at in range(total)], roman]


def _distinct(places: Iterator[int]) -> list[int]:
    return list(dict.fromkeys(places))
