"""Copies of a model's weights for products with few rows: transposed, joined, adapters merged in.

Shape letters: T tokens, D width, N outputs of a projection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regimen.models.fused import RmsNorm
from regimen.models.hardware import on_large_pages
from regimen.models.projections import part_of

Weights = tuple[Tensor, Tensor | None]
"""(N, D) and (N,), as a linear layer has them."""


class Block:
    """One block of memory from which copies are taken, so that they stand on large pages."""

    def __init__(self, numbers: int) -> None:
        self._left = on_large_pages(torch.empty(numbers))

    def transposed(self, x_ND: Tensor) -> Tensor:
        """A copy (D, N).

        Raises:
            RuntimeError: the block is used up.
        """
        copied, self._left = self._left[: x_ND.numel()], self._left[x_ND.numel() :]
        return copied.view(x_ND.shape[1], x_ND.shape[0]).copy_(x_ND.t())


@dataclass(frozen=True, slots=True)
class Projection:
    """x @ weight + bias: (T, D) to (T, N)."""

    weight_DN: Tensor
    bias_N: Tensor | None

    def into(self, out_TN: Tensor, x_TD: Tensor) -> None:
        """Write the product."""
        if self.bias_N is None:
            torch.mm(x_TD, self.weight_DN, out=out_TN)
        else:
            torch.addmm(self.bias_N, x_TD, self.weight_DN, out=out_TN)

    def add(self, x_TD: Tensor, to_TN: Tensor) -> None:
        """Add the product in place."""
        to_TN.addmm_(x_TD, self.weight_DN)
        if self.bias_N is not None:
            to_TN += self.bias_N


@dataclass(frozen=True, slots=True)
class Norm:
    """x / rms(x) * weight over the last dimension (Zhang and Sennrich 2019)."""

    weight_D: Tensor
    eps: float

    def into(self, out: Tensor, x: Tensor) -> None:
        """Write the normalised input, over the input if it is the same."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        size.square_().div_(x.shape[-1]).add_(self.eps).rsqrt_()
        torch.mul(x, size, out=out).mul_(self.weight_D)


def norm_of(module: RmsNorm, *, paired: bool = False) -> Norm:
    """A norm; ``paired`` where it stands between a paired projection and its heads."""
    weight = module.weight.float() + module.shift
    return Norm(halves_in_turns(weight, len(weight)) if paired else weight, module.eps)


def weights_of(module: nn.Module) -> Weights | None:
    """The weights of a plain linear layer, with LoRA added in; None for one that is more."""
    part = part_of(module)
    if part is None:
        return None
    if part.a_RI is None or part.b_OR is None:
        return part.weight_OI, part.bias_O
    return torch.addmm(part.weight_OI, part.b_OR, part.a_RI, alpha=part.scale), part.bias_O


def paired(given: Weights, width: int) -> Weights:
    """The first and second half of the outputs of each head of this width, taken in turns."""
    weight, bias = given
    return halves_in_turns(weight, width), None if bias is None else halves_in_turns(bias, width)


def halves_in_turns(x_N: Tensor, width: int) -> Tensor:
    """(N, ..) in another order."""
    halves = x_N.view(-1, 2, width // 2, *x_N.shape[1:])
    return halves.transpose(1, 2).flatten(0, 2)


def joined(parts: Sequence[Weights], block: Block) -> Projection:
    """One projection to the outputs of several."""
    weight = torch.cat([weight for weight, _ in parts]) if len(parts) > 1 else parts[0][0]
    if all(bias is None for _, bias in parts):
        return Projection(block.transposed(weight), None)
    bias = [w.new_zeros(len(w)) if b is None else b for w, b in parts]
    return Projection(block.transposed(weight), torch.cat(bias))
