"""Operators of a CPU model, compiled where possible and in torch's own operators elsewhere.

Whether a function is compiled or not is nobody else's business. Compiled loops take contiguous
tensors on the CPU, fp32 or bf16, compute in fp32, and never see autograd.

Shape letters: T tokens, D width, F inner width, H query heads, K key heads, W width of a head,
V vocabulary.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models.native.build import built
from regimen.models.native.pool import empty_like

aten = torch.ops.aten


class _Off:
    """``now``: torch's operators are wanted, to compare the two. ``trusted``: without a look."""

    now = False
    trusted = False


OFF = _Off()


@cache
def _functions() -> dict[str, Any]:
    """The compiled functions by name."""
    library = built().library
    assert library is not None
    found = {}
    for name in SIGNATURES:
        function = getattr(library, name)
        letters = SIGNATURES[name].replace("t", "pi")
        function.argtypes = [_TYPES[letter] for letter in letters]
        function.restype = None
        found[name] = function
    return found


_TYPES = {
    "p": ctypes.c_void_p,
    "n": ctypes.c_long,
    "i": ctypes.c_int,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
}
SIGNATURES = {
    "rms_norm": "tpftpnni",
    "rms_norm_back": "ttppppnni",
    "accumulate": "ppfnii",
    "pack": "pinifpinni",
    "products": "pinfipppninni",
    "swiglu": "pppini",
    "swiglu_back": "ppppppini",
    "rotate": "pipippnnnnii",
    "nll_rows": "tpppnnii",
    "row_tops": "pppnni",
    "softmax_slice": "tpppnni",
    "nll_slice": "tpppnni",
    "store_rows": "pnppnni",
    "bernoulli": "pdpni",
    "thin": "pipfpini",
    "attention": "ppppipnnnfnppppppni",
    "attention_step": "ppppippppnnnnnfi",
    "attention_back": "pppppippppnnnfnppppppni",
}
"""Arguments of C functions: p pointer, n long, i int, f float, d double, t a pointer and whether
that is bf16."""
TYPES = (torch.float32, torch.bfloat16)
"""What the compiled loops take: an index of this tuple is what a C function is told."""


def compiled(*tensors: Tensor) -> bool:
    """Whether the compiled loops take these tensors."""
    return (
        not OFF.now
        and all(t.dtype in TYPES and t.device.type == "cpu" for t in tensors)
        and (OFF.trusted or not why_not())
    )


@cache
def why_not() -> str:
    """Why nothing is compiled here, or nothing. The first call compiles and compares.

    What agreed once is not compared again in later processes: it would bring tens of MiB of torch's
    code into memory that a training may not need.
    """
    if built().library is None:
        return built().reason
    agreed = built().agreed()
    if agreed is not None and agreed.is_file():
        return ""
    from regimen.models.native.check import disagreement

    OFF.trusted = True
    try:
        found = disagreement()
    finally:
        OFF.trusted = False
    if agreed is not None and not found:
        with suppress(OSError):  # a folder that nobody may write to: the next process asks again
            agreed.touch()
    return found


def call(name: str, *arguments: Any) -> None:
    """Call a compiled function with torch's number of threads; tensors must be contiguous."""
    plain = []
    for letter, argument in zip(SIGNATURES[name], arguments, strict=False):
        if isinstance(argument, Tensor):
            assert argument.is_contiguous()
            plain.append(argument.data_ptr())
            if letter == "t":
                plain.append(TYPES.index(argument.dtype))
        else:
            plain.append(argument)
    call_plain(name, *plain)


def call_plain(name: str, *numbers: Any) -> None:
    """As `call`, of numbers and addresses alone."""
    _functions()[name](*numbers, torch.get_num_threads())


@cache
def kernels() -> Any:
    """The kernels for CUDA devices; None where Triton is not installed."""
    if find_spec("triton") is None:
        return None
    from regimen.models.triton import rows

    return rows


def accelerated(*tensors: Tensor) -> bool:
    """Whether kernels for CUDA devices take these tensors."""
    return all(t.device.type == "cuda" for t in tensors) and kernels() is not None


def alike(*tensors: Tensor) -> bool:
    """Whether the compiled loops take these tensors, and all are of one type."""
    return compiled(*tensors) and len({t.dtype for t in tensors}) == 1


def rms_norm(
    x_TD: Tensor, weight_D: Tensor, eps: float, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """x / rms(x) * weight (Zhang and Sennrich 2019), and 1 / rms(x): (.., D) and (.., 1).

    The weight is fp32. The first is of ``dtype``, or of the type of ``x_TD``; the second fp32.
    """
    dtype = dtype or x_TD.dtype
    if compiled(x_TD, weight_D) and dtype in TYPES:
        x_TD = x_TD.contiguous()
        y = empty_like(x_TD, dtype)
        rstd = weight_D.new_empty((*x_TD.shape[:-1], 1))
        width = x_TD.shape[-1]
        call("rms_norm", x_TD, weight_D.contiguous(), eps, y, rstd, x_TD.numel() // width, width)
        return y, rstd
    x_TD = x_TD.float()
    rstd = torch.linalg.vector_norm(x_TD, dim=-1, keepdim=True)
    rstd = rstd.square_().div_(x_TD.shape[-1]).add_(eps).rsqrt_()
    return (x_TD * rstd).mul_(weight_D).to(dtype), rstd


def rms_norm_back(
    grad_TD: Tensor, x_TD: Tensor, weight_D: Tensor, rstd_T1: Tensor, *, weight: bool
) -> tuple[Tensor, Tensor | None]:
    """The gradients of x, in its type, and, if asked for, of the weight, in fp32."""
    if compiled(grad_TD, x_TD, weight_D):
        grad_TD, x_TD = grad_TD.contiguous(), x_TD.contiguous()
        grad_x = empty_like(x_TD)
        grad_weight = torch.zeros_like(weight_D) if weight else None
        width = x_TD.shape[-1]
        sizes = (x_TD.numel() // width, width)
        weight_D = weight_D.contiguous()
        call("rms_norm_back", grad_TD, x_TD, weight_D, rstd_T1, grad_x, grad_weight, *sizes)
        return grad_x, grad_weight
    grad_TD, unit = grad_TD.float(), x_TD.float() * rstd_T1
    product = grad_TD * unit
    grad_weight = product.flatten(0, -2).sum(0) if weight else None
    along = (product @ weight_D).div_(-x_TD.shape[-1]).unsqueeze(-1)
    grad_x = (grad_TD * weight_D).addcmul_(unit, along).mul_(rstd_T1)
    return grad_x.to(x_TD.dtype), grad_weight


def accumulate(total: Tensor, part: Tensor, scale: float = 1.0, *, add: bool) -> None:
    """``total`` becomes ``scale * part``, or grows by it."""
    if compiled(total, part) and (total.dtype, part.dtype) == TYPES and total.is_contiguous():
        call("accumulate", total, part.contiguous(), scale, total.numel(), int(add))
    elif add:
        total.add_(part, alpha=scale)
    else:
        torch.mul(part, scale, out=total)


def swiglu(gate_TF: Tensor, up_TF: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    if alike(gate_TF, up_TF):
        gate_TF, up_TF = gate_TF.contiguous(), up_TF.contiguous()
        out = empty_like(gate_TF)
        call("swiglu", gate_TF, up_TF, out, TYPES.index(out.dtype), out.numel())
        return out
    if accelerated(gate_TF, up_TF):
        found: Tensor = kernels().swiglu(gate_TF, up_TF)
        return found
    return F.silu(gate_TF).mul_(up_TF)


def swiglu_back(
    gate_TF: Tensor, up_TF: Tensor, grad_TF: Tensor, *, in_place: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """The output again, and the gradients of gate and up. ``grad_TF`` is used up; ``in_place``:
    all three may be, and are where that is compiled.
    """
    if alike(gate_TF, up_TF, grad_TF):
        gate_TF, up_TF, grad_TF = (t.contiguous() for t in (gate_TF, up_TF, grad_TF))
        places = (grad_TF, gate_TF, up_TF)
        if not in_place:
            places = (empty_like(gate_TF), grad_TF, empty_like(up_TF))
        kind, size = TYPES.index(up_TF.dtype), up_TF.numel()
        call("swiglu_back", gate_TF, up_TF, grad_TF, *places, kind, size)
        return places
    if accelerated(gate_TF, up_TF, grad_TF):
        found: tuple[Tensor, Tensor, Tensor] = kernels().swiglu_back(gate_TF, up_TF, grad_TF)
        return found
    active = F.silu(gate_TF)
    out = active * up_TF
    grad_up = active.mul_(grad_TF)
    grad_TF = grad_TF * up_TF
    return out, aten.silu_backward.grad_input(grad_TF, gate_TF, grad_input=grad_TF), grad_up


def rotate(
    x_THW: Tensor, cos_TW: Tensor, sin_TW: Tensor, *, back: bool = False,
    dtype: torch.dtype | None = None,
) -> Tensor:  # fmt: skip
    """x * cos + rotate_half(x) * sin (Su et al. 2021); ``back``: by the transposed matrix.

    In place, unless another ``dtype`` is asked for.
    """
    dtype = dtype or x_THW.dtype
    apart = x_THW.stride(0)
    inside = x_THW.stride(2) == 1 and x_THW.stride(1) == x_THW.shape[2]
    if compiled(x_THW, cos_TW, sin_TW) and inside and dtype in TYPES:
        out = x_THW
        if dtype != x_THW.dtype:
            x_THW = x_THW.contiguous()
            out, apart = empty_like(x_THW, dtype), x_THW.stride(0)
        cos_TW, sin_TW = cos_TW.contiguous(), sin_TW.contiguous()
        places = (x_THW.data_ptr(), TYPES.index(x_THW.dtype), out.data_ptr(), TYPES.index(dtype))
        call("rotate", *places, cos_TW, sin_TW, apart, *x_THW.shape, int(back))
        return out
    half = x_THW.shape[-1] // 2
    low, high = x_THW[..., :half], x_THW[..., half:]
    cos, sin = cos_TW[:, None], sin_TW[:, None]
    if back:
        from_high, from_low = high * sin[..., half:], low * -sin[..., :half]
    else:
        from_high, from_low = high * -sin[..., :half], low * sin[..., half:]
    low.mul_(cos[..., :half]).add_(from_high)
    high.mul_(cos[..., half:]).add_(from_low)
    return x_THW.to(dtype)


def nll_rows(logits_TV: Tensor, target_T: Tensor, weight_T: Tensor, *, gradient: bool) -> Tensor:
    """Log-probabilities (T) of the targets, nats, fp32.

    With ``gradient``, the logits become the gradient of sum(-weight * logp).
    """
    if compiled(logits_TV, weight_T) and logits_TV.is_contiguous():
        logp = weight_T.new_empty(len(target_T))
        target_T, weight_T = target_T.contiguous(), weight_T.contiguous()
        call("nll_rows", logits_TV, target_T, weight_T, logp, *logits_TV.shape, int(gradient))
        return logp
    if accelerated(logits_TV, weight_T) and logits_TV.stride(-1) == 1:
        found: Tensor = kernels().nll_rows(logits_TV, target_T, weight_T, gradient=gradient)
        return found
    target, weight = target_T[:, None], weight_T[:, None]
    low_TV, logits_TV = logits_TV, logits_TV.float()
    picked, largest = logits_TV.gather(1, target), logits_TV.amax(1, True)
    grad = logits_TV.sub_(largest) if gradient else logits_TV - largest
    total = grad.exp_().sum(1, True)
    if gradient:
        grad.mul_(weight / total).scatter_add_(1, target, -weight)
        if grad.dtype != low_TV.dtype:
            low_TV.copy_(grad)
    return (picked - largest - total.log())[:, 0]


def store_rows(x_TKW: Tensor, cache_SKW: Tensor, slot_T: Tensor) -> None:
    """Row ``slot_T[t]`` of the cache becomes row ``t``."""
    inside = x_TKW.stride(2) == 1 and x_TKW.stride(1) == x_TKW.shape[2]
    if alike(x_TKW, cache_SKW) and inside and cache_SKW.is_contiguous():
        size = x_TKW.element_size()
        apart, bytes_ = x_TKW.stride(0) * size, cache_SKW[0].nbytes
        call("store_rows", x_TKW.data_ptr(), apart, cache_SKW, slot_T, len(x_TKW), bytes_)
    else:
        cache_SKW.index_copy_(0, slot_T, x_TKW)


def row_tops(logits_TV: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the sum of exponentials of each row, and the first of its largest entries."""
    if compiled(logits_TV) and logits_TV.dtype == torch.float32:
        logits_TV = logits_TV.contiguous()
        lse, top = (
            logits_TV.new_empty(len(logits_TV)),
            torch.empty(len(logits_TV), dtype=torch.int64),
        )
        call("row_tops", logits_TV, lse, top, *logits_TV.shape)
        return lse, top
    return logits_TV.logsumexp(-1), logits_TV.argmax(-1)


def softmax_slice(logits_TV: Tensor, largest_T: Tensor, total_T: Tensor) -> Tensor:
    """Logits of a slice of the vocabulary become exp(logit - largest).

    ``largest_T`` becomes that of this slice and those before it, ``total_T`` the sum so far.

    Returns what earlier sums are to be multiplied by: (T) (Milakov and Gimelshein 2018, *Online
    normalizer calculation for softmax*, algorithm 3).
    """
    if compiled(logits_TV, largest_T, total_T) and logits_TV.is_contiguous():
        factor_T = torch.empty_like(total_T)
        call("softmax_slice", logits_TV, largest_T, total_T, factor_T, *logits_TV.shape)
        return factor_T
    before_T = largest_T.clone()
    torch.maximum(largest_T, logits_TV.amax(1).float(), out=largest_T)
    factor_T = (before_T - largest_T).exp_()
    grown_TV = (logits_TV.float() - largest_T[:, None]).exp_()
    total_T.mul_(factor_T).add_(grown_TV.sum(1))
    logits_TV.copy_(grown_TV)
    return factor_T


def nll_slice(logits_TV: Tensor, target_T: Tensor, weight_T: Tensor, lse_T: Tensor) -> None:
    """Logits of a slice of the vocabulary become their part of the gradient of sum(-weight * logp).

    ``lse_T`` is of the whole vocabulary, and targets count from the slice's first row: one that is
    below 0, or not below V, is in another slice.
    """
    if compiled(logits_TV, weight_T, lse_T) and logits_TV.is_contiguous():
        given = (target_T.contiguous(), weight_T.contiguous(), lse_T.contiguous())
        call("nll_slice", logits_TV, *given, *logits_TV.shape)
        return
    grad_TV = (logits_TV.float() - lse_T[:, None]).exp_().mul_(weight_T[:, None])
    rows = ((target_T >= 0) & (target_T < logits_TV.shape[1])).nonzero()[:, 0]
    grad_TV[rows, target_T[rows]] -= weight_T[rows]
    logits_TV.copy_(grad_TV)
