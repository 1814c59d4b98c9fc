"""Compiled loops against torch's autograd, at sizes that fill no vector and at sizes that do."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from helpers.examples import examples
from regimen.models.native import ops
from regimen.models.native.build import built

COMPILED = pytest.param(
    True, marks=pytest.mark.skipif(built().library is None, reason=built().reason), id="compiled"
)
EITHER = pytest.mark.parametrize("way", [COMPILED, pytest.param(False, id="torch")], indirect=True)


@pytest.fixture
def way(request, monkeypatch):
    monkeypatch.setattr(ops.OFF, "now", not request.param)
    assert ops.compiled() == request.param
    return request.param


def close(ours, theirs, tolerance=2e-6):
    assert ours.shape == theirs.shape
    theirs = theirs.detach()
    scale = float(theirs.abs().max()) or 1.0
    assert float((ours - theirs).abs().max()) <= tolerance * scale


def leaves(*shapes, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=draw, requires_grad=True) for shape in shapes]


@EITHER
@pytest.mark.parametrize("width", [2, 15, 16, 33, 100, 256])
def test_norm(way, width):
    x, weight, grad = leaves((2, 7, width), (width,), (2, 7, width))
    expected = F.rms_norm(x, (width,), weight, 1e-5)
    expected.backward(grad)
    with torch.no_grad():
        y, rstd = ops.rms_norm(x, weight, 1e-5)
        grad_x, grad_weight = ops.rms_norm_back(grad, x, weight, rstd, weight=True)
        close(y, expected)
        close(grad_x, x.grad, 1e-5)
        close(grad_weight, weight.grad, 1e-5)
        assert ops.rms_norm_back(grad, x, weight, rstd, weight=False)[1] is None


@EITHER
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 256), (2, 2051)])
def test_gated_activation(way, shape):
    gate, up, grad = leaves(shape, shape, shape)
    expected = F.silu(gate) * up
    expected.backward(grad)
    with torch.no_grad():
        close(ops.swiglu(gate, up), expected)
        out, grad_gate, grad_up = ops.swiglu_back(gate, up, grad.clone())
    close(out, expected)
    close(grad_gate, gate.grad)
    close(grad_up, up.grad)


@EITHER
def test_gated_activation_of_large_numbers(way):
    gate = torch.tensor([[-200.0, -90.0, -1e-30, 0.0, 90.0, 200.0]])
    up = torch.ones_like(gate)
    close(ops.swiglu(gate, up), F.silu(gate))
    _, grad_gate, _ = ops.swiglu_back(gate, up, torch.ones_like(gate))
    assert torch.isfinite(grad_gate).all()


@EITHER
@pytest.mark.parametrize("width", [2, 8, 24, 64, 80])
def test_rotation_and_back_are_transposed_matrices(way, width):
    x, y, cos, sin = (t.detach() for t in leaves((4, 3, width), (4, 3, width), *[(4, width)] * 2))
    turned, returned = x.clone(), y.clone()
    ops.rotate(turned, cos, sin)
    ops.rotate(returned, cos, sin, back=True)
    close((turned * y).sum(), (x * returned).sum(), 1e-5)
    half = torch.cat([-x[..., width // 2 :], x[..., : width // 2]], -1)
    close(turned, x * cos[:, None] + half * sin[:, None])


@EITHER
@given(
    vocabulary=st.integers(1, 70), rows=st.integers(1, 5), spread=st.sampled_from([0.1, 3.0, 60.0])
)
@examples(30)
def test_log_probabilities_and_their_gradient(way, vocabulary, rows, spread):
    (logits,) = leaves((rows, vocabulary), seed=vocabulary)
    logits = (logits.detach() * spread).requires_grad_()
    draw = torch.Generator().manual_seed(rows)
    target = torch.randint(vocabulary, (rows,), generator=draw)
    weight = torch.rand(rows, generator=draw)
    logp = logits.log_softmax(-1).gather(1, target[:, None])[:, 0]
    (-(weight * logp).sum()).backward()
    with torch.no_grad():
        kept = logits.clone()
        torch.testing.assert_close(
            ops.nll_rows(kept, target, weight, gradient=False), logp, rtol=1e-5, atol=1e-5
        )
        assert torch.equal(kept, logits)
        torch.testing.assert_close(
            ops.nll_rows(kept, target, weight, gradient=True), logp, rtol=1e-5, atol=1e-5
        )
    torch.testing.assert_close(kept, logits.grad, rtol=1e-5, atol=1e-6)


@EITHER
@pytest.mark.parametrize("vocabulary", [1, 16, 61, 1003])
def test_the_first_of_the_largest_and_the_normaliser(way, vocabulary):
    (logits,) = (t.detach() for t in leaves((6, vocabulary)))
    logits[2] = 0.5  # all the same: the first
    lse, top = ops.row_tops(logits)
    close(lse, logits.logsumexp(-1), 1e-5)
    expected = logits.argmax(-1)
    expected[2] = 0
    assert torch.equal(top, expected)


def apart(part):
    return part.clone(memory_format=torch.contiguous_format)


@EITHER
@given(vocabulary=st.integers(2, 70), cut=st.integers(1, 69), rows=st.integers(1, 5))
def test_slices_of_the_vocabulary_have_the_softmax_of_the_whole(way, vocabulary, cut, rows):
    cut = min(cut, vocabulary - 1)
    (logits,) = (t.detach() * 30 for t in leaves((rows, vocabulary), seed=vocabulary))
    largest, total = torch.full((rows,), -torch.inf), torch.zeros(rows)
    found = torch.zeros_like(logits)
    for part in (slice(0, cut), slice(cut, vocabulary)):
        here = apart(logits[:, part])
        found *= ops.softmax_slice(here, largest, total)[:, None]
        found[:, part] = here
    close(largest + total.log(), logits.logsumexp(-1), 1e-5)
    close(found / total[:, None], logits.softmax(-1), 1e-5)


@EITHER
@given(vocabulary=st.integers(2, 70), cut=st.integers(1, 69), rows=st.integers(1, 5))
def test_slices_of_the_vocabulary_have_the_gradient_of_the_whole(way, vocabulary, cut, rows):
    cut = min(cut, vocabulary - 1)
    (logits,) = (t.detach() * 3 for t in leaves((rows, vocabulary), seed=vocabulary))
    draw = torch.Generator().manual_seed(rows)
    target = torch.randint(vocabulary, (rows,), generator=draw)
    weight = torch.rand(rows, generator=draw)
    lse, parts = logits.logsumexp(-1), [apart(logits[:, :cut]), apart(logits[:, cut:])]
    for part, start in zip(parts, (0, cut), strict=True):
        ops.nll_slice(part, target - start, weight, lse)
    ops.nll_rows(logits, target, weight, gradient=True)
    close(torch.cat(parts, 1), logits, 1e-5)


@EITHER
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_go_where_they_belong(way, dtype):
    whole = torch.randn(3, 5, 8).to(dtype)
    cache = torch.zeros(7, 2, 8, dtype=dtype)
    ops.store_rows(whole[:, 1:3], cache, torch.tensor([4, 0, 6]))
    assert torch.equal(cache[[4, 0, 6]], whole[:, 1:3])
    assert not cache[[1, 2, 3, 5]].any()


@EITHER
def test_what_is_no_number_stays_none(way):
    bad = torch.ones(3, 40)
    bad[1, 7] = float("nan")
    weight = torch.ones(40)
    y, rstd = ops.rms_norm(bad, weight, 1e-5)
    assert y[1].isnan().all()
    assert rstd[[0, 2]].isfinite().all()
    assert ops.swiglu(bad, bad)[1, 7].isnan()
    logp = ops.nll_rows(bad.clone(), torch.tensor([0, 0, 0]), torch.ones(3), gradient=False)
    assert logp.isnan().tolist() == [False, True, False]


def test_other_types_and_strange_strides_are_taken_too():
    x = torch.randn(4, 32, dtype=torch.float64)
    assert not ops.compiled(x)
    assert ops.swiglu(x, x).dtype == torch.float64
    wide = torch.randn(32, 8)
    close(ops.swiglu(wide.t(), wide.t()), F.silu(wide.t()) * wide.t())
    close(ops.row_tops(wide.t())[0], wide.t().logsumexp(-1), 1e-5)
