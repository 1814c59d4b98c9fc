"""Words and pairs of words of many texts as numbers, for TF-IDF over more texts than fit in memory.

A term is a word or two words that follow each other; in scripts without spaces a word is a
character (``regimen.instances.words``). It is known by a hash of 52 bits, which is the same in
every process: among 30 million terms of training rows and 200,000 of items one chance match is
expected in a thousand runs.

Legend: T words of all texts, P pairs of a text and a term.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regimen.instances.words import tokens

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

MOST_TEXTS = 4_096
"""Texts of one call: the number of a text and the hash of a term share 64 bits."""

_HASH_BITS = 52
_SPARE = np.uint64(64 - _HASH_BITS)
_LOW = np.uint64((1 << _HASH_BITS) - 1)
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_MOST_WORDS = 1_000_000


class Terms(NamedTuple):
    """Each text's terms once, ordered by text and hash, and how often it has them."""

    text_P: Ints
    hash_P: Hashes
    count_P: Ints


class TermCounter:
    """Counts the terms of texts; remembers the hashes of at most a million words."""

    def __init__(self) -> None:
        self._hashes: dict[str, int] = {}

    def count(self, texts: Sequence[str]) -> Terms:
        """The terms of at most ``MOST_TEXTS`` texts.

        Raises:
            ValueError: more texts.
        """
        if len(texts) > MOST_TEXTS:
            raise ValueError(f"at most {MOST_TEXTS} texts, got {len(texts)}")
        words = [tokens(text) for text in texts]
        sizes = np.array([len(one) for one in words], dtype=np.int64)
        word_T = self._flat(words, int(sizes.sum()))
        text_T = np.repeat(np.arange(len(texts), dtype=np.uint64), sizes)
        together_T = text_T[1:] == text_T[:-1]
        pair_P = (word_T[:-1] * _FIRST + word_T[1:] * _SECOND)[together_T]
        hash_P = np.concatenate([word_T, pair_P]) >> _SPARE
        key_P = np.concatenate([text_T, text_T[1:][together_T]]) << np.uint64(_HASH_BITS) | hash_P
        key_P.sort()
        starts = np.flatnonzero(np.diff(key_P, prepend=~key_P[:1]))
        once_P = key_P[starts]
        return Terms(
            (once_P >> np.uint64(_HASH_BITS)).astype(np.int64),
            once_P & _LOW,
            np.diff(starts, append=len(key_P)),
        )

    def _flat(self, words: Sequence[Sequence[str]], size: int) -> Hashes:
        """The hash of each word, one text after another."""
        known = self._hashes
        if len(known) > _MOST_WORDS:
            known.clear()
        flat = (
            value if (value := known.get(word)) is not None else self._new(word)
            for one in words
            for word in one
        )
        return np.fromiter(flat, np.uint64, count=size)

    def _new(self, word: str) -> int:
        raw = word.encode("utf-8", "surrogatepass")
        value = int.from_bytes(blake2b(raw, digest_size=8).digest(), "little")
        self._hashes[word] = value
        return value
