"""Blocks of the projection to the vocabulary: pytest tests/models/test_chunks.py."""

import pytest
import torch

from helpers.pooled import taken_from_pool
from regimen.models.head import Head, reduce

ROWS, WIDTH, VOCABULARY = 256, 128, 1024


def gradients(*, merged):
    """Of hidden rows and weight; with ``merged`` the head is made anew of the weight."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=draw).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=draw).requires_grad_(merged)
    head = Head(weight * 1.0 if merged else weight)
    target = torch.randint(VOCABULARY, (ROWS,), generator=draw)
    found = reduce(
        hidden, head, torch.arange(ROWS), target, {"nll_sum"}, weight_N=torch.ones(ROWS), chunk=128
    )
    assert found.nll_sum is not None
    found.nll_sum.backward()
    return [x.grad for x in (hidden, weight)]


@pytest.mark.parametrize("merged", [False, True])
def test_a_head_whose_memory_training_does_not_keep_has_its_blocks_from_the_pool(merged):
    """As one with rows that are trained and others that are not, which is made anew each time."""
    with taken_from_pool() as taken:
        found = gradients(merged=merged)
    products, of_hidden, of_weight = 4 * 128 * VOCABULARY, 4 * ROWS * WIDTH, 4 * VOCABULARY * WIDTH
    for size in (products, of_hidden, *([of_weight] if merged else [])):
        assert size in taken
    for one, other in zip(found, gradients(merged=merged), strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=0, atol=0)
