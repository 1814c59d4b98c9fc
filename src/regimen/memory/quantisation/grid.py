"""The grid that weights are rounded to: whole numbers, a scale and perhaps a zero for each group.

Scales and zeros are those of compressed-tensors, so that the files are read elsewhere: signed
numbers of b bits, symmetric scales of max|w| over half of 2^b - 1, others of the range that holds
zero (Jacob et al. 2017, arXiv 1712.05877, section 2.1).

Shape letters: O outputs, I inputs, G groups of inputs, S inputs of a group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

ROW, TENSOR = 0, -1
"""Values of ``group_size``: one scale for each row (output channel), one for the whole tensor."""


@dataclass(frozen=True, slots=True)
class Grid:
    """How weights are rounded.

    Args:
        bits: of a weight, 1 to 8.
        group_size: inputs that share a scale; ``ROW`` for a whole row, ``TENSOR`` for all.
        symmetric: the zero is 0; else each group has its own.
    """

    bits: int = 4
    group_size: int = 128
    symmetric: bool = False

    @property
    def low(self) -> int:
        """The smallest number."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest number."""
        return (1 << (self.bits - 1)) - 1

    def fitting(self, inputs: int) -> Grid:
        """The grid for rows of so many inputs: groups of the largest size that divides them."""
        if self.group_size <= 0:
            return self
        size = next(s for s in range(min(self.group_size, inputs), 0, -1) if inputs % s == 0)
        return replace(self, group_size=size)

    def groups(self, inputs: int) -> int:
        """Groups of a row."""
        return 1 if self.group_size <= 0 else inputs // self.group_size


@dataclass(frozen=True, slots=True)
class Codes:
    """Rounded weights.

    ``codes_OI`` is int8, ``scale_OG`` floating, ``zero_OG`` int8 or None for a symmetric grid; of a
    whole tensor both are (1, 1).
    """

    codes_OI: Tensor
    scale_OG: Tensor
    zero_OG: Tensor | None
    grid: Grid

    def dense(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights that the numbers stand for: (O, I)."""
        return dequantised(self.codes_OI, self.scale_OG, self.zero_OG, dtype)


def fit(
    weight_OI: Tensor, grid: Grid, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor | None]:
    """Scales and zeros of the smallest and largest weight of each group: (O, G).

    Args:
        weight_OI: in any floating type.
        grid: its group size divides I.
        dtype: that scales are stored in; they are rounded to it before anything else is.
    """
    low, high = _range(weight_OI.float(), grid)
    if grid.symmetric:
        scale = torch.maximum(-low, high) / ((grid.high - grid.low) / 2)
    else:
        scale = (high - low) / (grid.high - grid.low)
    scale = torch.where(scale > 0, scale, 1.0).to(dtype).float()
    scale = torch.where(scale > 0, scale, 1.0)  # what the stored type cannot tell from 0
    if grid.symmetric:
        return scale, None
    zero = torch.clamp(torch.round(grid.low - low / scale), grid.low, grid.high)
    return scale, zero.to(torch.int8)


def _range(weight_OI: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Smallest and largest weight of each group, zero among them."""
    if grid.group_size == TENSOR:
        low, high = weight_OI.min().view(1, 1), weight_OI.max().view(1, 1)
    else:
        outputs, inputs = weight_OI.shape
        low, high = torch.aminmax(weight_OI.reshape(outputs, grid.groups(inputs), -1), dim=-1)
    return low.clamp(max=0.0), high.clamp(min=0.0)


def rounded(weight_OI: Tensor, scale_OG: Tensor, zero_OG: Tensor | None, grid: Grid) -> Tensor:
    """The nearest numbers of the grid: (O, I), int8."""
    outputs, inputs = weight_OI.shape
    grouped = weight_OI.float().reshape(outputs, scale_OG.shape[1], -1) / scale_OG[..., None]
    if zero_OG is not None:
        grouped = grouped + zero_OG[..., None]
    codes = torch.clamp(torch.round(grouped), grid.low, grid.high)
    return codes.to(torch.int8).view(outputs, inputs)


def dequantised(
    codes_OI: Tensor,
    scale_OG: Tensor,
    zero_OG: Tensor | None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """(code - zero) * scale: (O, I)."""
    outputs, inputs = codes_OI.shape
    grouped = codes_OI.view(outputs, scale_OG.shape[1], -1).to(dtype)
    if zero_OG is not None:
        grouped = grouped - zero_OG[..., None].to(dtype)
    return (grouped * scale_OG[..., None].to(dtype)).view(outputs, inputs)


def round_to_nearest(weight_OI: Tensor, grid: Grid, dtype: torch.dtype = torch.float32) -> Codes:
    """Each weight at the nearest number of its group's grid."""
    grid = grid.fitting(weight_OI.shape[1])
    scale, zero = fit(weight_OI, grid, dtype)
    return Codes(rounded(weight_OI, scale, zero, grid), scale, zero, grid)
