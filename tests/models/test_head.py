"""pytest tests/models/test_head.py"""

from contextlib import nullcontext

import pytest
import torch

from models.native.test_ops import EITHER, way  # noqa: F401
from regimen.models.buffers import kept_buffers
from regimen.models.head import Head, full_logits, reduce

CASES = [
    {"bias": False, "softcap": None, "scale": 1.0},
    {"bias": True, "softcap": None, "scale": 0.25},
    {"bias": False, "softcap": 3.0, "scale": 1.0},
    {"bias": True, "softcap": 2.0, "scale": 1.5},
]


def full(hidden, head):
    logits = hidden @ head.weight_VD.t()
    logits = (logits + head.bias_V if head.bias_V is not None else logits) * head.scale
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def setting(case):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(11, 6, generator=draw, dtype=torch.float64).requires_grad_()
    weight = torch.randn(37, 6, generator=draw, dtype=torch.float64).requires_grad_()
    bias = torch.randn(37, generator=draw, dtype=torch.float64).requires_grad_()
    head = Head(weight, bias if case["bias"] else None, case["softcap"], case["scale"])
    source = torch.tensor([3, 3, 0, 9, 10, 5, 7])
    target = torch.tensor([0, 36, 5, 5, 17, 2, 30])
    leaves = [hidden, weight] + ([bias] if case["bias"] else [])
    return hidden, head, source, target, leaves


def gradients(total, leaves):
    return [g.clone() for g in torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize("case", CASES)
def test_statistics_and_their_gradients_equal_full_logits(case, chunk):
    hidden, head, source, target, leaves = setting(case)
    needs = {"logp", "lse", "entropy", "mean_logit"}
    got = reduce(hidden, head, source, target, needs, chunk=chunk)
    logits = full(hidden, head)[source]
    logprob = logits.log_softmax(-1)
    expected = {
        "logp_N": logprob.gather(1, target[:, None])[:, 0],
        "lse_N": logits.logsumexp(-1),
        "entropy_N": -(logprob.exp() * logprob).sum(-1),
        "mean_logit_N": logits.mean(-1),
    }
    mix = torch.linspace(-1, 2, len(target))
    for index, (name, value) in enumerate(expected.items()):
        ours = getattr(got, name)
        torch.testing.assert_close(ours.double(), value, atol=1e-5, rtol=1e-5)
        last = index == len(expected) - 1
        ours_grad = torch.autograd.grad((ours * mix).sum(), leaves, retain_graph=not last)
        want_grad = torch.autograd.grad((value * mix).sum(), leaves, retain_graph=True)
        for a, b in zip(ours_grad, want_grad, strict=True):
            torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_forward_time_gradients_equal_full_logits(case):
    hidden, head, source, target, leaves = setting(case)
    weight = torch.tensor([1.0, 0.5, 2.0, 1.0, 0.25, 1.0, 3.0])
    got = reduce(hidden, head, source, target, {"nll_sum"}, weight_N=weight, chunk=3)
    logp = full(hidden, head)[source].log_softmax(-1).gather(1, target[:, None])[:, 0]
    torch.testing.assert_close(got.nll_sum.double(), -(logp * weight).sum(), atol=1e-5, rtol=1e-5)
    assert not got.logp_N.requires_grad
    for a, b in zip(
        gradients(got.nll_sum / 7, leaves),
        gradients(-(logp * weight).sum() / 7, leaves),
        strict=True,
    ):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_a_frozen_head_gets_no_gradient_buffer():
    hidden, head, source, target, _ = setting(CASES[0])
    frozen = Head(head.weight_VD.detach())
    reduce(hidden, frozen, source, target, {"logp"}).logp_N.sum().backward()
    assert hidden.grad is not None
    assert frozen.weight_VD.grad is None


def test_no_targets_give_zero_and_no_error():
    hidden, head, _, _, _ = setting(CASES[0])
    none = torch.zeros(0, dtype=torch.int64)
    got = reduce(hidden, head, none, none, {"nll_sum"}, weight_N=torch.zeros(0))
    assert float(got.nll_sum.detach()) == 0.0


def test_unknown_needs_are_refused():
    hidden, head, source, target, _ = setting(CASES[0])
    with pytest.raises(ValueError, match="colour"):
        reduce(hidden, head, source, target, {"colour"})
    with pytest.raises(ValueError, match="weights"):
        reduce(hidden, head, source, target, {"nll_sum"})


@EITHER
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_factor_that_is_known_beforehand_gives_the_same_gradients(case, kept, way):  # noqa: F811
    _, head, source, target, _ = setting(case)
    weight_N = torch.linspace(0.1, 2, len(target))
    results = []
    for factor in (None, 0.25):
        leaves = [torch.randn(11, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()]
        leaves += [t.detach().float().requires_grad_() for t in (head.weight_VD, head.bias_V)
                   if t is not None]  # fmt: skip
        own = Head(leaves[1], leaves[2] if case["bias"] else None, head.softcap, head.scale)
        with kept_buffers() if kept else nullcontext():
            for _ in range(2):  # the second is added to the first
                got = reduce(leaves[0], own, source, target, {"nll_sum"}, weight_N=weight_N,
                             factor=factor, chunk=3)  # fmt: skip
                (got.nll_sum * 0.25).backward()
        results.append([got.nll_sum.detach(), got.logp_N, *(leaf.grad for leaf in leaves)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_another_factor_than_was_said_is_an_error():
    hidden, head, source, target, _ = setting(CASES[0])
    got = reduce(hidden, head, source, target, {"nll_sum"}, weight_N=torch.ones(7), factor=0.5)
    with pytest.raises(RuntimeError, match=r"0\.5"):
        got.nll_sum.backward()


@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize("case", CASES)
def test_greedy_says_which_targets_are_the_likeliest(case, chunk):
    hidden, head, source, target, leaves = setting(case)
    best = full(hidden, head)[source].argmax(-1)
    target = torch.where(torch.arange(len(target)) % 2 == 0, best, target)
    got = reduce(hidden, head, source, target, {"logp", "greedy"}, chunk=chunk)
    assert got.greedy_N.tolist() == (target == best).tolist()
    assert got.greedy_N[::2].all()
    assert not got.greedy_N.requires_grad
    assert reduce(hidden, head, source, target, {"logp"}).greedy_N is None
    assert all(g.abs().sum() > 0 for g in torch.autograd.grad(got.logp_N.sum(), leaves))


def test_logits_in_another_type_are_those_of_the_whole_weight(monkeypatch):
    monkeypatch.setattr("regimen.models.head.PIECE", 6 * 10)  # ten rows of the weight
    hidden, head, *_ = setting(CASES[3])
    expected = full(hidden.float(), Head(head.weight_VD.float(), head.bias_V, 2.0, 1.5))
    found = full_logits(hidden, head, torch.float32)
    torch.testing.assert_close(found, expected.float(), atol=1e-6, rtol=1e-6)
