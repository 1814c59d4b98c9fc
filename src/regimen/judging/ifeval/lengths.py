"""Constraints on how many words, sentences, paragraphs or characters an answer has."""

from __future__ import annotations

import re

from regimen.judging.ifeval import units
from regimen.judging.ifeval.arguments import Arguments

DIVIDER = r"\*\*\*"


def number_words(answer: str, arguments: Arguments) -> bool:
    """As many words as asked."""
    return arguments.holds(len(units.words(answer)), "num_words")


def number_sentences(answer: str, arguments: Arguments) -> bool:
    """As many sentences as asked."""
    return arguments.holds(len(units.sentences(answer)), "num_sentences")


def number_paragraphs(answer: str, arguments: Arguments) -> bool:
    """Exactly so many parts between dividers ``***``, none of them blank."""
    wanted = arguments.number("num_paragraphs")
    parts = units.parted(answer, DIVIDER)
    return parts is not None and len(parts) == wanted


# What may follow a first word, apart from white space.
_AFTER = r"(?=[\s.,?!'\"]|$)"


def nth_paragraph_first_word(answer: str, arguments: Arguments) -> bool:
    """Exactly so many paragraphs between two line breaks, the n-th with that word at its start."""
    word = arguments.text("first_word")
    paragraph = _nth_paragraph(answer, arguments)
    start = rf"(?i)['\"]*{re.escape(word)}{_AFTER}"
    return paragraph is not None and re.match(start, paragraph) is not None


def nth_paragraph_first_text(answer: str, arguments: Arguments) -> bool:
    """Exactly so many paragraphs between two line breaks, the n-th with that text at its start."""
    text = arguments.text("first_word")
    paragraph = _nth_paragraph(answer, arguments)
    return paragraph is not None and paragraph.startswith(text)


def _nth_paragraph(answer: str, arguments: Arguments) -> str | None:
    """The paragraph, stripped; None where their number is not the one asked for, or it is blank.

    Blank paragraphs do not count towards the number but keep their places.
    """
    place = arguments.place("nth_paragraph")
    found = [paragraph.strip() for paragraph in units.blocks(answer)]
    filled = sum(map(bool, found))
    if filled != arguments.number("num_paragraphs") or place > filled:
        return None
    return found[place - 1] or None


def number_letters(answer: str, arguments: Arguments) -> bool:
    """As many characters as asked, with marks, spaces and line breaks."""
    return arguments.holds(len(answer), "num_letters")
