"""Constraints on words and letters that an answer holds or does not hold."""

from __future__ import annotations

import re
import unicodedata

from regimen.judging.ifeval.arguments import Arguments
from regimen.judging.ifeval.languages import language_of
from regimen.judging.ifeval.units import words


def existence(answer: str, arguments: Arguments) -> bool:
    """Every keyword occurs, in any case, also inside a longer word."""
    folded = answer.lower()
    return all(word.lower() in folded for word in arguments.texts("keywords"))


def frequency(answer: str, arguments: Arguments) -> bool:
    """The keyword occurs as often as asked, in any case, also inside longer words."""
    found = answer.lower().count(arguments.text("keyword").lower())
    return arguments.holds(found, "frequency")


def forbidden_words(answer: str, arguments: Arguments) -> bool:
    """None of the words occurs as a word of its own."""
    return not any(_whole(word, answer) for word in arguments.texts("forbidden_words"))


def forbidden_texts(answer: str, arguments: Arguments) -> bool:
    """None of the texts occurs, also inside a longer word."""
    return not any(text in answer for text in arguments.texts("forbidden_words"))


def letter_frequency(answer: str, arguments: Arguments) -> bool:
    """The character occurs as often as asked, in any case."""
    found = answer.lower().count(arguments.text("letter").lower())
    return arguments.holds(found, "let_frequency", "let_relation")


def response_language(answer: str, arguments: Arguments) -> bool:
    """The answer is in the language of that ISO 639-1 code."""
    wanted = arguments.text("language").lower().partition("-")[0]
    return language_of(answer) == wanted


def enie(answer: str, arguments: Arguments) -> bool:
    """As many words with ñ as asked, exactly."""
    return _words_with("ñ", answer) == arguments.number("let_frequency")


def dieresis(answer: str, arguments: Arguments) -> bool:
    """As many words with ü as asked, exactly."""
    return _words_with("ü", answer) == arguments.number("let_frequency")


def tildes(answer: str, arguments: Arguments) -> bool:
    """As many words with á, é, í, ó or ú as asked."""
    return arguments.holds(_words_with("áéíóú", answer), "num_words")


def _words_with(letters: str, answer: str) -> int:
    return sum(any(letter in word for letter in letters) for word in words(answer.lower()))


def ethel_or_cedilla(answer: str, arguments: Arguments) -> bool:
    """The character does not occur, in any case."""
    return arguments.text("forbidden_char").lower() not in answer.lower()


# Grave, acute, circumflex, diaeresis; the cedilla is no accent.
_ACCENTS = frozenset("\u0300\u0301\u0302\u0308")


def no_accents(answer: str, arguments: Arguments) -> bool:
    """No letter has a grave, an acute, a circumflex or a diaeresis."""
    return _ACCENTS.isdisjoint(unicodedata.normalize("NFD", answer))


def accents(answer: str, arguments: Arguments) -> bool:
    """Every word that was given without its accents occurs with them."""
    return all(_whole(word, answer) for word in arguments.pairs("word_to_accentuate").values())


_TU = re.compile(r"(?i)\b(?:tu|te|toi|ton|ta|tes|tien|tiens|tienne|tiennes)\b|\bt['’](?=\w)")
_VOUS = re.compile(r"(?i)\b(?:vous|votre|vos|vôtres?)\b")


def informal_address(answer: str, arguments: Arguments) -> bool:
    """The reader is addressed as "tu": by such a word, and more often than as "vous".

    A "vous" may be a plural or a quotation; one item of M-IFEval asks for a last sentence with it.
    """
    return len(_TU.findall(answer)) > len(_VOUS.findall(answer))


def no_digits(answer: str, arguments: Arguments) -> bool:
    """No decimal digit of any script."""
    return not any(map(str.isdecimal, answer))


def _whole(word: str, text: str) -> bool:
    """Whether the word occurs, in any case, with no letter or digit at its sides."""
    return re.search(rf"(?i)(?<!\w){re.escape(word)}(?!\w)", text) is not None
