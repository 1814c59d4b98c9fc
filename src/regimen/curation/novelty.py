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
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from regimen.instances.words import WordCodes, tokens
from regimen.records import Instance

THRESHOLD = "0.7"
BLOCK = 128

Ints = NDArray[np.integer[Any]]


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
    order. Words become code points, so that bit-parallel algorithms for strings apply to words.

    Legend: P texts of the pool, B texts of a block.
    """

    def __init__(self, texts: Iterable[str] = (), threshold: str = THRESHOLD) -> None:
        self._limit = Fraction(threshold)
        self._codes = WordCodes()
        self._texts: list[str] = []
        self._coded: list[str] = []
        self._sizes_P = np.zeros(64, dtype=np.int32)
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
        return self._neighbour(coded, _lcs([coded], self._coded)[0]) if self._coded else None

    def admit(self, text: str) -> str | None:
        """Add the text and return None, or return the text of the pool that it is too close to."""
        return self.admit_all([text])[0]

    def admit_all(self, texts: Sequence[str]) -> list[str | None]:
        """``admit`` for each text in order, with the same result and a tenth of the time.

        A block is compared with the pool at once and with itself; verdicts are then given one
        after the other, so that a text also meets those that its own block has admitted.
        """
        verdicts: list[str | None] = []
        for start in range(0, len(texts), BLOCK):
            block = texts[start : start + BLOCK]
            coded = [self._codes.encode(tokens(text)) for text in block]
            old_BP, own_BB = _lcs(coded, self._coded), _lcs(coded, coded)
            sizes_B = np.array([len(one) for one in coded])
            near_BP = self._near(old_BP, sizes_B, self._sizes_P[: len(self)])
            near_B = np.logical_or.reduce(near_BP, axis=1)
            near_BB = self._near(own_BB, sizes_B, sizes_B)
            admitted: list[int] = []
            for position, text in enumerate(block):
                if near_B[position] or near_BB[position, admitted].any():
                    lcs_P = np.concatenate([old_BP[position], own_BB[position, admitted]])
                    verdicts.append(self._neighbour(coded[position], lcs_P).text)
                else:
                    verdicts.append(None)
                    self._append(text, coded[position])
                    admitted.append(position)
        return verdicts

    def _near(self, lcs_BP: Ints, sizes_B: Ints, sizes_P: Ints) -> NDArray[np.bool_]:
        """``too_close`` for every pair: the LCS reaches ceil(threshold * (m + n) / 2)."""
        most = int(sizes_B.max(initial=0)) + int(sizes_P.max(initial=0))
        limit = self._limit
        need = -(-limit.numerator * np.arange(most + 1) // (2 * limit.denominator)).astype(np.int32)
        near_BP: NDArray[np.bool_] = lcs_BP >= need[sizes_B[:, None] + sizes_P]
        return near_BP

    def _neighbour(self, coded: str, lcs_P: Ints) -> Neighbour:
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


def _lcs(texts: Sequence[str], others: Sequence[str]) -> Ints:
    """Length of the longest common subsequence of every text with every other."""
    if not texts or not others:
        return np.zeros((len(texts), len(others)), dtype=np.int32)
    return np.asarray(cdist(texts, others, scorer=LCSseq.similarity, dtype=np.int32, workers=1))


def near_duplicates(
    instances: Sequence[Instance], *, seeds: Iterable[str] = (), threshold: str = THRESHOLD
) -> list[str | None]:
    """A filter: instances whose user turns are too close to earlier ones or to ``seeds``."""
    asked = ["\n".join(m.text for m in one.messages if m.role == "user") for one in instances]
    close = NoveltyPool(seeds, threshold).admit_all(asked)
    return [None if text is None else f"near_duplicate: of {text!r}" for text in close]
