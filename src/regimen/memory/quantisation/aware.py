"""Tuning that knows of the rounding: rounded weights forward, gradients as if they were not.

The straight-through estimator (Bengio et al. 2013, arXiv 1308.3432) over the grid's own scales,
which follow the weights in each step (Jacob et al. 2017, arXiv 1712.05877).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.memory.quantisation.grid import Codes, Grid, round_to_nearest
from regimen.memory.quantisation.layers import decoder_layers, linears_of
from regimen.memory.quantisation.linear import QuantLinear, round_inputs
from regimen.memory.quantisation.spec import Activations


@dataclass(frozen=True, slots=True)
class Aware:
    """The grid of the weights, and of the inputs where they are rounded too.

    ``dtype`` is the type that scales will be stored in.
    """

    grid: Grid
    activations: Activations | None = None
    dtype: torch.dtype = torch.float32


class _Through(torch.autograd.Function):
    """Another value forward, the identity backward."""

    @staticmethod
    def forward(_ctx: Any, _x: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(_ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class AwareLinear(nn.Linear):
    """A linear layer that computes with its weight as it will be rounded.

    The weight under its usual name is the one that is trained, so that checkpoints are those of a
    plain model.
    """

    how: Aware
    settled: bool = False
    """Whether the weight is rounded already, for good."""

    @staticmethod
    def of(linear: nn.Linear, how: Aware) -> AwareLinear:
        """The same parameters in a layer that rounds."""
        made = AwareLinear(1, 1, bias=False)
        made.in_features, made.out_features = linear.in_features, linear.out_features
        made.weight, made.bias, made.how = linear.weight, linear.bias, how
        return made.train(linear.training)

    @torch.no_grad()
    def codes(self) -> Codes:
        """The weights as they are rounded now."""
        return round_to_nearest(self.weight, self.how.grid, self.how.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(.., I) to (.., O)."""
        weight: Tensor = self.weight
        if not self.settled:
            rough = self.codes().dense().to(weight.dtype)
            weight = _Through.apply(weight, rough)  # type: ignore[no-untyped-call]
        if self.how.activations is not None:
            near = round_inputs(x.detach(), self.how.activations)
            x = _Through.apply(x, near)  # type: ignore[no-untyped-call]
        return F.linear(x, weight, self.bias)


def make_aware(network: Any, how: Aware) -> int:
    """Let every linear layer in the decoder layers round its weights; returns how many.

    To be called before the model is prepared for flat batches.
    """
    count = 0
    for _, layer in decoder_layers(network):
        for name, linear in linears_of(layer).items():
            layer.set_submodule(name, AwareLinear.of(linear, how))
            count += 1
    return count


def aware_layers(network: Any) -> dict[str, AwareLinear]:
    """The layers that round, by name."""
    return {n: m for n, m in network.named_modules() if isinstance(m, AwareLinear)}


def exported(network: Any) -> dict[str, QuantLinear]:
    """Packed layers with exactly the rounded weights, by name, for ``save_quantised``."""
    found = {}
    for name, module in aware_layers(network).items():
        bias = None if module.bias is None else module.bias.data
        found[name] = QuantLinear(module.codes(), bias, module.how.activations)
    return found


@torch.no_grad()
def settle(network: Any) -> int:
    """Make the rounded weights the weights; returns in how many layers.

    The model computes as before, and is saved as a plain one that does.
    """
    found = aware_layers(network)
    for module in found.values():
        module.weight.copy_(module.codes().dense())
        module.settled = True
    return len(found)
