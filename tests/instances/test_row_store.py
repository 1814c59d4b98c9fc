"""Rows in little memory: pytest tests/instances/test_row_store.py."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances import row_store
from regimen.instances.row_store import RowStore
from regimen.records import Task

values = st.none() | st.integers() | st.text(max_size=4) | st.lists(st.text(max_size=2), max_size=2)
rows = st.lists(st.dictionaries(st.text(max_size=2), values, max_size=3), max_size=12)


@given(rows, st.integers(1, 5), st.integers(-14, 14), st.integers(-14, 14))
def test_it_reads_like_a_tuple(
    given_rows: list[dict[str, object]], block: int, start: int, place: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_store, "BLOCK", block)
        store, plain = RowStore(given_rows), tuple(given_rows)
        assert (len(store), tuple(store), store[start:place]) == (
            len(plain), plain, plain[start:place],
        )  # fmt: skip
        assert store == plain
        assert plain == store
        assert store == RowStore(plain)
        assert store != (*plain, {})
        assert store != "text"
        if -len(plain) <= place < len(plain):
            assert store[place] == plain[place]
        else:
            with pytest.raises(IndexError):
                store[place]
        assert pickle.loads(pickle.dumps(store)) == plain


def test_tasks_with_equal_rows_are_equal() -> None:
    given_rows = [{"input": str(n), "output": "x"} for n in range(1200)]
    store = RowStore(given_rows)
    assert Task(name="t", instances=store) == Task(name="t", instances=tuple(given_rows))
    store.append({"input": "one more"})
    assert Task(name="t", instances=store) != Task(name="t", instances=tuple(given_rows))
    assert "1201 rows" in repr(store)


def test_packed_rows_take_a_fraction_of_the_room() -> None:
    given_rows = [{"input": f"the word number {n} " * 9, "output": str(n)} for n in range(5120)]
    packed = sum(map(len, RowStore(given_rows)._blocks))
    assert packed < 0.2 * sum(len(str(row)) for row in given_rows)
