"""Compiled loops on bf16: fp32 arithmetic on the rounded numbers, rounded once at the end."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from helpers.examples import examples
from models.native.test_ops import COMPILED, EITHER, way  # noqa: F401
from regimen.models.native import ops
from regimen.models.native.mixing import Attention
from regimen.tokens.ragged import Plan

LOW = torch.bfloat16


def some(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(LOW)


def near(ours, theirs, steps=1.0):
    """Within some steps of bf16, relative to the largest number."""
    assert ours.shape == theirs.shape
    scale = float(theirs.abs().max())
    assert float((ours.float() - theirs.float()).abs().max()) <= steps * 2**-8 * scale


@EITHER
def test_rounding_is_that_of_torch_bit_for_bit(way):  # noqa: F811
    bits = torch.arange(0, 2**31, 9973, dtype=torch.int64)
    bits = torch.cat([bits, torch.tensor([0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x7F800000, 1])])
    x = torch.cat([bits, bits + 2**31]).to(torch.uint32).view(torch.float32)
    x = torch.cat([x[x.isfinite()], torch.tensor([torch.inf, -torch.inf])])
    x = x[: len(x) // 2 * 2].view(1, -1, 2)
    one, nothing = torch.ones(1, 2), torch.zeros(1, 2)
    kept = x.isfinite()
    rounded = ops.rotate(x.clone(), one, nothing, dtype=LOW)
    assert torch.equal(rounded[kept], x.to(LOW)[kept])


@EITHER
@pytest.mark.parametrize("width", [2, 15, 16, 33, 256])
def test_norm(way, width):  # noqa: F811
    x, grad, weight = some(7, width), some(7, width, seed=1), some(width, seed=2).float()
    leaf, scale = x.float().requires_grad_(), weight.clone().requires_grad_()
    expected = F.rms_norm(leaf, (width,), scale, 1e-5)
    expected.backward(grad.float())
    for given_, dtype in ((x, None), (x, torch.float32), (x.float(), LOW)):
        y, rstd = ops.rms_norm(given_, weight, 1e-5, dtype)
        assert y.dtype == (dtype or LOW)
        assert rstd.dtype == torch.float32
        near(y, expected.detach())
        for of_out in (grad, grad.float()):
            grad_x, grad_weight = ops.rms_norm_back(of_out, given_, weight, rstd, weight=True)
            assert grad_x.dtype == given_.dtype
            near(grad_x, leaf.grad)
            torch.testing.assert_close(grad_weight, scale.grad, rtol=1e-4, atol=1e-4)


@EITHER
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 256), (2, 2051)])
def test_gated_activation(way, shape):  # noqa: F811
    gate, up, grad = (some(*shape, seed=i) for i in range(3))
    leaves = [x.float().requires_grad_() for x in (gate, up)]
    expected = F.silu(leaves[0]) * leaves[1]
    expected.backward(grad.float())
    near(ops.swiglu(gate, up), expected.detach(), 3)
    out, *grads = ops.swiglu_back(gate, up, grad.clone())
    near(out, expected.detach(), 3)
    for ours, leaf in zip(grads, leaves, strict=True):
        assert ours.dtype == LOW
        near(ours, leaf.grad, 3)


@EITHER
@pytest.mark.parametrize("width", [2, 8, 24, 64])
def test_rotation(way, width):  # noqa: F811
    x, cos, sin = some(4, 3, width), some(4, width, seed=1).float(), some(4, width, seed=2).float()
    for back in (False, True):
        exact = ops.rotate(x.float(), cos, sin, back=back)
        near(ops.rotate(x.clone(), cos, sin, back=back), exact, 3)
        near(ops.rotate(x.float(), cos, sin, back=back, dtype=LOW), exact, 1)


@EITHER
@given(vocabulary=st.integers(1, 70), rows=st.integers(1, 5), spread=st.sampled_from([0.1, 3.0]))
@examples(30)
def test_log_probabilities_and_their_gradient(way, vocabulary, rows, spread):  # noqa: F811
    logits = some(rows, vocabulary, seed=vocabulary) * spread
    target = torch.randint(vocabulary, (rows,), generator=torch.Generator().manual_seed(rows))
    weight = torch.rand(rows, generator=torch.Generator().manual_seed(rows))
    exact, kept = logits.float(), logits.clone()
    expected = ops.nll_rows(exact, target, weight, gradient=True)
    for gradient in (False, True):
        assert torch.equal(kept, logits)
        found = ops.nll_rows(kept, target, weight, gradient=gradient)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(kept.float(), exact, rtol=2**-8, atol=1e-6)


@EITHER
@pytest.mark.parametrize("shape", [(1, 1), (5, 16), (7, 1003)])
def test_sums(way, shape):  # noqa: F811
    total, part = some(*shape).float(), some(*shape, seed=1)
    expected = total + 0.5 * part.float()
    ops.accumulate(total, part, 0.5, add=True)
    torch.testing.assert_close(total, expected)
    total.fill_(torch.nan)
    ops.accumulate(total, part, 2.0, add=False)
    torch.testing.assert_close(total, 2 * part.float())


@pytest.mark.parametrize("way", [COMPILED], indirect=True)
@pytest.mark.parametrize("width", [4, 16, 40])
def test_attention_of_rounded_numbers_is_that_of_the_same_in_fp32(way, width):  # noqa: F811
    plan = Plan((40, 9, 30), (-1, 0, -1))
    query, key, value = some(79, 4, width), some(79, 2, width, seed=1), some(79, 2, width, seed=2)
    grad = some(79, 4, width, seed=3)
    mix = Attention(plan, 0.3)
    exact, sums = mix.forward(query.float(), key.float(), value.float())
    out, lse = mix.forward(query, key, value)
    assert out.dtype == LOW
    assert torch.equal(out, exact.to(LOW))
    assert torch.equal(lse, sums)
    again = mix.gradients(*(x.float() for x in (query, key, value, out)), lse, grad.float())
    for ours, theirs in zip(mix.gradients(query, key, value, out, lse, grad), again, strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs)


def test_torch_attends_in_fp32_where_nothing_is_compiled(monkeypatch):
    plan = Plan((40, 9), (-1, -1))
    query, key, value, grad = some(49, 4, 16), *(some(49, 2, 16, seed=i) for i in (1, 2)), None
    mix = Attention(plan, 0.3)
    exact, sums = mix.forward(query.float(), key.float(), value.float())
    monkeypatch.setattr(ops.OFF, "now", True)
    out, lse = mix.forward(query, key, value)
    assert out.dtype == LOW
    near(out, exact)
    torch.testing.assert_close(lse, sums, rtol=1e-5, atol=1e-5)
    grad = some(49, 4, 16, seed=3)
    grads = mix.gradients(query, key, value, out, lse, grad)
    assert {g.dtype for g in grads} == {torch.float32}
