"""Log-probabilities and gated activations in one pass over memory, for CUDA devices.

The same results as ``regimen.models.native.ops`` in single operators of torch. Only imported where
Triton is; with ``TRITON_INTERPRET=1`` in the environment the kernels run on tensors of the CPU.

Shape letters: T tokens, F inner width, V vocabulary.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS, NUMBERS = 4096, 1024
"""Of a row at a time, and of a program of an element-wise kernel."""


@triton.jit
def _tanh_share(x, cap):  # type: ignore[no-untyped-def]
    """tanh(x / cap), by the exponential alone: all that Triton has everywhere."""
    return 1.0 - 2.0 / (tl.exp(2.0 * x / cap) + 1.0)


@triton.jit  # type: ignore[untyped-decorator]
def _reduce(  # type: ignore[no-untyped-def]
    products, targets, weights, hits, logps, lses, apart, scale, cap,
    VOCABULARY: tl.constexpr, GRADIENT: tl.constexpr, SCALED: tl.constexpr, CAPPED: tl.constexpr,
    COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    begin = products + row * apart
    target = tl.load(targets + row)
    # before the sums over all threads, so that no thread writes a gradient in its place first
    picked = tl.load(begin + target).to(tl.float32)
    if SCALED:
        picked *= scale
    if CAPPED:
        picked = cap * _tanh_share(picked, cap)
    columns = tl.arange(0, COLUMNS)
    largest, total = float("-inf"), 0.0
    for start in range(0, VOCABULARY, COLUMNS):
        inside = start + columns < VOCABULARY
        x = tl.load(begin + start + columns, mask=inside, other=0.0).to(tl.float32)
        if SCALED:
            x *= scale
        if CAPPED:
            x = cap * _tanh_share(x, cap)
        x = tl.where(inside, x, float("-inf"))
        higher = tl.maximum(largest, tl.max(x, 0))
        total = total * tl.exp(largest - higher) + tl.sum(tl.exp(x - higher), 0)
        largest = higher
    lse = largest + tl.log(total)
    tl.store(logps + row, picked - lse)
    tl.store(lses + row, lse)
    if GRADIENT:
        weight = tl.load(weights + row).to(tl.float32)
        hit = tl.load(hits + row).to(tl.float32)
        for start in range(0, VOCABULARY, COLUMNS):
            place = begin + start + columns
            inside = start + columns < VOCABULARY
            x = tl.load(place, mask=inside, other=0.0).to(tl.float32)
            slope = 1.0
            if SCALED:
                x *= scale
                slope = scale
            if CAPPED:
                share = _tanh_share(x, cap)
                x = cap * share
                slope = slope * (1.0 - share * share)
            gradient = tl.exp(x - lse) * weight
            gradient = tl.where(start + columns == target, gradient - hit, gradient) * slope
            tl.store(place, gradient.to(products.dtype.element_ty), mask=inside)


def reduce_rows(
    product_TV: Tensor, target_T: Tensor, weight_T: Tensor, hit_T: Tensor, *, gradient: bool,
    scale: float = 1.0, softcap: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Log-probabilities of the targets and logs of the sums of exponentials: (T) each, nats, fp32.

    Logits are cap(scale * product); none is written. With ``gradient``, the products become the
    gradient of sum(weight * lse - hit * logit of the target), in their own type: of
    sum(-weight * logp) where both are the same.
    """
    rows, vocabulary = product_TV.shape
    logp_T, lse_T = torch.empty(2, rows, dtype=torch.float32, device=product_TV.device)
    if rows:
        given = (product_TV, target_T.contiguous(), weight_T.contiguous(), hit_T.contiguous())
        _reduce[(rows,)](
            *given,
            logp_T,
            lse_T,
            product_TV.stride(0),
            float(scale),
            float(softcap or 1.0),
            VOCABULARY=vocabulary,
            GRADIENT=gradient,
            SCALED=scale != 1.0,
            CAPPED=softcap is not None,
            COLUMNS=min(COLUMNS, triton.next_power_of_2(vocabulary)),
            num_warps=8,
        )
    return logp_T, lse_T


def nll_rows(logits_TV: Tensor, target_T: Tensor, weight_T: Tensor, *, gradient: bool) -> Tensor:
    """Log-probabilities (T) of the targets, nats, fp32.

    With ``gradient``, the logits become the gradient of sum(-weight * logp), in their own type.
    """
    return reduce_rows(logits_TV, target_T, weight_T, weight_T, gradient=gradient)[0]


@triton.jit  # type: ignore[untyped-decorator]
def _swiglu(gates, ups, outs, count, NUMBERS: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    inside = place < count
    gate = tl.load(gates + place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(ups + place, mask=inside, other=0.0).to(tl.float32)
    out = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(outs + place, out.to(outs.dtype.element_ty), mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _swiglu_back(  # type: ignore[no-untyped-def]
    gates, ups, grads, outs, grad_gates, grad_ups, count, NUMBERS: tl.constexpr,
):  # fmt: skip
    place = tl.program_id(0).to(tl.int64) * NUMBERS + tl.arange(0, NUMBERS)
    inside = place < count
    kind = outs.dtype.element_ty
    gate = tl.load(gates + place, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(ups + place, mask=inside, other=0.0).to(tl.float32)
    grad = tl.load(grads + place, mask=inside, other=0.0).to(tl.float32)
    open_ = 1.0 / (1.0 + tl.exp(-gate))
    active = gate * open_
    tl.store(outs + place, (active * up).to(kind), mask=inside)
    slope = open_ * (1.0 + gate * (1.0 - open_))
    tl.store(grad_gates + place, (grad * up * slope).to(kind), mask=inside)
    tl.store(grad_ups + place, (grad * active).to(kind), mask=inside)


def swiglu(gate_TF: Tensor, up_TF: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020)."""
    gate_TF, up_TF = gate_TF.contiguous(), up_TF.contiguous()
    out = torch.empty_like(gate_TF)
    if out.numel():
        grid = (triton.cdiv(out.numel(), NUMBERS),)
        _swiglu[grid](gate_TF, up_TF, out, out.numel(), NUMBERS=NUMBERS)
    return out


def swiglu_back(gate_TF: Tensor, up_TF: Tensor, grad_TF: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The output again, and the gradients of gate and up."""
    given = tuple(t.contiguous() for t in (gate_TF, up_TF, grad_TF))
    made = tuple(torch.empty_like(given[0]) for _ in range(3))
    count = given[0].numel()
    if count:
        _swiglu_back[(triton.cdiv(count, NUMBERS),)](*given, *made, count, NUMBERS=NUMBERS)
    out, grad_gate, grad_up = made
    return out, grad_gate, grad_up
