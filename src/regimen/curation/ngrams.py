"""Which words of a short text lie in an n-gram that another text shares: exact and vectorised.

Legend: T tokens of the texts, G n-grams of the probes, W windows of the texts that hit, H hits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regimen.instances.words import tokens

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

# Odd 64-bit constants; equal hashes are compared word by word, so they need not be perfect.
_BASE = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)


def bordered(turns: Iterable[str]) -> list[str]:
    """The words of several turns, with a border that no n-gram crosses after each."""
    return [word for turn in turns for word in (*tokens(turn), "")]


class Covered(NamedTuple):
    """Pairs of a text and a probe that share an n-gram, and the probe's words in shared ones."""

    text_H: Ints
    probe_H: Ints
    words_H: Ints


class NgramIndex:
    """An inverted index of the n-grams of many short texts, the probes.

    A probe of fewer than n words counts as one n-gram of its own length: it is covered when it
    occurs as a whole. Memory is that of the probes; texts are looked up in batches.

    Args:
        probes: the words of each probe; ``""`` is a border that no n-gram crosses.
        n: words in an n-gram.
    """

    def __init__(self, probes: Sequence[Sequence[str]], n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be 1 or more, got {n}")
        self._ids: dict[str, int] = {"": 0}
        for probe in probes:
            for word in probe:
                self._ids.setdefault(word, len(self._ids))
        self._tokens_T, self._owner_T = self._flatten(probes)
        self._stride = max((len(probe) for probe in probes), default=0) + 1
        sizes_P = np.array([len(probe) for probe in probes], dtype=np.int64)
        start_P = np.cumsum(sizes_P + 1) - (sizes_P + 1)
        self._offset_T = np.arange(len(self._tokens_T)) - start_P[self._owner_T]
        length_T = np.minimum(sizes_P[self._owner_T], n)
        self._tables = [self._table(size, length_T) for size in range(1, n + 1)]

    def _flatten(self, texts: Sequence[Sequence[str]]) -> tuple[Ints, Ints]:
        """All texts as ids, each followed by the border 0, and the text of every id."""
        get = self._ids.get
        flat = [[get(word, 0) for word in text] + [0] for text in texts]
        sizes = [len(text) for text in flat]
        ids_T = np.fromiter((i for text in flat for i in text), np.int64, count=sum(sizes))
        return ids_T, np.repeat(np.arange(len(texts)), sizes)

    def _table(self, n: int, length_T: Ints) -> tuple[int, Hashes, Ints]:
        """The n-grams of one length: n, their hashes in order, where each begins."""
        at_W, hash_W = _windows(self._tokens_T, n)
        own_W = length_T[at_W] == n
        at_G, hash_G = at_W[own_W], hash_W[own_W]
        order_G = np.argsort(hash_G, kind="stable")
        return n, hash_G[order_G], at_G[order_G]

    def covered(self, texts: Sequence[Sequence[str]]) -> Covered:
        """Every (text, probe) that shares an n-gram, ordered by text and probe.

        Args:
            texts: the words of each text; ``""`` is a border that no n-gram crosses.
        """
        tokens_T, owner_T = self._flatten(texts)
        probes = int(self._owner_T[-1]) + 1 if len(self._owner_T) else 0
        found = [
            ((owner_T[at_H] * probes + self._owner_T[from_H]) * self._stride)
            + self._offset_T[from_H]
            for at_H, from_H in self._hits(tokens_T)
        ]
        keys_H = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
        return self._count(keys_H, probes)

    def _hits(self, tokens_T: Ints) -> Iterator[tuple[Ints, Ints]]:
        """Per length: positions in the texts and in the probes where equal n-grams begin."""
        for n, hash_G, at_G in self._tables:
            if not len(hash_G):
                continue
            at_W, hash_W = _windows(tokens_T, n)
            low_W = np.searchsorted(hash_G, hash_W, side="left")
            many_W = np.searchsorted(hash_G, hash_W, side="right") - low_W
            at_H = np.repeat(at_W, many_W)
            first_H = np.repeat(np.cumsum(many_W) - many_W, many_W)
            from_H = at_G[np.repeat(low_W, many_W) + np.arange(len(at_H)) - first_H]
            same_H = np.ones(len(at_H), dtype=bool)
            for k in range(n):
                same_H &= tokens_T[at_H + k] == self._tokens_T[from_H + k]
            yield at_H[same_H], from_H[same_H]

    def _count(self, keys_H: Ints, probes: int) -> Covered:
        """Words covered per pair: each n-gram covers up to the beginning of the next."""
        pair_H, offset_H = np.divmod(keys_H, self._stride)
        if not len(keys_H):
            return Covered(pair_H, pair_H, pair_H)
        begin_H = np.flatnonzero(np.diff(pair_H, prepend=-1))
        probe_H = pair_H % probes
        longest = self._tables[-1][0]
        size_P = np.bincount(self._owner_T, minlength=probes) - 1
        reach_H = np.minimum(size_P[probe_H], longest)
        step_H = np.diff(offset_H, append=0)
        last_H = np.append(pair_H[1:] != pair_H[:-1], True)
        gain_H = np.where(last_H, reach_H, np.minimum(step_H, reach_H))
        words = np.add.reduceat(gain_H, begin_H)
        return Covered(pair_H[begin_H] // probes, probe_H[begin_H], words)


def _windows(tokens_T: Ints, n: int) -> tuple[Ints, Hashes]:
    """Begin and hash of every window of n known words (none is the border or unknown, 0)."""
    if len(tokens_T) < n:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    count = len(tokens_T) - n + 1
    known_T = np.concatenate([[0], np.cumsum(tokens_T != 0)])
    at_W = np.flatnonzero(known_T[n:] - known_T[:count] == n)
    mixed_T = tokens_T.astype(np.uint64) * _MIX
    mixed_T ^= mixed_T >> np.uint64(29)
    hash_W = np.zeros(len(at_W), np.uint64)
    for k in range(n):
        hash_W = hash_W * _BASE + mixed_T[at_W + k]
    return at_W, hash_W
