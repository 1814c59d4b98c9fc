"""The few rows that contracts are checked on."""

from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.sharing import RenderedShared
from regimen.tokens.store import token_rows
from regimen.verifying.rows import (
    LEAST,
    beginning_alike,
    made_alike,
    one_batch,
    paths,
    size,
    spread,
    supervised,
    targets,
    varied,
)


def row(length, start=0):
    ids = tuple(range(start, start + length))
    return Rendered(ids, (0.0,) * (length // 2) + (1.0,) * (length - length // 2))


@given(st.lists(st.integers(2, 400), min_size=1, max_size=60))
def test_few_rows_of_varied_lengths(lengths):
    given = [row(length) for length in lengths]
    chosen = varied(given, 12, 900)
    sizes = [size(one) for one in chosen]
    assert sizes == sorted(sizes)
    assert 1 <= len(chosen) <= 12
    assert sizes[0] == min(lengths)
    if len(lengths) > 1:
        assert sizes[-1] == max(lengths)
    assert sum(sizes) <= 900 or len(chosen) <= LEAST
    assert len({id(one) for one in chosen}) == len(chosen)


def test_rows_that_teach_nothing_are_left_out():
    assert varied([Rendered((1, 2, 3), (0.0, 0.0, 0.0))]) == []


def test_a_row_as_its_sequences():
    pair = RenderedPair((1, 2), (3,), (4, 5))
    assert paths(pair) == [
        Rendered((1, 2, 3), (0.0, 0.0, 1.0)),
        Rendered((1, 2, 4, 5), (0.0, 0.0, 1.0, 1.0)),
    ]
    shared = RenderedShared((1, 2), (Rendered((3, 4), (0.0, 0.5)), Rendered((5,), (1.0,))))
    assert paths(shared) == [
        Rendered((1, 2, 3, 4), (0.0, 0.0, 0.0, 0.5)),
        Rendered((1, 2, 5), (0.0, 0.0, 1.0)),
    ]
    assert (size(pair), size(shared), supervised([pair, shared])) == (5, 5, 5)
    assert [t.tolist() for t in targets(paths(shared)[0])] == [[2], [4], [0.5]]


def test_sequences_and_batch_have_their_targets_in_one_order():
    rows = [RenderedPair((1, 2), (3,), (4, 5)), row(6, 10), RenderedPair((6,), (7, 8), (9,))]
    written_out = [int(i) for one in rows for path in paths(one) for i in targets(path)[1]]
    assert one_batch(rows).target_N.tolist() == written_out
    assert int(token_rows(rows).supervised.sum()) == supervised(rows)


def test_rows_that_begin_alike_are_found_and_others_made():
    alike = [Rendered((*range(20), 30 + i), (0.0,) * 20 + (1.0,)) for i in range(3)]
    (group,) = beginning_alike([*alike, row(9, 50)])
    assert sorted(paths(group), key=lambda path: path.ids) == alike
    assert beginning_alike([row(9, 50), row(9, 70)]) == []
    (made,) = made_alike([row(3), row(8), row(10, 50)])
    assert made.prefix == tuple(range(50, 55))
    assert [rest.ids for rest in made.rests] == [tuple(range(55, 60)), tuple(range(4, 8))]
    assert made_alike([row(3)]) == []


@given(st.integers(1, 500), st.integers(1, 50))
def test_places_are_spread_without_repeats(count, most):
    places = spread(count, 10, 10 * most).tolist()
    assert places == sorted(set(places))
    assert len(places) == min(count, most)
    assert places[0] == 0
    assert len(places) == 1 or places[-1] == count - 1
