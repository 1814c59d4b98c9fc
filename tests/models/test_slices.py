"""The head by slices of the vocabulary beside the head by chunks of rows."""

import pytest
import torch

from models.native.test_ops import EITHER, way  # noqa: F401
from regimen.models.buffers import kept_buffers
from regimen.models.differences import relative_difference
from regimen.models.head import Head, reduce
from regimen.models.slices import SlicedGradients

ROWS, WIDTH, VOCABULARY = 37, 24, 331


def leaves(dtype):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=draw).to(dtype)
    weight = (torch.randn(VOCABULARY, WIDTH, generator=draw) / 3).to(dtype)
    target = torch.randint(VOCABULARY, (ROWS,), generator=draw)
    share = torch.rand(ROWS, generator=draw)
    return hidden.requires_grad_(), weight.requires_grad_(), target, share


def exact(hidden, weight, target, share):
    """In fp64, from logits that are as the products give them."""
    low, matrix = (t.detach().double().requires_grad_() for t in (hidden, weight))
    logits = low @ matrix.t()
    logp = logits.log_softmax(-1).gather(1, target[:, None])[:, 0]
    (-(logp * share).sum()).backward()
    return logp.detach(), low.grad, matrix.grad


@EITHER
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("size", [1, 1 << 13, 1 << 20])
def test_loss_and_gradients_are_those_of_full_logits(way, dtype, tolerance, size):  # noqa: F811
    hidden, weight, target, share = leaves(dtype)
    with torch.no_grad():
        grads = SlicedGradients(hidden, weight, target, share, dtype=dtype, size=size)
    found = (grads.logp_N, *grads.scaled()[:2])
    for ours, theirs in zip(found, exact(hidden, weight, target, share), strict=True):
        assert relative_difference(ours, theirs) <= tolerance
    assert [g.dtype for g in found] == [torch.float32, dtype, dtype]


def summed(sliced, *, kept, needs=("nll_sum",)):
    """Loss and gradients of two micro-batches of one step."""
    hidden, weight, target, share = leaves(torch.bfloat16)
    total = 0.0
    with kept_buffers() if kept else torch.enable_grad():
        for rows in (torch.arange(0, 20), torch.arange(20, ROWS)):
            found = reduce(
                hidden, Head(weight, sliced=sliced), rows, target[rows], needs,
                weight_N=share[rows], factor=0.25,
            )  # fmt: skip
            (found.nll_sum * 0.25).backward()
            total += float(found.nll_sum.detach())
    return torch.tensor(total), hidden.grad, weight.grad


@pytest.mark.parametrize("kept", [False, True])
def test_a_head_that_is_asked_for_slices_gives_what_chunks_give(kept):
    for ours, theirs in zip(summed(True, kept=kept), summed(False, kept=kept), strict=True):
        assert ours.dtype == theirs.dtype
        assert relative_difference(ours, theirs) <= 1e-2


@pytest.mark.parametrize(
    "other", [{"softcap": 3.0}, {"scale": 0.5}, {"bias_V": torch.zeros(VOCABULARY)}]
)
def test_heads_that_do_more_than_multiply_go_by_chunks(other, monkeypatch):
    monkeypatch.setattr("regimen.models.head.SlicedGradients", None)  # calling it would fail
    hidden, weight, target, share = leaves(torch.bfloat16)
    rows = torch.arange(ROWS)
    head = Head(weight, sliced=True, **other)
    found = reduce(hidden, head, rows, target, {"nll_sum"}, weight_N=share, factor=1.0)
    found.nll_sum.backward()
    assert weight.grad.any()
