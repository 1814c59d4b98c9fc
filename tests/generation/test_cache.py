"""Attention of one query of each row over what its row holds."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.generation.cache import Cache
from regimen.generation.cache_int8 import Int8Cache, int8_heads
from regimen.models.segments import Call, causal_mask, explicit_attention

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
    allowed = causal_mask(1, last + 1, call.window, key.device)
    out = explicit_attention(query_HD[None, :, None], key, value, allowed, call)
    return out[0, :, 0]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, POSITIONS - 1)), min_size=1, max_size=5,
             unique_by=lambda pair: pair[0]),
    st.sampled_from([(4, 4), (4, 2), (3, 1)]),
    st.sampled_from([None, 1, 3, 50]),
    st.sampled_from([None, 0.3]),
    st.booleans(),
)  # fmt: skip
@examples(60)
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


def both(tokens=9, rows=3, key_heads=2, width=32, dtype=torch.float32):
    """The same keys and values in both kinds of cache, at drawn places."""
    draw = torch.Generator().manual_seed(tokens)
    caches = Cache(rows, POSITIONS), Int8Cache(rows, POSITIONS)
    slots = torch.randperm(rows * POSITIONS, generator=draw)[:tokens]
    key, value = torch.randn(2, tokens, key_heads, width, generator=draw).to(dtype)
    for cache in caches:
        cache.point(None, slots // POSITIONS, slots % POSITIONS)
        cache.store(0, key, value)
    return caches, slots


@given(st.integers(1, 6), st.integers(1, 3), st.floats(1e-4, 1e4), st.integers(0, 99))
def test_a_number_is_off_by_half_a_scale_of_its_token_and_head(tokens, heads, size, seed):
    x = torch.randn(tokens, heads, 8, generator=torch.Generator().manual_seed(seed)) * size
    x[0] *= 1e-3
    codes, scale = int8_heads(x)
    off = (codes.float() * scale.float()[..., None] - x).abs()
    assert (off <= scale.float()[..., None] * 0.5001).all()
    assert (scale.float() <= x.abs().amax(-1) / 125).all()


@pytest.mark.parametrize(
    ("dtype", "least"), [(torch.float32, 3.7), (torch.bfloat16, 1.85)], ids=["fp32", "bf16"]
)
def test_int8_takes_a_half_or_a_quarter_of_the_memory(dtype, least):
    (full, small), _ = both(dtype=dtype)
    assert full.nbytes == 2 * 3 * POSITIONS * 2 * 32 * dtype.itemsize
    assert full.nbytes >= least * small.nbytes


def test_attention_over_int8_is_near_that_over_the_full_cache():
    (full, small), _ = both(tokens=3 * POSITIONS)
    query = torch.randn(4, 4, 32, generator=torch.Generator().manual_seed(1))
    for cache in (full, small):
        cache.point(None, torch.tensor([2, 0, 2, 1]), torch.tensor([11, 5, 3, 0]))
    for call in (Call(None, None), Call(0.3, 4), Call(None, None, 5.0)):
        ours, theirs = small.decode(0, query, call), full.decode(0, query, call)
        error = float((ours - theirs).norm() / theirs.norm())
        assert 1e-4 < error < 0.01


def test_a_copied_row_of_int8_is_the_same():
    (_, small), _ = both(tokens=3 * POSITIONS)
    small.last[0] = torch.zeros(1)
    small.copy(0, 2, 7)
    for stored in (small.keys, small.values, small.key_scales, small.value_scales):
        assert torch.equal(stored[0][2, :7], stored[0][0, :7])
        assert not torch.equal(stored[0][2, 7:], stored[0][0, 7:])
