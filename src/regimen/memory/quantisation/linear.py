"""A linear layer over rounded weights, which are made dense each time they are used.

The tensors have the names that compressed-tensors gives them, so that a module's state is what is
in the file. What is dense is one layer's weight at a time.

Shape letters: O outputs, I inputs, G groups of inputs, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.memory.quantisation.grid import Codes, Grid, dequantised
from regimen.memory.quantisation.packing import packed, unpacked
from regimen.memory.quantisation.spec import Activations


class QuantLinear(nn.Module):
    """x W^T + b with W of whole numbers, scales and zeros; x is rounded too with ``activations``.

    Weights alone are packed (``weight_packed``, ``weight_scale``, ``weight_zero_point``,
    ``weight_shape``); with rounded inputs they are int8 (``weight``, ``weight_scale``, and
    ``input_scale`` where that is fixed).
    """

    def __init__(
        self,
        codes: Codes,
        bias: Tensor | None = None,
        activations: Activations | None = None,
        input_scale: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.out_features, self.in_features = codes.codes_OI.shape
        self.grid, self.activations = codes.grid, activations
        scale = codes.scale_OG.view(1) if self.grid.group_size < 0 else codes.scale_OG
        self.weight_scale = nn.Parameter(scale, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        if activations is None:
            self.register_buffer("weight_packed", packed(codes.codes_OI, self.grid.bits))
            self.register_buffer("weight_shape", torch.tensor(codes.codes_OI.shape))
            if codes.zero_OG is not None:
                zero = packed(codes.zero_OG.T, self.grid.bits).T.contiguous()
                self.register_buffer("weight_zero_point", zero)
        else:
            self.register_buffer("weight", codes.codes_OI)
            if codes.zero_OG is not None:
                self.register_buffer("weight_zero_point", codes.zero_OG)
            if input_scale is not None:
                given = input_scale.view(1).to(scale.device)
                self.input_scale = nn.Parameter(given, requires_grad=False)

    @staticmethod
    def empty(
        outputs: int, inputs: int, grid: Grid, activations: Activations | None, *, bias: bool
    ) -> QuantLinear:
        """A layer to load tensors into."""
        groups = (1, 1) if grid.group_size < 0 else (outputs, grid.groups(inputs))
        zero = None if grid.symmetric else torch.zeros(groups, dtype=torch.int8)
        codes = Codes(
            torch.zeros(outputs, inputs, dtype=torch.int8), torch.ones(groups), zero, grid
        )
        fixed = activations is not None and not activations.dynamic
        return QuantLinear(
            codes,
            torch.zeros(outputs) if bias else None,
            activations,
            torch.ones(1) if fixed else None,
        )

    @property
    def codes(self) -> Codes:
        """The whole numbers with their scales."""
        scale = self.weight_scale.view(1, 1) if self.grid.group_size < 0 else self.weight_scale
        if self.activations is not None:
            zero = getattr(self, "weight_zero_point", None)
            return Codes(self.weight, scale.data, zero, self.grid)  # type: ignore[arg-type]
        assert isinstance(self.weight_packed, Tensor)
        zero = getattr(self, "weight_zero_point", None)
        if zero is not None:
            zero = unpacked(zero.T, self.grid.bits, len(scale)).T
        numbers = unpacked(self.weight_packed, self.grid.bits, self.in_features)
        return Codes(numbers, scale.data, zero, self.grid)

    def dense_weight(self) -> Tensor | None:
        """The weights (O, I) where the layer is x W^T + b and no more; None with rounded inputs."""
        return None if self.activations is not None else self.dense()

    def dense(self) -> Tensor:
        """The weights that the numbers stand for, in the type of the scales: (O, I)."""
        codes = self.codes
        return dequantised(codes.codes_OI, codes.scale_OG, codes.zero_OG, codes.scale_OG.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(.., I) to (.., O)."""
        if self.activations is not None:
            x = round_inputs(x, self.activations, getattr(self, "input_scale", None))
        return F.linear(x, self.dense().to(x.dtype), self.bias)

    def extra_repr(self) -> str:
        """Sizes and grid."""
        return f"{self.in_features}, {self.out_features}, {self.grid}, {self.activations}"


def round_inputs(x: Tensor, how: Activations, scale: Tensor | None = None) -> Tensor:
    """Inputs (.., I) on a symmetric grid, in their type.

    Args:
        x: the inputs.
        how: bits, and what shares a scale.
        scale: of all, where it is fixed beforehand.
    """
    high = (1 << (how.bits - 1)) - 1
    values = x.float()
    if scale is not None:
        step = scale.float()
    elif how.granularity == "tensor":
        step = input_scale(values.abs().amax(), how.bits)
    elif how.granularity == "token":
        step = input_scale(values.abs().amax(-1, keepdim=True), how.bits)
    else:
        inputs = values.shape[-1]
        size = Grid(how.bits, how.group_size).fitting(inputs).group_size
        values = values.view(*values.shape[:-1], inputs // size, size)
        step = input_scale(values.abs().amax(-1, keepdim=True), how.bits)
    out = torch.clamp(torch.round(values / step), -high - 1, high) * step
    return out.view(x.shape).to(x.dtype)


def input_scale(largest: Tensor, bits: int) -> Tensor:
    """The scale of inputs of at most this size."""
    scale = largest / (((1 << bits) - 1) / 2)
    return torch.where(scale > 0, scale, 1.0)
