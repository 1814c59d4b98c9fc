"""Attention of one query of each row over what its row holds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.generation.cache import Cache
from regimen.models import attention
from regimen.models.attention import Call

POSITIONS = 12


def filled(rows, key_heads, width, value_width=None):
    """A cache whose rows hold random numbers, and what stands nowhere yet is no number."""
    cache = Cache(rows, POSITIONS)
    draw = torch.Generator().manual_seed(rows)
    shape = (rows, POSITIONS, key_heads)
    cache.keys[0] = torch.randn(*shape, width, generator=draw)
    cache.values[0] = torch.randn(*shape, value_width or width, generator=draw)
    return cache


def expected(cache, query_HD, row, last, call):
    """Written out, from the row's own positions alone."""
    key, value = (
        stored[0][row, : last + 1].transpose(0, 1)[None] for stored in (cache.keys, cache.values)
    )
    allowed = attention.causal_mask(1, last + 1, call.window, key.device)
    out = attention.explicit_attention(query_HD[None, :, None], key, value, allowed, call)
    return out[0, :, 0]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, POSITIONS - 1)), min_size=1, max_size=5,
             unique_by=lambda pair: pair[0]),
    st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    st.sampled_from([None, 1, 3, 50]),
    st.sampled_from([None, 0.3]),
    st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_each_row_sees_its_own_positions(rows, heads, window, scaling, capped):
    heads, key_heads = heads
    cache = filled(5, key_heads, 6, 4)
    row_T = torch.tensor([row for row, _ in rows])
    last_T = torch.tensor([last for _, last in rows])
    for row in range(5):
        beyond = dict(rows).get(row, -1) + 1
        cache.keys[0][row, beyond:] = float("nan")
        cache.values[0][row, beyond:] = float("nan")
    cache.point(None, row_T, last_T)
    call = Call(scaling, window, 5.0 if capped else None)
    query = torch.randn(len(rows), heads, 6, generator=torch.Generator().manual_seed(0))
    out = cache.decode(0, query, call)
    for index, (row, last) in enumerate(rows):
        torch.testing.assert_close(out[index], expected(cache, query[index], row, last, call))


def test_new_keys_stand_where_the_cache_points():
    cache = filled(3, 2, 6)
    before = cache.keys[0].clone()
    cache.point(None, torch.tensor([2, 0]), torch.tensor([5, 1]))
    key, value = torch.randn(2, 2, 2, 6)
    cache.attend(0, torch.randn(2, 4, 6), key, value, Call())
    assert torch.equal(cache.keys[0][2, 5], key[0])
    assert torch.equal(cache.values[0][0, 1], value[1])
    before[2, 5], before[0, 1] = key
    assert torch.equal(cache.keys[0], before)


@pytest.mark.parametrize("capped", [False, True])
def test_queries_of_some_tokens_of_a_flat_batch(capped):
    cache = filled(2, 2, 6)
    cache.point(None, torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 1, 2, 0, 1]))
    query = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(0))
    call = Call(softcap=5.0 if capped else None)
    out = cache.decode(0, query, call, torch.tensor([2, 4]))
    for index, last in enumerate((2, 1)):
        torch.testing.assert_close(out[index], expected(cache, query[index], index, last, call))
