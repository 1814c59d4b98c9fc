"""Sums in the pool: torch's numbers, torch's gradients, and a plain tensor for everything else."""

import copy

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.models.forward import prepare
from regimen.models.native import pool
from regimen.models.sums import summand
from regimen.tokens.ragged import Segment, ragged_batch

SHAPE = (2, pool.LEAST // 4)


@pytest.fixture(params=[False, True], ids=["kept", "returned"])
def pooled(request):
    pool.use(returns=request.param)
    yield pool._ACTIVE.pool
    pool.stop()


@pytest.mark.parametrize("turned", [False, True])
def test_a_sum_is_torchs_and_lies_in_the_pool(turned, pooled):
    a, b = (torch.randn(SHAPE, requires_grad=True) for _ in range(2))
    output = summand(b * 2)
    found = output + a if turned else a + output
    assert type(found) is torch.Tensor
    assert len(pooled) == 1
    assert torch.equal(found, a + b * 2)
    (found * torch.arange(SHAPE[1])).sum().backward()
    assert torch.equal(a.grad, torch.arange(SHAPE[1]).expand(SHAPE).float())
    assert torch.equal(b.grad, 2 * a.grad)


def test_everything_else_is_done_with_a_plain_tensor(pooled):
    a, b = torch.randn(SHAPE), torch.randn(SHAPE, requires_grad=True)
    output = summand(b * 2)
    others = {
        "product": output * 0.5,
        "one number": a + output.sum(),
        "spread": output + a[0],
        "another type": a.double() + output,
        "a share": torch.add(a, output, alpha=2),
        "dropout": torch.nn.functional.dropout(output, 0.5),
        "rows": output[0],
        "stacked": torch.stack([output, a]),
    }
    assert {name: type(it) for name, it in others.items()} == dict.fromkeys(others, torch.Tensor)
    assert torch.equal(others["a share"], a + 2 * (b * 2))
    assert torch.equal(others["another type"], a.double() + b * 2)
    assert (output.shape, output.dtype, output.requires_grad) == (SHAPE, torch.float32, True)
    assert len(pooled) == 0


def test_small_outputs_and_those_without_gradients_or_a_pool_stay_what_they_are(pooled):
    large, small = torch.randn(SHAPE), torch.randn(3)
    assert summand(small) is small
    with torch.no_grad():
        assert summand(large) is large
    assert summand(large) is not large
    pool.stop()
    assert summand(large) is large


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["llama", "gemma2", "qwen3"])
@pytest.mark.parametrize("bf16", [False, True])
def test_models_learn_the_same_with_sums_in_the_pool(name, bf16, monkeypatch):
    monkeypatch.setattr(pool, "LEAST", 1)
    model = make(name, MODELS[name])
    ids = torch.randint(61, (50,), generator=torch.Generator().manual_seed(0)).tolist()
    batch = ragged_batch([Segment(ids, [0.0, *[1.0] * 49], -1)])

    def hidden_and_gradients():
        prepared = prepare(copy.deepcopy(model))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            hidden = prepared.hidden(batch)
        hidden.float().pow(2).sum().backward()
        of = {n: p.grad for n, p in prepared.model.named_parameters() if p.grad is not None}
        return of | {"hidden": hidden.detach()}

    expected = hidden_and_gradients()
    pool.use(returns=False)
    try:
        found = hidden_and_gradients()
    finally:
        pool.stop()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=key)
