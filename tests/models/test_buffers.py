"""Kept buffers: the gradients of training without them, and blocks that come back."""

import copy
from contextlib import nullcontext

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.models.buffers import Buffers, kept_buffers
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.tokens.ragged import Segment, ragged_batch


def batches():
    draw = torch.Generator().manual_seed(3)
    for sizes in ((5, 9), (7,), (4, 4, 6)):
        ids = [torch.randint(61, (n,), generator=draw).tolist() for n in sizes]
        yield ragged_batch([Segment(x, [0.0, *[1.0] * (len(x) - 1)], -1) for x in ids])


def gradients(model, needs, *, kept, together=False):
    prepared = prepare(copy.deepcopy(model))
    embedding = prepared.model.get_input_embeddings()
    with kept_buffers(embedding) if kept else nullcontext():
        for _ in range(2):  # the second round finds the blocks of the first
            prepared.model.zero_grad()
            losses = []
            for batch in batches():
                out = reduce(
                    prepared.hidden(batch), prepared.head(), batch.source_row_N, batch.target_N,
                    {needs}, weight_N=batch.weight_N, chunk=4,
                )  # fmt: skip
                loss = out.nll_sum if needs == "nll_sum" else -out.logp_N.sum()
                losses.append(0.3 * loss)
                if not together:
                    losses.pop().backward()
            if together:
                torch.stack(losses).sum().backward()
    return {name: p.grad for name, p in prepared.model.named_parameters()}


@pytest.mark.matrix
@pytest.mark.parametrize("needs", ["nll_sum", "logp"])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("name", ["llama", "llama tied", "gemma2", "gpt2"])
def test_gradients_equal_those_without(name, together, needs):
    model = make(name, MODELS[name])
    expected = gradients(model, needs, kept=False, together=together)
    got = gradients(model, needs, kept=True, together=together)
    for key, gradient in expected.items():
        torch.testing.assert_close(got[key], gradient, rtol=2e-4, atol=2e-5, msg=key)


def test_rows_of_padding_get_no_gradient_from_the_input():
    embedding = torch.nn.Embedding(5, 3, padding_idx=2)
    ids = torch.tensor([1, 2, 1, 4])
    with kept_buffers(embedding):
        embedding(ids).sum().backward()
    assert embedding.weight.grad[:, 0].tolist() == [0.0, 2.0, 0.0, 0.0, 1.0]


def test_nothing_is_left_behind():
    embedding = torch.nn.Embedding(5, 3)
    with kept_buffers(embedding):
        assert len(embedding._forward_hooks) == 1
    assert not embedding._forward_hooks


def test_an_embedding_with_a_rule_of_its_own_keeps_it():
    for embedding in (torch.nn.Embedding(5, 3, sparse=True), torch.nn.Embedding(5, 3, max_norm=1)):
        with kept_buffers(embedding):
            assert not embedding._forward_hooks


def test_a_block_is_nobody_elses_until_it_is_put_back():
    buffers = Buffers()
    shape = torch.Size((2, 3))
    first, second = buffers.take(shape, torch.float32), buffers.take(shape, torch.float32)
    assert first.data_ptr() != second.data_ptr()
    buffers.put(first)
    assert buffers.take(shape, torch.float32) is first
    assert buffers.take(shape, torch.bfloat16).dtype == torch.bfloat16
