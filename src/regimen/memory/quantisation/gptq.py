"""GPTQ: columns are rounded in turn, and those left make up for what each has lost.

Frantar et al. 2022, *GPTQ*, arXiv 2210.17323, algorithm 1: with H = X^T X + damping, the rows of
the upper Cholesky factor of its inverse say how much each column that is left moves; what a block
of columns has lost reaches the columns beyond it at once.

Shape letters: O outputs, I inputs, G groups of inputs.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from regimen.errors import ModelError
from regimen.memory.quantisation.grid import Codes, Grid, fit, round_to_nearest

BLOCK = 128
"""Columns whose losses wait for each other."""
TRIES = 5
"""How often the damping is raised tenfold where the factor does not exist."""


def gptq(
    weight_OI: Tensor,
    gram_II: Tensor,
    grid: Grid,
    *,
    damping: float = 0.01,
    act_order: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Codes:
    """Rounded weights with a small error of the outputs on the inputs behind ``gram_II``.

    Args:
        weight_OI: the weights.
        gram_II: X^T X of the inputs, times any factor.
        grid: of the weights. A group's scales are those of its weights when its first column's turn
            comes; with ``act_order`` and for whole tensors, those of the weights as they are given.
        damping: added to the diagonal of H, as a share of its mean.
        act_order: columns of large inputs first. Groups stay where they are.
        dtype: that scales are stored in.

    Raises:
        ModelError: ``calibration-singular`` where H has no factor at any damping.
    """
    grid = grid.fitting(weight_OI.shape[1])
    weight = weight_OI.float()
    order_I = (
        torch.argsort(gram_II.diagonal(), descending=True, stable=True)
        if act_order
        else torch.arange(len(gram_II), device=gram_II.device)
    )
    factor_II = _factor(gram_II[order_I][:, order_I], damping)
    scale_OG, zero_OG = fit(weight, grid, dtype)
    columns, fixed = order_I.tolist(), act_order or grid.group_size <= 0
    codes_OI = torch.zeros_like(weight, dtype=torch.int8)
    left = weight[:, order_I]
    size = grid.group_size if grid.group_size > 0 else len(order_I)
    step = BLOCK if fixed else size * max(1, BLOCK // size)
    for start in range(0, len(order_I), step):
        end = min(start + step, len(order_I))
        lost = torch.zeros_like(left[:, start:end])
        for at in range(start, end):
            column = columns[at]
            group = column // size
            if not fixed and column % size == 0:
                _fit_group(left[:, at : at + size], scale_OG, zero_OG, group, grid, dtype)
            zero = None if zero_OG is None else zero_OG[:, group]
            code = _nearest(left[:, at], scale_OG[:, group], zero, grid)
            codes_OI[:, column] = code.to(torch.int8)
            value = (code if zero is None else code - zero) * scale_OG[:, group]
            error = (left[:, at] - value) / factor_II[at, at]
            left[:, at:end] -= torch.outer(error, factor_II[at, at:end])
            lost[:, at - start] = error
        left[:, end:] -= lost @ factor_II[start:end, end:]
    return Codes(codes_OI, scale_OG, zero_OG, grid)


def _fit_group(
    left_OS: Tensor,
    scale_OG: Tensor,
    zero_OG: Tensor | None,
    group: int,
    grid: Grid,
    dtype: torch.dtype,
) -> None:
    """The scales of a group from its weights as they are now, in place."""
    scale, zero = fit(left_OS, replace(grid, group_size=0), dtype)
    scale_OG[:, group] = scale[:, 0]
    if zero_OG is not None and zero is not None:
        zero_OG[:, group] = zero[:, 0]


def _nearest(column_O: Tensor, scale_O: Tensor, zero_O: Tensor | None, grid: Grid) -> Tensor:
    scaled = column_O / scale_O
    if zero_O is not None:
        scaled = scaled + zero_O
    return torch.clamp(torch.round(scaled), grid.low, grid.high)


def _factor(gram_II: Tensor, damping: float) -> Tensor:
    """The upper Cholesky factor of the inverse of H, damped."""
    gram = gram_II.double()
    diagonal = gram.diagonal().clone()
    mean = float(diagonal.mean()) or 1.0
    # a column that no input reached is rounded plainly
    gram = gram + torch.diag((diagonal == 0).double() * mean)
    share = damping
    for _ in range(TRIES):
        damped = gram + torch.eye(len(gram)).to(gram) * (share * mean)
        lower, failed = torch.linalg.cholesky_ex(damped)
        if not failed:
            inverse = torch.cholesky_inverse(lower)
            upper, failed = torch.linalg.cholesky_ex(inverse, upper=True)
            if not failed:
                factor: Tensor = upper.float()
                return factor
        share = max(share, 1e-4) * 10
    raise ModelError(
        "The inputs of a layer give GPTQ no second-order matrix that it can invert.",
        slug="calibration-singular",
        got=f"no Cholesky factor at a damping of up to {share / 10:g} of the mean",
        fix="Check that the calibration text is real text and the model's outputs are finite, or "
        "choose another method.",
    )


def gptq_or_nearest(
    weight_OI: Tensor,
    gram_II: Tensor,
    grid: Grid,
    *,
    damping: float = 0.01,
    act_order: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Codes, int]:
    """``gptq``; a row whose outputs plain rounding hurts less is rounded plainly.

    Rows are independent of each other, so that the error on the calibration inputs is never above
    that of rounding to nearest. Not for grids of a whole tensor.

    Returns:
        The codes, and how many rows are rounded plainly.
    """
    found = gptq(weight_OI, gram_II, grid, damping=damping, act_order=act_order, dtype=dtype)
    plain = round_to_nearest(weight_OI, grid, dtype)
    ours_O, theirs_O = (output_error_O(weight_OI, each.dense(), gram_II) for each in (found, plain))
    worse_O = ours_O > theirs_O
    if not worse_O.any() or len(found.scale_OG) != len(worse_O):
        return found, 0
    mask = worse_O[:, None]
    zero = found.zero_OG
    if zero is not None and plain.zero_OG is not None:
        zero = torch.where(mask, plain.zero_OG, zero)
    chosen = Codes(
        torch.where(mask, plain.codes_OI, found.codes_OI),
        torch.where(mask, plain.scale_OG, found.scale_OG),
        zero,
        found.grid,
    )
    return chosen, int(worse_O.sum())


def output_error_O(weight_OI: Tensor, other_OI: Tensor, gram_II: Tensor) -> Tensor:
    """|(w - q) X|^2 of each row, over as many inputs as ``gram_II`` sums: (O,)."""
    change = weight_OI.float() - other_OI.float()
    error_O: Tensor = ((change @ gram_II.float()) * change).sum(1)
    return error_O
