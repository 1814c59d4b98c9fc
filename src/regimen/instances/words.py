"""What a word is, in any script: the one tokeniser that scorers and filters share.

On plain English the tokens are those of the ``rouge_score`` package without stemming (lower-case
runs of letters and digits). That package deletes every other character, so that identical Chinese
texts score 0 and "café" becomes "caf"; here every letter of every script counts, and scripts that
write no spaces give one token per character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import regex

# Scripts whose words are not separated by spaces.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_UNSPACED_CHARACTER = rf"(?=[\p{{L}}\p{{N}}])[{_UNSPACED}]\p{{M}}*"
_WORD = regex.compile(
    rf"(?V1){_UNSPACED_CHARACTER}|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+",
)
# Soft hyphen, zero-width space, word joiner, byte-order mark: invisible and without meaning.
_INVISIBLE = dict.fromkeys((0x00AD, 0x200B, 0x2060, 0xFEFF))


def fold(text: str) -> str:
    """The text with compatibility forms (NFKC), case and invisible characters folded away."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).casefold()
    return unicodedata.normalize("NFKC", folded)


def normalise(text: str) -> str:
    """``fold`` with every run of white space as one space, none at the ends."""
    return " ".join(fold(text).split())


def tokens(text: str) -> list[str]:
    """The words of a text, folded; single characters in scripts without spaces.

    A text without letters and digits (an emoji, "+ -") gives its visible characters: an empty
    list would make every comparison of such texts silently pass or fail.
    """
    folded = fold(text)
    words: list[str] = _ASCII_WORD.findall(folded) if folded.isascii() else _WORD.findall(folded)
    return words or [character for character in folded if not character.isspace()]


class WordCodes:
    """Words as single code points, so that string algorithms can run over words.

    Python strings hold 1,114,112 different code points; that many different words fit.
    """

    def __init__(self) -> None:
        self._codes: dict[str, str] = {}

    def encode(self, words: Iterable[str]) -> str:
        """One character per word, equal for equal words.

        Raises:
            ValueError: more than 1,114,112 different words were encoded.
        """
        codes = self._codes
        return "".join([codes.get(word) or self._new(word) for word in words])

    def _new(self, word: str) -> str:
        code = chr(len(self._codes))
        self._codes[word] = code
        return code
