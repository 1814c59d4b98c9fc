"""pytest tests/tokens/test_store.py"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.store import document_rows, load_token_rows, save_token_rows, token_rows


def test_rows_survive_the_disk(tmp_path):
    rows = token_rows([Rendered((1, 2, 3), (0.0, 0.5, 1.0)), RenderedPair((4, 5), (6,), (7, 8))])
    save_token_rows(tmp_path / "rows.arrow", rows)
    again = load_token_rows(tmp_path / "rows.arrow")
    for name in ("ids", "weights", "offsets", "parents", "row_offsets"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(again, name))
    assert again.lengths.tolist() == [3, 5]
    assert again.supervised.tolist() == [2, 3]
    pair = again.segments([0, 1])
    assert [s.parent for s in pair] == [-1, -1, 1, 1]
    assert [s.instance for s in pair] == [0, 1, 1, 1]
    assert [list(s.ids) for s in pair] == [[1, 2, 3], [4, 5], [6], [7, 8]]


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=6), st.integers(2, 5))
def test_long_documents_are_cut_and_nothing_else_is_lost(documents, limit):
    rows = document_rows(documents, limit)
    pieces = [d[i : i + limit] for d in documents for i in range(0, len(d), limit)]
    kept = [piece for piece in pieces if len(piece) > 1]
    assert [list(rows.segments([r])[0].ids) for r in range(len(rows))] == kept
    assert all(rows.segments([r])[0].weights[0] == 0 for r in range(len(rows)))
    assert int(rows.supervised.sum()) == sum(len(piece) - 1 for piece in kept)


def test_no_rows_are_no_rows():
    assert len(token_rows([])) == 0
    assert len(document_rows([], 8)) == 0
