"""pytest tests/tokens/test_store.py"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.sharing import share_prefixes
from regimen.tokens.store import load_token_rows, save_token_rows, text_rows, token_rows


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


@given(st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=12), max_size=6))
def test_texts_are_learnt_but_for_their_first_tokens(texts):
    rows = text_rows((f"text {n}", np.asarray(t, np.int32)) for n, t in enumerate(texts))
    assert [list(rows.segments([r])[0].ids) for r in range(len(rows))] == texts
    assert all(rows.segments([r])[0].weights[0] == 0 for r in range(len(rows)))
    assert int(rows.supervised.sum()) == sum(len(text) - 1 for text in texts)
    assert [rows.name(r) for r in range(len(rows))] == [f"text {n}" for n in range(len(texts))]


def test_names_survive_the_disk_sharing_and_a_split(tmp_path):
    shared = [Rendered((1,) * 9 + (i,), (0.0,) * 9 + (1.0,), f"one {i}") for i in range(2)]
    more = [Rendered((5, i, 7), (0.0, 1.0, 1.0), f"other {i}") for i in range(6)]
    rows = token_rows([*share_prefixes(shared, 2), *more])
    save_token_rows(tmp_path / "rows.arrow", rows)
    again = load_token_rows(tmp_path / "rows.arrow")
    assert [again.name(r) for r in range(3)] == ["one 0, one 1", "other 0", "other 1"]
    for part in again.split(0.5, seed=1):
        for row in range(len(part)):
            ids = part.segments([row])[0].ids
            assert part.name(row) == ("one 0, one 1" if ids[0] == 1 else f"other {ids[1]}")
    assert token_rows([Rendered((1, 2), (0.0, 1.0))]).name(0) == "row 0"


def test_no_rows_are_no_rows():
    assert len(token_rows([])) == 0
    assert len(text_rows([])) == 0
