"""Norms over the last dimension, x / rms(x) * weight (Zhang and Sennrich 2019).

For CPUs and, by torch's own kernel, for CUDA devices.

Written out in single operations, as in transformers, a norm reads and writes its input a dozen
times in the two passes and keeps two copies of it; here it keeps the input alone.

Shape letters: T tokens (and leading dimensions), D width, H heads, W width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.models.native import ops


def factor_of(weight: Tensor, shift: float) -> Tensor:
    """What the normalised numbers are multiplied by, fp32; some models keep weight - 1."""
    return weight.float() + shift if shift else weight.float()


class _RmsNorm(torch.autograd.Function):
    """y = x / rms(x) * weight (Zhang and Sennrich 2019), with the gradient written out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_D: Tensor, eps: float) -> Tensor:
        y, rstd = ops.rms_norm(x, weight_D, eps)
        ctx.save_for_backward(x, weight_D, rstd)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight_D, rstd = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1]
        return (*ops.rms_norm_back(grad, x, weight_D, rstd, weight=wanted), None)


@dataclass(frozen=True, slots=True)
class Normed:
    """Where the output of a norm came from: who needs it for a gradient can form it again, from an
    input that is kept anyhow.
    """

    x: Tensor
    weight_D: Tensor
    eps: float

    def again(self, dtype: torch.dtype) -> Tensor:
        """The same numbers: (T, D)."""
        return ops.rms_norm(self.x.flatten(0, -2), self.weight_D, self.eps, dtype)[0]


_SOURCE = "regimen_normed"


def source_of(y: Tensor) -> Normed | None:
    """Which norm gave this very tensor, where that is known and nobody has written to it since."""
    found, version = getattr(y, _SOURCE, (None, 0))
    # a tensor without a source may be one that counts no versions
    return None if found is None or y._version != version else found


class Kept(NamedTuple):
    """A layer's input for the gradients of its weights, or that of the norm that gave it."""

    x: Tensor
    weight_D: Tensor | None

    @classmethod
    def of(cls, ctx: Any, low_TD: Tensor, source: Normed | None) -> Kept:
        """What to save."""
        ctx.eps = None if source is None else source.eps
        return cls(low_TD, None) if source is None else cls(source.x, source.weight_D)

    def again(self, ctx: Any, dtype: torch.dtype) -> Tensor:
        """The input, as it was multiplied."""
        weight_D = self.weight_D
        return self.x if weight_D is None else Normed(self.x, weight_D, ctx.eps).again(dtype)


class RmsNorm(nn.Module):
    """A norm over the last dimension; ``shift`` is 1 where the weight is kept as weight - 1."""

    def __init__(self, weight: nn.Parameter, eps: float, shift: float) -> None:
        super().__init__()
        self.weight, self.eps, self.shift = weight, eps, shift

    def forward(self, x: Tensor) -> Tensor:
        """The normalised input, in its type; computed in fp32."""
        if x.device.type == "cuda":
            return self._at_once(x)
        weight = factor_of(self.weight, self.shift)
        y: Tensor = _RmsNorm.apply(x, weight, self.eps)  # type: ignore[no-untyped-call]
        if y.requires_grad:
            setattr(y, _SOURCE, (Normed(x.detach(), weight.detach(), self.eps), y._version))
        return y

    def _at_once(self, x: Tensor) -> Tensor:
        """By torch's kernel, which computes in fp32 and keeps the input and 1 / rms."""
        weight = self.weight + self.shift if self.shift else self.weight
        kind = torch.promote_types(x.dtype, weight.dtype)
        y = F.rms_norm(x.to(kind), weight.shape, weight.to(kind), self.eps)
        return y.to(x.dtype)


@dataclass(frozen=True, slots=True)
class HeadNorm:
    """A norm of queries or keys before they are rotated: by head, or over all heads at once."""

    weight: Tensor
    eps: float
    shift: float

    @classmethod
    def of(cls, module: RmsNorm) -> HeadNorm:
        """The norm that a fused module computes."""
        return cls(module.weight, module.eps, module.shift)

    def forward(self, x_THW: Tensor) -> tuple[Tensor, Tensor]:
        """The normalised heads and 1 / rms."""
        rows = x_THW.view(-1, len(self.weight))
        y, rstd = ops.rms_norm(rows, factor_of(self.weight, self.shift), self.eps, torch.float32)
        return y.view_as(x_THW), rstd

    def gradients(
        self, grad_THW: Tensor, x_THW: Tensor, rstd: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The gradients of the heads and of the weight."""
        width, wanted = len(self.weight), self.weight.requires_grad
        grads = (grad_THW.reshape(-1, width), x_THW.view(-1, width))
        grad_x, grad_weight = ops.rms_norm_back(
            *grads, factor_of(self.weight, self.shift), rstd, weight=wanted
        )
        if grad_weight is not None:
            grad_weight = grad_weight.to(self.weight.dtype)
        return grad_x.view_as(grad_THW), grad_weight
