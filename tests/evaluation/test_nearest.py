"""pytest tests/evaluation/test_nearest.py"""

import math
from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.evaluation.nearest import NearestSearch
from regimen.evaluation.terms import MOST_TEXTS, TermCounter
from regimen.instances.words import tokens

WORDS = ("red", "blue", "the", "of", "Straße", "日本語", "หมา", "x1", "!!", "")
texts = st.lists(st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join), max_size=12)


def nearest(queries, chunks, k=3):
    search = NearestSearch(queries, k)
    for piece in chunks():
        search.count(piece)
    for piece in chunks():
        search.compare(piece)
    return search.found()


def terms(text):
    words = tokens(text)
    return Counter([*words, *pairwise(words)])


def dense(queries, rows):
    """Every similarity, from dictionaries."""
    counted = [terms(row) for row in rows]
    df = Counter(term for row in counted for term in row)
    idf = {t: math.log((1 + len(rows)) / (1 + df[t])) + 1 for q in queries for t in terms(q)}
    idf |= {t: math.log((1 + len(rows)) / (1 + df[t])) + 1 for t in df}

    def unit(counts):
        length = math.sqrt(sum((n * idf[t]) ** 2 for t, n in counts.items()))
        return {t: n * idf[t] / length for t, n in counts.items()}

    units = [unit(row) for row in counted]
    asked = [unit(terms(query)) for query in queries]
    return np.array(
        [[sum(w * row.get(t, 0.0) for t, w in q.items()) for row in units] for q in asked]
    ).reshape(len(queries), len(rows))


@given(queries=texts, rows=texts, k=st.integers(1, 4))
def test_equals_the_dense_cosine(queries, rows, k):
    found = nearest(queries, lambda: [rows], k)
    for query, similarity in enumerate(dense(queries, rows)):
        # equal up to rounding, and then the first row first
        order = np.lexsort((np.arange(len(rows)), -similarity.round(9)))
        expected = [row for row in order if similarity[row] > 0][:k]
        kept = [row for row in found.row_QK[query].tolist() if row >= 0]
        assert kept == expected
        assert np.allclose(found.similarity_QK[query][: len(kept)], similarity[expected])
        assert not found.similarity_QK[query][len(kept) :].any()


def test_pruning_loses_nothing_where_all_rows_share_a_frame():
    rng = np.random.default_rng(5)
    frame = "please answer the following question about {} and {} in one short sentence"
    names = [f"name{i}" for i in range(40)]
    draw = lambda n: [frame.format(*rng.choice(names, 2)) for _ in range(n)]  # noqa: E731
    queries, rows = draw(30), draw(900)
    found = nearest(queries, lambda: [rows], 5)
    for query, similarity in enumerate(dense(queries, rows)):
        order = np.lexsort((np.arange(len(rows)), -similarity.round(9)))[:5]
        assert found.row_QK[query].tolist() == order.tolist()


def pieces(rows, size):
    rows = iter(rows)
    while part := list(islice(rows, size)):
        yield part


@given(queries=texts, rows=texts, size=st.integers(1, 12))
def test_the_size_of_the_chunks_changes_nothing(queries, rows, size):
    whole = nearest(queries, lambda: [rows])
    parts = nearest(queries, lambda: pieces(rows, size))
    assert whole.row_QK.tolist() == parts.row_QK.tolist()
    assert whole.similarity_QK.tobytes() == parts.similarity_QK.tobytes()


def test_ties_go_by_order():
    rows = ["a b c", "z", "a b c", "a b c", "a b c"]
    assert nearest(["a b c"], lambda: [rows]).row_QK.tolist() == [[0, 2, 3]]


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("東京の天気はどうですか", "東京の天気を教えて", "京都へ行きたい"),
        ("วันนี้อากาศเป็นอย่างไร", "วันนี้อากาศดี", "ฉันชอบกินข้าว"),
        ("¿Dónde está la estación?", "DÓNDE ESTÁ EL MUSEO", "quiero dos cafés"),
    ],
)
def test_any_script(query, near, far):
    found = nearest([query], lambda: [[far, near]])
    assert found.row_QK[0, 0] == 1


def test_more_neighbours_than_rows_and_nothing_to_find():
    found = nearest(["a", "", "q"], lambda: [["a b", "c"]], k=5)
    assert found.row_QK.tolist() == [[0, -1, -1, -1, -1], [-1] * 5, [-1] * 5]
    assert nearest(["a"], lambda: []).row_QK.tolist() == [[-1, -1, -1]]
    assert nearest([], lambda: [["a"]]).row_QK.shape == (0, 3)


def test_an_equal_text_has_similarity_one_and_equal_queries_equal_rows():
    rows = ["one two three", "two three four", "five"]
    found = nearest([rows[1], "five", rows[1]], lambda: [rows])
    assert found.similarity_QK[0, 0] == pytest.approx(1)
    assert found.row_QK[0].tolist() == found.row_QK[2].tolist()


def test_what_it_refuses():
    with pytest.raises(ValueError, match="k must be 1"):
        NearestSearch(["a"], k=0)
    with pytest.raises(ValueError, match="at most"):
        TermCounter().count(["a"] * (MOST_TEXTS + 1))
