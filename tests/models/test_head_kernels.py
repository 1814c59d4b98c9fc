"""pytest tests/models/test_head_kernels.py

Kernels of other projects in the head reducer: which calls they get, that these are calls which the
installed library knows, and, by the library's form for other devices, what comes out.
"""

import inspect
import math
from importlib.util import find_spec

import pytest
import torch

from regimen.models import head_kernels
from regimen.models.head import Head, reduce
from regimen.models.head_kernels import CUT, EXACT, Asked, kernel_for

LIBRARY = find_spec("cut_cross_entropy") is not None
needs_library = pytest.mark.skipif(not LIBRARY, reason="cut-cross-entropy is not installed")


def written_out(
    e, c, targets, bias=None, ignore_index=-100, softcap=None, reduction="mean", shift=0,
    return_lse=False, filter_eps="auto", accum_e_fp32=False, accum_c_fp32=False,
    filter_e_grad=True, filter_c_grad=True, impl="cce", vocab_parallel_options=None,
):  # fmt: skip
    """The parameters of cut-cross-entropy 25.6.4, in torch's operators."""
    logits = (e @ c.t()).float()
    logits = logits if bias is None else logits + bias.float()
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction=reduction)
    return (nll, logits.logsumexp(-1)) if return_lse else nll


def cut_as(monkeypatch, function, device="cpu"):
    head_kernels._cut_lacks.cache_clear()
    monkeypatch.setattr(head_kernels, "_cut", lambda: function)
    monkeypatch.setattr(head_kernels, "_is_installed", lambda kernel: True)
    monkeypatch.setattr(head_kernels, "KERNELS", {device: (CUT,)})


@pytest.fixture(autouse=True)
def _fresh():
    yield
    head_kernels._cut_lacks.cache_clear()


def setting(dtype=torch.bfloat16, rows=9):
    draw = torch.Generator().manual_seed(0)
    hidden, weight = (
        torch.randn(*shape, generator=draw).to(dtype).requires_grad_()
        for shape in ((rows, 6), (37, 6))
    )
    return hidden, weight, torch.randint(37, (rows,), generator=draw)


def asked(needs=("logp",), dtype=torch.bfloat16, rows=9, **finish):
    hidden, weight, _ = setting(dtype, rows)
    return Asked(hidden, weight, None, Head(weight, **finish), frozenset(needs), dtype)


def results(needs, softcap):
    hidden, weight, target = setting()
    bias = torch.linspace(-1, 1, 37, dtype=torch.bfloat16).requires_grad_()
    mix = torch.linspace(-1, 2, len(target))
    got = reduce(hidden, Head(weight, bias, softcap), torch.arange(9), target, needs)
    total = (got.logp_N * mix).sum()
    if "lse" in needs:
        total = total + (got.lse_N**2).sum()
    total.backward()
    return [got.logp_N.detach(), hidden.grad, weight.grad, bias.grad]


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("needs", [{"logp"}, {"logp", "lse"}])
def test_what_a_kernel_gives_is_what_the_reducer_gives(needs, softcap, monkeypatch):
    calls = []

    def counted(*args, **more):
        calls.append(more)
        return written_out(*args, **more)

    counted.__signature__ = inspect.signature(written_out)
    expected = results(needs, softcap)
    cut_as(monkeypatch, counted)
    for a, b in zip(results(needs, softcap), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
    assert len(calls) == 1
    assert calls[0].items() >= EXACT.items()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (asked(needs=("logp", "entropy")), "more than"),
        (asked(needs=("logp", "greedy")), "more than"),
        (asked(scale=0.5), "factor"),
        (asked(dtype=torch.float32), "16 bits"),
        (asked(rows=0), "no rows"),
    ],
)
def test_calls_that_a_kernel_does_not_get(given, reason, monkeypatch):
    cut_as(monkeypatch, written_out)
    assert kernel_for(asked(softcap=2.0)) is CUT
    assert reason in CUT.refuses(given)
    assert kernel_for(given) is None


def test_weighted_sums_go_the_reducers_way(monkeypatch):
    cut_as(monkeypatch, lambda *args, **more: pytest.fail("it was called"))
    hidden, weight, target = setting()
    got = reduce(hidden, Head(weight), torch.arange(9), target, {"nll_sum"}, weight_N=torch.ones(9))
    assert math.isfinite(float(got.nll_sum.detach()))


def test_a_version_that_rounds_its_sums_is_not_used_and_that_is_told(monkeypatch):
    def older(e, c, targets, ignore_index=-100, softcap=None, reduction="mean", shift=False,
              filter_eps="high", impl="cce"):  # fmt: skip
        """The parameters of cut-cross-entropy 25.1.1."""

    cut_as(monkeypatch, older, "cuda")
    monkeypatch.setattr(head_kernels, "version", lambda name: "25.1.1")
    assert CUT.lacks() == "it has no accum_c_fp32, accum_e_fp32, return_lse"
    told = head_kernels.in_words(torch.device("cuda", 0))
    assert "not cut-cross-entropy 25.1.1: it has no accum_c_fp32" in told
    assert kernel_for(asked()) is None


def test_what_is_used_is_told_on_accelerators_alone(monkeypatch):
    cut_as(monkeypatch, written_out, "cuda")
    monkeypatch.setattr(head_kernels, "version", lambda name: "25.6.4")
    told = head_kernels.in_words(torch.device("cuda", 0))
    assert told.endswith("; cut-cross-entropy 25.6.4 where it does the same")
    assert head_kernels.in_words(torch.device("cpu")) == ""


def test_deterministic_algorithms_leave_kernels_without_order_out(monkeypatch):
    cut_as(monkeypatch, written_out)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    assert kernel_for(asked()) is None


@needs_library
def test_the_installed_function_knows_the_call_or_is_refused():
    from cut_cross_entropy import linear_cross_entropy

    signature = inspect.signature(linear_cross_entropy)
    given = {"e": 1, "c": 2, "targets": 3, "bias": None, "softcap": None, **EXACT}
    if CUT.lacks():
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            signature.bind(**given)
    else:
        signature.bind(**given)


@needs_library
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("softcap", [None, 3.0])
def test_the_installed_function_gives_what_the_reducer_gives(softcap, monkeypatch):
    from cut_cross_entropy import linear_cross_entropy

    if CUT.lacks():
        pytest.skip(CUT.lacks())
    expected = results({"logp", "lse"}, softcap)
    here = {"impl": "torch_compile"}  # the form for devices without its kernels

    def function(*args, **more):
        return linear_cross_entropy(*args, **{**more, **here})

    function.__signature__ = inspect.signature(linear_cross_entropy)
    cut_as(monkeypatch, function)
    for a, b in zip(results({"logp", "lse"}, softcap), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)
