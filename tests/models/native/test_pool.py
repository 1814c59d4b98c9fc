"""Blocks that come back when the last tensor on them is gone."""

import gc
import sys
import threading
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.models.native import pool
from regimen.models.native.pool import (
    LEAST,
    MOST,
    MOST_RETURNED,
    Pool,
    converted,
    empty,
    empty_like,
)

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
    small = empty((LEAST // 4 - 1,), torch.float32, CPU)
    most = MOST_RETURNED if pool.returns() else MOST
    large = empty((most // 4 + 1,), torch.float32, CPU)
    assert (small.shape, large.shape, len(pooled)) == ((LEAST // 4 - 1,), (most // 4 + 1,), 0)
    block = empty((most // 4,), torch.float32, CPU)
    assert len(pooled) == 1
    larger = empty((MOST // 4 + 1,), torch.float32, CPU, most=sys.maxsize)
    count = 1 if pool.returns() else 2  # where large blocks are returned, they need no pool
    assert len(pooled) == count
    pool.stop()
    heap = empty((LEAST,), torch.float32, CPU)
    assert len(pooled) == count
    del block, larger
    assert (len(heap), len(pooled)) == (LEAST, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_numbers_are_converted_into_the_pool(dtype, pooled):
    x = torch.randn(LEAST)
    given = converted(x, dtype)
    assert torch.equal(given, x.to(dtype))
    assert (given is x, len(pooled)) == (dtype == torch.float32, int(dtype != torch.float32))


calls = st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.integers(0, 9)), max_size=60)


@given(calls)
@settings(max_examples=50, deadline=None)
def test_no_two_blocks_overlap_and_all_come_back(calls):
    held, blocks = Pool(1 << 10), []
    for size, frees, which in calls:
        if frees and blocks:
            blocks.pop(which % len(blocks))
        else:
            blocks.append(held.take(size * 100))
            blocks[-1][:] = len(blocks)
        places = sorted((block.ctypes.data, block.nbytes) for block in blocks)
        assert all(a + n <= b for (a, n), (b, _) in pairwise(places))
        assert all(start % pool.ALIGNED == 0 for start, _ in places)
        assert len(held) == len(blocks)
    blocks.clear()
    assert len(held) == 0
    assert all(region.is_free for region in held._regions)
    held.clear()
    assert not held._regions


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.lists(st.integers(1, 50)))
@settings(max_examples=50, deadline=None)
def test_a_stack_takes_no_more_than_is_in_use_whatever_was_there_before(first, second):
    held = Pool(1 << 20)

    def ends(sizes):
        blocks = [held.take(size * pool.ALIGNED) for size in sizes]
        end = max(block.ctypes.data + block.nbytes for block in blocks)
        while blocks:  # as backward passes do
            blocks.pop()
        return end - held._regions[0].bytes.ctypes.data

    ends(first)
    if second:
        assert ends(second) == sum(second) * pool.ALIGNED


def test_memory_of_free_blocks_goes_back_and_that_of_others_stays():
    held = Pool()
    first, block = held.take(MOST), held.take(LEAST)
    first[:], block[:] = 1, 7
    place = first.ctypes.data
    del first
    held.clear()
    assert (block == 7).all()
    again = held.take(MOST)
    assert again.ctypes.data == place
    if sys.platform == "linux":
        assert not again.any()  # a page that the system took back is one of zeros


def test_blocks_come_back_from_other_threads_and_from_cycles(pooled):
    def drop(block):
        block.fill_(1.0)

    for _ in range(20):
        block = empty((LEAST,), torch.float32, CPU)
        thread = threading.Thread(target=drop, args=(block,))
        del block
        thread.start()
        held = [empty((LEAST,), torch.float32, CPU)]
        held.append(held)
        del held
        thread.join()
        del thread
    gc.collect()
    assert len(pooled) == 0


def test_what_was_written_to_and_is_free_is_idle_until_it_is_let_go(pooled):
    first, second = (empty((LEAST,), torch.float32, CPU) for _ in range(2))
    assert pool.idle() == 0
    del first
    assert pool.idle() == 4 * LEAST
    empty((LEAST // 2,), torch.float32, CPU)  # in its place
    assert pool.idle() == 4 * LEAST
    del second
    assert pool.idle() == 8 * LEAST
    pool.let_go()
    assert pool.idle() == 0
    pool.stop()
    assert pool.idle() == 0
