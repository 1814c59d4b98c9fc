"""Blocks that come back when the last tensor on them is gone."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.models.native import pool
from regimen.models.native.pool import LEAST, MOST, MOST_RETURNED, Pool, empty, empty_like

CPU = torch.device("cpu")


@pytest.fixture(params=[False, True], ids=["kept", "returned"])
def pooled(request):
    pool.use(returns=request.param)
    yield pool._ACTIVE.pool
    pool.stop()


def test_a_block_is_used_again_once_nobody_has_it(pooled):
    first = empty((3, LEAST), torch.bfloat16, CPU)
    place, view = first.data_ptr(), first[1]
    assert (first.shape, first.dtype, first.is_contiguous()) == ((3, LEAST), torch.bfloat16, True)
    del first
    assert empty((3, LEAST), torch.bfloat16, CPU).data_ptr() != place  # the view is on it still
    del view
    kept = [empty_like(torch.empty(3, LEAST // 2), torch.float32) for _ in range(2)]
    assert place in [block.data_ptr() for block in kept]
    assert kept[0].data_ptr() % pool.ALIGNED == 0


def test_autograd_may_keep_a_block_and_write_to_it(pooled):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.mul(x, 2, out=empty_like(x))

        @staticmethod
        def backward(ctx, grad):
            return torch.mul(grad, 2, out=empty_like(grad))

    x = torch.ones(LEAST, requires_grad=True)
    y = Double.apply(x)
    y += 1  # an output that were a view could not be changed
    (y * y).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 12.0))


def test_small_and_large_blocks_and_processes_without_a_pool_go_to_the_heap(pooled):
    empty((LEAST // 4 - 1,), torch.float32, CPU)
    most = MOST_RETURNED if pool.returns() else MOST
    empty((most // 4 + 1,), torch.float32, CPU)
    assert pooled.free_bytes == 0
    empty((most // 4,), torch.float32, CPU)
    assert pooled.free_bytes == most
    pool.use(returns=True)  # lets go of them
    pool.stop()
    assert empty((LEAST,), torch.float32, CPU).shape == (LEAST,)
    assert pooled.free_bytes == 0


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=40))
@settings(max_examples=50, deadline=None)
def test_little_more_is_held_than_was_in_use_at_once(calls):
    held, blocks, most = Pool(), [], 0
    for size, frees in calls:
        if frees and blocks:
            blocks.pop(0)
        else:
            blocks.append(held.take(size * 64))
        in_use = sum(block.nbytes for block in blocks)
        most = max(most, in_use)
        assert held.free_bytes <= pool.SPARE * most - in_use
        starts = sorted((block.ctypes.data, block.nbytes) for block in blocks)
        assert all(a + n <= b for (a, n), (b, _) in pairwise(starts))
