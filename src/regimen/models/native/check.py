"""One look at the compiled loops before they are used: small inputs, against torch's operators.

A compiler may be wrong, or right about another machine. What disagrees is not used, and said.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from regimen.models.differences import relative_difference
from regimen.models.native import masks, mixing, ops, products
from regimen.tokens.ragged import Plan

TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""Relative to the largest number of a result. torch rounds between its operators."""


@torch.no_grad()
def disagreement() -> str:
    """The first operator whose compiled form gives something else, or nothing."""
    for dtype, tolerance in TOLERANCES.items():
        ours = list(_results(dtype))
        ops.OFF.now = True
        try:
            theirs = list(_results(dtype))
        finally:
            ops.OFF.now = False
        for (name, found), (_, expected) in zip(ours, theirs, strict=True):
            for a, b in zip(found, expected, strict=True):
                if a.dtype != b.dtype or not relative_difference(a, b) <= tolerance:
                    return f"{name} disagrees with torch in {str(dtype).removeprefix('torch.')}"
    return ""


def _results(dtype: torch.dtype) -> Iterator[tuple[str, tuple[Tensor, ...]]]:
    """Every operator once, at sizes that are no multiples of a vector."""
    draw = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw).to(dtype)

    x, weight, grad = some(5, 37), some(37).float(), some(5, 37)
    y, rstd = ops.rms_norm(x, weight, 1e-5)
    yield "rms_norm", (y, rstd)
    of_x, of_weight = ops.rms_norm_back(grad, x, weight, rstd, weight=True)
    assert of_weight is not None
    yield "rms_norm_back", (of_x, of_weight)
    yield "swiglu", (ops.swiglu(x, grad),)
    yield "swiglu_back", ops.swiglu_back(x, y, grad.clone())
    heads = some(5, 2, 10)
    angles = some(5, 10).float(), some(5, 10).float()
    ops.rotate(heads, *angles)
    yield "rotate", (heads, ops.rotate(heads.float(), *angles, back=True, dtype=dtype))
    target, logits = torch.tensor([0, 36, 5, 7, 20]), x.clone()
    logp = ops.nll_rows(logits, target, some(5).float().abs(), gradient=True)
    yield "nll_rows", (logp, logits)
    total = some(5, 37).float()
    ops.accumulate(total, x, 0.5, add=True)
    yield "accumulate", (total,)
    lse, top = ops.row_tops(x.float())
    yield "row_tops", (lse, top.float())
    part, where = y.clone(), target - 5
    ops.nll_slice(part, where, some(5).float().abs(), lse + 1.0)
    yield "nll_slice", (part,)
    part, most, sums = x.clone(), some(5).float(), some(5).float().abs()
    yield "softmax_slice", (ops.softmax_slice(part, most, sums), part, most, sums)
    kept, grown = some(5, 37) > 0, x.clone()
    masks.add_thinned(grown, grad, kept, 1.5)
    yield "thin", (masks.thinned(x, kept, 0.5), grown)
    weight, bias, more = some(9, 38), some(9).float(), some(5, 4)
    terms = [(some(5, 38), products.forth(weight, scale=0.5)), (more, products.back(some(4, 9)))]
    yield "products", (products.multiply(terms, bias_N=bias),)
    outer = torch.ones(37, 38)
    products.add_outer(outer, some(5, 37), products.Input(some(5, 38)), 0.5, add=True)
    yield "products of gradients", (outer,)
    mix = mixing.Attention(Plan((40, 9), (-1, -1)), 0.3)
    query, key, value, grad = some(49, 4, 10), some(49, 2, 10), some(49, 2, 10), some(49, 4, 10)
    out, sums = mix.forward(query, key, value)
    yield "attention", (out, sums)
    yield "attention_back", mix.gradients(query, key, value, out, sums, grad)
