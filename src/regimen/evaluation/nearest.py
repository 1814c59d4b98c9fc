"""The training rows that are nearest to an item: exact, in one pass to count and one to search.

Nearness is the cosine of TF-IDF vectors over words and pairs of words (Salton and Buckley 1988,
"Term-weighting approaches in automatic text retrieval"), with the weights of scikit-learn's
``TfidfVectorizer``: tf is a count, idf = ln((1 + N) / (1 + df)) + 1 over the N training texts, and
vectors have length 1. It finds shared wording, not shared meaning.

Only terms of the items can add to a product, so the others are counted, in a table of fixed size,
for the length of a training text alone. Products are formed twice: of all pairs in fp32, the common
terms as dense columns, and again in fp64 of those pairs that may be among the nearest. So what is
found does not depend on how the rows were cut into pieces.

Legend: I items (different texts), V terms of items, P pairs of a text and a term, N training texts,
H pairs of a training text and an item, K neighbours kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from regimen.evaluation.terms import MOST_TEXTS, Hashes, Ints, TermCounter, Terms

Floats = NDArray[np.float64]

BUCKETS = 1 << 24
"""Of the table that counts terms that no item has; terms that share one look more common."""
FIRST_ROWS, MOST_ROWS, MOST_PAIRS = 64, 2_048, 1 << 24
"""Rows compared at a time, few at first, when every similarity is among the best; and pairs."""
COMMON = 1 / 128
"""A term is a dense column where it is in a larger share of all pairs of a row and an item."""
_HITS = 16_384
_ROUNDING = 1e-4
"""More than the products in fp32 can be wrong."""


class Neighbours(NamedTuple):
    """For each query its nearest texts, best first.

    ``row_QK`` are numbers of texts from 0, and -1 where there are fewer than K texts that share a
    term; ``similarity_QK`` is in 0..1, and 0 there. Of equal similarities the first text is first.
    """

    row_QK: Ints
    similarity_QK: Floats


class NearestSearch:
    """The k nearest texts of each query: all texts go to ``count``, then again to ``compare``.

    Memory is that of the items and of ``BUCKETS`` counters, whatever the number of texts. The
    texts come in order, in pieces of any size.
    """

    def __init__(self, queries: Sequence[str], k: int = 3) -> None:
        if k < 1:
            raise ValueError(f"k must be 1 or more, got {k}")
        self._counter = TermCounter()
        different = list(dict.fromkeys(queries))
        place = {text: number for number, text in enumerate(different)}
        self._query_Q = np.array([place[text] for text in queries], dtype=np.int64)
        parts = [self._counter.count(part) for part in _pieces(different, MOST_TEXTS)]
        self._owner_P = _joined(
            [part.text_P + number * MOST_TEXTS for number, part in enumerate(parts)], np.int64
        )
        self._count_P = _joined([part.count_P for part in parts], np.int64)
        self._hash_V, self._column_P = np.unique(
            _joined([part.hash_P for part in parts], np.uint64), return_inverse=True
        )
        self._df_V = np.zeros(len(self._hash_V), np.int64)
        self._df = np.zeros(BUCKETS, np.int32)
        self._texts = self._compared = 0
        self._row_IK = np.full((len(different), k), -1, np.int64)
        self._best_IK = np.zeros((len(different), k))
        self._items: _Weighted | None = None

    def count(self, texts: Sequence[str]) -> None:
        """Count in how many texts each term is."""
        for piece in _pieces(texts, MOST_TEXTS):
            terms = self._counter.count(piece)
            column_P, known_P = self._columns(terms.hash_P)
            np.add.at(self._df_V, column_P[known_P], 1)
            np.add.at(self._df, _bucket(terms.hash_P[~known_P]), 1)
        self._texts += len(texts)

    def compare(self, texts: Sequence[str]) -> None:
        """Keep those texts that are nearer to an item than its nearest so far."""
        if self._items is None:
            self._items = self._weighted()
        most = max(1, min(MOST_ROWS, MOST_PAIRS // max(1, len(self._row_IK))))
        start = 0
        while start < len(texts):
            size = min(most, max(FIRST_ROWS, self._compared))
            self._compare(texts[start : start + size], self._items)
            start += size

    def found(self) -> Neighbours:
        """The neighbours of each query."""
        return Neighbours(self._row_IK[self._query_Q], self._best_IK[self._query_Q])

    def _columns(self, hash_P: Hashes) -> tuple[Ints, NDArray[np.bool_]]:
        """The column of each term, and whether it is a term of an item at all."""
        if not len(self._hash_V):
            return np.zeros(len(hash_P), np.int64), np.zeros(len(hash_P), bool)
        column_P = np.searchsorted(self._hash_V, hash_P)
        column_P[column_P == len(self._hash_V)] = 0
        return column_P, self._hash_V[column_P] == hash_P

    def _idf(self, df: Ints) -> Floats:
        return np.log((1 + self._texts) / (1 + df)) + 1

    def _weighted(self) -> _Weighted:
        weight_P = self._count_P * self._idf(self._df_V)[self._column_P]
        square_I = np.bincount(self._owner_P, weight_P**2, minlength=len(self._row_IK))
        weight_P /= np.sqrt(square_I)[self._owner_P]
        shape = (len(self._row_IK), len(self._hash_V))
        matrix = _matrix(self._owner_P, self._column_P, weight_P, shape)
        return _Weighted(matrix, self._df_V / max(self._texts, 1))

    def _texts_matrix(self, terms: Terms, count: int) -> sparse.csr_array:
        """The texts' vectors, in the columns that items have."""
        column_P, known_P = self._columns(terms.hash_P)
        df_P = np.where(known_P, self._df_V[column_P] if len(self._df_V) else 0, 0)
        df_P[~known_P] = self._df[_bucket(terms.hash_P[~known_P])]
        weight_P = terms.count_P * self._idf(df_P)
        length_N = np.sqrt(np.bincount(terms.text_P, weight_P**2, minlength=count))
        weight_P /= length_N[terms.text_P]
        return _matrix(
            terms.text_P[known_P],
            column_P[known_P],
            weight_P[known_P],
            (count, len(self._hash_V)),
        )

    def _compare(self, texts: Sequence[str], items: _Weighted) -> None:
        rows = self._texts_matrix(self._counter.count(texts), len(texts))
        products = items.products(rows)
        # A text that shares no term with an item is not near it, however few others do.
        least_I = np.maximum(self._best_IK[:, -1] - _ROUNDING, np.finfo(np.float32).tiny)
        row_H, item_H = (products >= least_I.astype(np.float32)).nonzero()
        similarity_H = _products(rows, items.matrix, row_H, item_H)
        self._keep(item_H, row_H + self._compared, similarity_H)
        self._compared += len(texts)

    def _keep(self, item_H: Ints, row_H: Ints, similarity_H: Floats) -> None:
        """Merge what was found with the best so far: by similarity, then in order of the rows."""
        k = self._row_IK.shape[1]
        touched = np.unique(item_H)
        old_row, old_best = self._row_IK[touched], self._best_IK[touched]
        item = np.concatenate([np.repeat(touched, k), item_H])
        row = np.concatenate([old_row.ravel(), row_H])
        best = np.concatenate([old_best.ravel(), similarity_H])
        # A place that is still empty comes after every row, also one without similarity.
        order = np.lexsort((row, -best, row < 0, item))
        item, row, best = item[order], row[order], best[order]
        first = np.flatnonzero(np.diff(item, prepend=-1))
        rank = np.arange(len(item)) - np.repeat(first, np.diff(first, append=len(item)))
        kept = rank < k
        self._row_IK[item[kept], rank[kept]] = row[kept]
        self._best_IK[item[kept], rank[kept]] = best[kept]


class _Weighted:
    """The items' vectors: all of them, and apart the columns of the common and the rare terms."""

    def __init__(self, matrix: sparse.csr_array, share_V: Floats) -> None:
        self.matrix = matrix
        own_V = np.bincount(matrix.indices, minlength=matrix.shape[1]) / max(1, matrix.shape[0])
        common_V = share_V * own_V > COMMON
        self._common = np.flatnonzero(common_V)
        self._rare = np.flatnonzero(~common_V)
        self._dense_CI = matrix[:, self._common].toarray().T.astype(np.float32)
        self._sparse_VI = matrix[:, self._rare].T.tocsr()

    def products(self, rows: sparse.csr_array) -> NDArray[np.float32]:
        """The product of every row and every item, up to the rounding of fp32."""
        dense = rows[:, self._common].toarray().astype(np.float32)
        products: NDArray[np.float32] = dense @ self._dense_CI
        rest = (rows[:, self._rare] @ self._sparse_VI).tocoo()
        products[rest.coords] += rest.data.astype(np.float32)
        return products


def _products(rows: sparse.csr_array, items: sparse.csr_array, row_H: Ints, item_H: Ints) -> Floats:
    """The product of each pair, added up in the same order whatever else is compared."""
    parts = [
        np.asarray((rows[row_H[a : a + _HITS]] * items[item_H[a : a + _HITS]]).sum(axis=1))
        for a in range(0, len(row_H), _HITS)
    ]
    # Equal vectors may come out as 1 + 2e-16.
    products: Floats = np.minimum(_joined(parts, np.float64), 1.0)
    return products


def _matrix(
    row_P: Ints, column_P: Ints, weight_P: Floats, shape: tuple[int, int]
) -> sparse.csr_array:
    made = sparse.csr_array((weight_P, (row_P, column_P)), shape=shape)
    made.sort_indices()
    return made


def _bucket(hash_P: Hashes) -> Ints:
    return (hash_P & np.uint64(BUCKETS - 1)).astype(np.int64)


def _pieces(texts: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


def _joined(parts: Sequence[NDArray[Any]], kind: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, kind)
