"""Kept buffers: the gradients of training without them, and blocks that come back."""

import copy
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.small_models import MODELS, make
from regimen.models.buffers import Buffers, kept_buffers, kept_now, rows_wait
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


@given(
    st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=6), min_size=1, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_rows_that_wait_are_in_the_gradient_at_the_end_of_the_step(batches, whole):
    """Whatever else writes to it between: here a product with the matrix itself."""
    embedding = torch.nn.Embedding(40, 3)
    plain = copy.deepcopy(embedding)
    with kept_buffers(embedding):
        for _ in range(2):  # the second step finds the blocks of the first
            plain.weight.grad = embedding.weight.grad = None
            with rows_wait():
                for ids, also in zip(batches, whole, strict=False):
                    for one in (embedding, plain):
                        loss = (one(torch.tensor(ids)) * torch.arange(3)).sum()
                        (loss + (one.weight.sum() if also else 0.0)).backward()
            torch.testing.assert_close(embedding.weight.grad, plain.weight.grad)


@rows_wait()
def fails_after_backward(embedding):
    embedding(torch.arange(8)).sum().backward()
    raise ZeroDivisionError


def test_rows_wait_until_they_are_many_and_are_forgotten_after_an_error():
    embedding = torch.nn.Embedding(40, 3)
    with kept_buffers(embedding):
        buffers = kept_now()
        with rows_wait():
            embedding(torch.arange(8)).sum().backward()
            assert embedding.weight.grad is None
            embedding(torch.arange(8)).sum().backward()
            assert embedding.weight.grad.sum() == 48
        embedding.weight.grad = None
        with pytest.raises(ZeroDivisionError):
            fails_after_backward(embedding)
        buffers.settle()
        assert embedding.weight.grad is None
        embedding(torch.arange(8)).sum().backward()  # outside, nothing waits
        assert embedding.weight.grad.sum() == 24


def test_a_gradient_that_somebody_asks_for_has_the_rows_that_wait():
    embedding = torch.nn.Embedding(40, 3)
    with kept_buffers(embedding), rows_wait():
        embedding(torch.arange(8)).sum().backward()
        gradient, missing = kept_now().gradient(embedding.weight)
        assert not missing
        assert gradient.sum() == 24
