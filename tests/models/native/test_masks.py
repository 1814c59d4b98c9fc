"""Masks drawn by the compiled loop are those of torch, whose generator goes on from there."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimen.models.native import masks, ops

needs_kernels = pytest.mark.skipif(bool(ops.why_not()), reason=ops.why_not() or "compiled")


@needs_kernels
@given(
    seed=st.integers(0, 2**63 - 1),
    before=st.integers(0, 1300),
    sizes=st.lists(st.integers(0, 1500), max_size=3),
    share=st.sampled_from([0.0, 1e-9, 0.05, 0.3, 0.5, 0.95, 1.0 - 1e-9, 1.0]),
)
def test_masks_and_generator_are_those_of_torch(seed, before, sizes, share):
    if not masks._as_torch():
        pytest.skip("this build of torch draws Bernoulli numbers with another generator")
    found = []
    for draw in (masks._draw, torch.Tensor.bernoulli_):
        torch.manual_seed(seed)
        torch.empty(before, dtype=torch.int32).random_()  # one word each
        drawn = [torch.empty(size, dtype=torch.bool) for size in sizes]
        for mask in drawn:
            draw(mask, share)
        found.append((drawn, torch.get_rng_state(), torch.rand(3)))
    (ours, state, more), (theirs, expected, others) = found
    assert all(a.equal(b) for a, b in zip(ours, theirs, strict=True))
    assert state.equal(expected)
    assert more.equal(others)


@needs_kernels
def test_another_generator_of_torch_is_noticed(monkeypatch):
    masks._as_torch.cache_clear()
    drawn = masks._draw

    def other(mask, share):
        torch.rand(1)
        drawn(mask, share)

    monkeypatch.setattr(masks, "_draw", other)
    before = torch.get_rng_state()
    try:
        assert not masks._as_torch()
        assert torch.get_rng_state().equal(before)
        torch.manual_seed(3)
        masks.draw_kept(mask := torch.empty(50, dtype=torch.bool), 0.5)
        torch.manual_seed(3)
        assert mask.equal(torch.empty(50, dtype=torch.bool).bernoulli_(0.5))
    finally:
        masks._as_torch.cache_clear()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("size", [1, 37, 5000])
def test_thinned(size, dtype, compiled, monkeypatch):
    monkeypatch.setattr(ops.OFF, "now", not compiled)
    x, total = torch.randn(size, dtype=dtype), torch.randn(size, dtype=dtype)
    kept = torch.rand(size) < 0.7
    expected = x.double() * kept * 1.25
    close = {"rtol": 1e-2, "atol": 1e-2} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(masks.thinned(x, kept, 1.25), expected.to(dtype), **close)
    grown = total.clone()
    masks.add_thinned(grown, x, kept, 1.25)
    torch.testing.assert_close(grown, (total.double() + expected).to(dtype), **close)


def test_thinned_keeps_what_is_not_finite_where_it_is_dropped():
    x = torch.tensor([float("inf"), 1.0, float("nan")])
    found = masks.thinned(x, torch.tensor([False, False, True]), 2.0)
    assert found.isnan().tolist() == [True, False, True]
