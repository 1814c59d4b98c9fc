"""Copies of a model's weights for products with few rows: joined, adapters merged in, packed.

Shape letters: T tokens, D width, N outputs of a projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regimen.models.hardware import on_large_pages
from regimen.models.native import ops
from regimen.models.native.products import Copied
from regimen.models.norms import RmsNorm, factor_of
from regimen.models.projections import part_of, row_lengths

Weights = tuple[Tensor, Tensor | None]
"""(N, D) and (N,), as a linear layer has them."""


@dataclass(frozen=True, slots=True)
class Norm:
    """x / rms(x) * weight over the last dimension (Zhang and Sennrich 2019)."""

    weight_D: Tensor
    eps: float

    def of(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The normalised input."""
        return ops.rms_norm(x, self.weight_D, self.eps, dtype)[0]


def norm_of(module: RmsNorm) -> Norm:
    """A norm's copy."""
    return Norm(factor_of(module.weight, module.shift), module.eps)


def weights_of(module: nn.Module) -> Weights | None:
    """The weights of a plain linear layer, with LoRA added in; None for one that is more.

    A layer that keeps its weights otherwise may give them by a method ``dense_weight``.
    """
    part = part_of(module)
    if part is None:
        dense = getattr(module, "dense_weight", lambda: None)()
        return None if dense is None else (dense, getattr(module, "bias", None))
    if part.a_RI is None or part.b_OR is None:
        return part.weight_OI, part.bias_O
    merged = torch.addmm(part.weight_OI, part.b_OR, part.a_RI, alpha=part.scale)
    if part.magnitude_O is not None:
        merged.mul_((part.magnitude_O / row_lengths(part)).to(merged.dtype)[:, None])
    return merged, part.bias_O


def joined(parts: Sequence[Weights], dtype: torch.dtype) -> Copied:
    """One projection to the outputs of several."""
    weight = torch.cat([weight for weight, _ in parts]) if len(parts) > 1 else parts[0][0]
    bias = None
    if any(bias is not None for _, bias in parts):
        bias = torch.cat([w.new_zeros(len(w)) if b is None else b for w, b in parts]).float()
    return Copied(weight, bias, dtype, on_large_pages)
