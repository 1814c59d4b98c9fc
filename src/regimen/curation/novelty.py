"""Novelty by ROUGE-L: is a text too close to one that is already there?

Self-Instruct (arXiv 2212.10560) keeps an instruction when its highest ROUGE-L F with the pool,
F = 2 LCS / (m + n) over the words, is below 0.7. Two traps of the reference are avoided: words are
Unicode words (otherwise nothing outside the Latin script is ever close to anything), and the
comparison is in integers (2 * 7 / (7 + 13) is exactly 0.7, a float says 0.7000000000000001, and
2 * 7 / (10 + 10), as exactly 0.7, stays below it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from regimen.instances.words import WordCodes, tokens
from regimen.records import Instance

THRESHOLD = "0.7"


def too_close(lcs: int, m: int, n: int, threshold: Fraction | str = THRESHOLD) -> bool:
    """Whether 2 LCS / (m + n) >= threshold, exactly. Two empty texts are equal.

    Args:
        lcs: length of the longest common subsequence, in words.
        m: words of one text.
        n: words of the other.
        threshold: as a decimal string or a fraction; a float would not be exact.
    """
    limit = Fraction(threshold)
    return 2 * limit.denominator * lcs >= limit.numerator * (m + n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """The closest text of a pool: its position, the words in common (in order) and ROUGE-L F."""

    position: int
    text: str
    lcs: int
    rouge_l: float


class NoveltyPool:
    """Texts seen so far, and the closest of them to a new one.

    The verdict on a text depends on what was admitted before it: feed candidates in a defined
    order. Words become code points, so that one bit-parallel LCS costs some 40 nanoseconds.
    """

    def __init__(self, texts: Iterable[str] = (), threshold: str = THRESHOLD) -> None:
        self._limit = Fraction(threshold)
        self._codes = WordCodes()
        self._texts: list[str] = []
        self._coded: list[str] = []
        self._sizes_P = np.zeros(64, dtype=np.int64)
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Put a text into the pool, whatever is there already."""
        self._append(text, self._codes.encode(tokens(text)))

    def _append(self, text: str, coded: str) -> None:
        if len(self._texts) == len(self._sizes_P):
            self._sizes_P = np.concatenate([self._sizes_P, np.zeros_like(self._sizes_P)])
        self._sizes_P[len(self._texts)] = len(coded)
        self._texts.append(text)
        self._coded.append(coded)

    def nearest(self, text: str) -> Neighbour | None:
        """The text with the highest ROUGE-L, the earliest on ties; None in an empty pool."""
        coded = self._codes.encode(tokens(text))
        lcs_P = self._lcs(coded)
        return self._neighbour(coded, lcs_P) if len(lcs_P) else None

    def admit(self, text: str) -> str | None:
        """Add the text and return None, or return the text of the pool that it is too close to."""
        coded = self._codes.encode(tokens(text))
        lcs_P = self._lcs(coded)
        totals_P = self._sizes_P[: len(lcs_P)] + len(coded)
        close_P = 2 * self._limit.denominator * lcs_P >= self._limit.numerator * totals_P
        if close_P.any():
            return self._neighbour(coded, lcs_P).text
        self._append(text, coded)
        return None

    def _lcs(self, coded: str) -> np.ndarray:
        if not self._coded:
            return np.zeros(0, dtype=np.int64)
        found = cdist([coded], self._coded, scorer=LCSseq.similarity, dtype=np.int32, workers=1)
        return np.asarray(found[0], dtype=np.int64)

    def _neighbour(self, coded: str, lcs_P: np.ndarray) -> Neighbour:
        totals_P = self._sizes_P[: len(lcs_P)] + len(coded)
        # Two empty texts are equal: F is 1 by definition.
        rouge_P = np.where(totals_P == 0, 1.0, 2 * lcs_P / np.maximum(totals_P, 1))
        best = int(rouge_P.argmax())
        return Neighbour(
            position=best,
            text=self._texts[best],
            lcs=int(lcs_P[best]),
            rouge_l=float(rouge_P[best]),
        )


def near_duplicates(
    instances: Sequence[Instance], *, seeds: Iterable[str] = (), threshold: str = THRESHOLD
) -> list[str | None]:
    """A filter: instances whose user turns are too close to earlier ones or to ``seeds``."""
    pool = NoveltyPool(seeds, threshold)
    reasons: list[str | None] = []
    for instance in instances:
        asked = "\n".join(m.text for m in instance.messages if m.role == "user")
        close = pool.admit(asked)
        reasons.append(None if close is None else f"near_duplicate: of {close!r}")
    return reasons
