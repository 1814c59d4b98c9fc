"""Memory of the head reducer against the vocabulary, by the blocks that are alive."""

from contextlib import nullcontext

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from regimen.models.buffers import kept_buffers
from regimen.models.head import Head, chunk_rows, reduce

ROWS, WIDTH = 128, 8
ELEMENTS = 1 << 19
"""Numbers of a chunk: fewer than the reducer takes by itself, so that little has to be computed."""
WAYS = [("nll_sum", False, 1), ("nll_sum", True, 0), ("logp", False, 1), ("logp", True, 0)]
"""What is asked for, whether training keeps its blocks, and how many blocks of the head's size
there are beside its gradient: the sum over the chunks of a micro-batch, before it is added."""


class Blocks(TorchDispatchMode):
    """Bytes of every block that an operation makes, and of those alive together at most."""

    def __init__(self):
        super().__init__()
        self.alive, self.sizes, self.peak = {}, [], 0
        self.given = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for made in out if isinstance(out, tuple | list) else [out]:
            if isinstance(made, torch.Tensor):
                self._note(made.untyped_storage())
        return out

    def _note(self, storage):
        key = storage._cdata
        if storage.data_ptr() in self.given:
            return
        known = self.alive.get(key)
        if known is not None and not known[0].expired():
            return
        self.alive = {k: v for k, v in self.alive.items() if not v[0].expired()}
        self.alive[key] = (StorageWeakRef(storage), storage.nbytes())
        self.sizes.append(storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))


def measured(vocabulary, need, kept):
    """Blocks of the second micro-batch of a step; the gradients of the first are there."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=draw).requires_grad_()
    weight = torch.randn(vocabulary, WIDTH, generator=draw).requires_grad_()
    target = torch.randint(vocabulary, (ROWS,), generator=draw)
    share = torch.ones(ROWS)
    blocks = Blocks()

    def step():
        found = reduce(
            hidden,
            Head(weight),
            torch.arange(ROWS),
            target,
            {need},
            weight_N=share,
            factor=1.0 if need == "nll_sum" else None,
            chunk=chunk_rows(vocabulary, 4, 4 * ELEMENTS),
        )
        total = found.nll_sum if need == "nll_sum" else -found.logp_N.sum()
        total.backward()

    with kept_buffers() if kept else nullcontext():
        step()
        given = (hidden, weight, target, share, hidden.grad, weight.grad)
        blocks.given = {tensor.untyped_storage().data_ptr() for tensor in given}
        with blocks:
            step()
    return blocks


@pytest.mark.parametrize(("need", "kept", "spare"), WAYS)
def test_memory_does_not_grow_with_the_vocabulary_beyond_the_head(need, kept, spare):
    peaks = {}
    for vocabulary in (1 << 13, 1 << 15):
        blocks = measured(vocabulary, need, kept)
        head = vocabulary * WIDTH * 4
        assert max(blocks.sizes) <= max(ELEMENTS * 4, head)
        largest = max(blocks.sizes)
        peaks[vocabulary] = blocks.peak - spare * head
    assert 8 * largest <= ROWS * vocabulary * 4  # all logits of the larger vocabulary
    small, large = peaks.values()
    assert large <= 1.1 * small


@pytest.mark.parametrize("vocabulary", [1 << n for n in range(13, 19)])
def test_a_chunk_is_a_small_part_of_all_logits(vocabulary):
    of_a_thousand_rows = 1024 * vocabulary
    assert chunk_rows(vocabulary) * vocabulary <= max(of_a_thousand_rows // 8, 1 << 23)
