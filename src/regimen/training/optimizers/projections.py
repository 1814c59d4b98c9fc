"""Adam whose moments live in a space of low rank: GaLore and APOLLO.

Hidden matrices whose shorter side is longer than the rank are projected; all other parameters are
stepped by AdamW. Shape letters: M the shorter side of a matrix, N the longer, R the rank.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from regimen.training.optimizers.groups import is_hidden_matrix
from regimen.training.optimizers.kinds import ByTensor, Groups, adam_direction, decay

GROWTH = 1.01
"""Largest factor between the norms of two updates in a row (*Fira*, arXiv 2410.01623)."""


def is_projected(group: Any, parameter: Tensor) -> bool:
    """Whether a parameter's moments are kept in the low rank of its group."""
    return is_hidden_matrix(group, parameter) and group["rank"] < min(parameter.shape)


class _Projected(ByTensor):
    """What both have in common: who is projected, decay, and AdamW for the rest."""

    def __init__(
        self,
        groups: Groups,
        *,
        betas: tuple[float, float],
        eps: float,
        rank: int,
        update_gap: int,
        scale: float,
    ) -> None:
        options = {"rank": rank, "update_gap": update_gap, "scale": scale}
        super().__init__(groups, betas=betas, eps=eps, **options)

    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """As ``ByTensor``."""
        state = self.state[parameter]
        decay(group, parameter)
        if is_projected(group, parameter):
            tall = parameter.shape[0] > parameter.shape[1]
            step_MN = self.of_matrix(group, parameter, state, (grad.mT if tall else grad).float())
            step = step_MN.mT if tall else step_MN
        else:
            step = adam_direction(state, grad, group["betas"], group["eps"])
        parameter.add_(step.to(parameter.dtype), alpha=-group["lr"])

    @abstractmethod
    def of_matrix(
        self, group: Mapping[str, Any], parameter: Tensor, state: dict[str, Any], grad_MN: Tensor
    ) -> Tensor:
        """What a matrix is moved against, (M, N), lying so that M is at most N."""


class GaLore(_Projected):
    """Adam on gradients in the span of their principal directions (Zhao et al. 2024).

    Algorithm 2 of arXiv 2403.03507: every ``update_gap`` steps P_MR are the first left singular
    vectors of the gradient; R_RN = P^T G; N = Adam(R); W -= lr * scale * P N. Moments stay when P
    changes. P is found as eigenvectors of G G^T, which span the same and cost less.
    """

    def of_matrix(
        self, group: Mapping[str, Any], parameter: Tensor, state: dict[str, Any], grad_MN: Tensor
    ) -> Tensor:
        """As ``_Projected``."""
        if state.get("step", 0) % group["update_gap"] == 0:
            state["basis_MR"] = principal_directions(grad_MN, group["rank"])
        basis_MR = state["basis_MR"]
        low_RN = adam_direction(state, basis_MR.mT @ grad_MN, group["betas"], group["eps"])
        step_MN: Tensor = (basis_MR @ low_RN).mul_(group["scale"])
        return step_MN


def principal_directions(matrix_MN: Tensor, rank: int) -> Tensor:
    """The first ``rank`` left singular vectors, as (M, R), for M at most N.

    Each has its largest number positive: a decomposition may give it either way, and moments that
    stay over a change of the basis must not depend on that.
    """
    scaled = matrix_MN / matrix_MN.abs().max().clamp(min=1e-30)  # squares of 1e-25 are 0 in fp32
    _, vectors_MM = torch.linalg.eigh(scaled @ scaled.mT)
    basis_MR = vectors_MM[:, -rank:].flip(1).contiguous()
    largest_1R = basis_MR.gather(0, basis_MR.abs().argmax(0, keepdim=True))
    turned: Tensor = basis_MR.mul_(torch.where(largest_1R < 0, -1.0, 1.0))
    return turned


class Apollo(_Projected):
    """The gradient, scaled as Adam would in a random projection (Zhu et al. 2024).

    Algorithm 1 of arXiv 2412.05270: R_RN = P G with P from N(0, 1/R), drawn anew every
    ``update_gap`` steps; each column of G is scaled by the norm of Adam(R) over that of R there,
    or, without ``by_channel``, the whole matrix by one factor (APOLLO-Mini); the norm grows by at
    most ``GROWTH`` from step to step; W -= lr * scale * what is left. P is a function of the
    parameter's place and the draw alone, and so is not kept.
    """

    def __init__(self, groups: Groups, *, by_channel: bool = True, **options: Any) -> None:
        super().__init__(groups, **options)
        self.by_channel = by_channel
        every = [p for group in self.param_groups for p in group["params"]]
        self._place = {parameter: number for number, parameter in enumerate(every)}

    def of_matrix(
        self, group: Mapping[str, Any], parameter: Tensor, state: dict[str, Any], grad_MN: Tensor
    ) -> Tensor:
        """As ``_Projected``."""
        draw = state.get("step", 0) // group["update_gap"]
        shape = (group["rank"], grad_MN.shape[0])
        projection_RM = random_projection(shape, self._place[parameter], draw, grad_MN.device)
        low_RN = projection_RM @ grad_MN
        found_RN = adam_direction(state, low_RN, group["betas"], group["eps"])
        if self.by_channel:
            factor = found_RN.norm(dim=0) / low_RN.norm(dim=0).clamp(min=1e-30)
        else:
            factor = found_RN.norm() / low_RN.norm().clamp(min=1e-30)
        step_MN: Tensor = grad_MN * factor
        norm = step_MN.norm()
        if "norm" in state:
            limit = GROWTH * state["norm"]
            step_MN *= (limit / norm.clamp(min=1e-30)).clamp(max=1.0)
            norm = torch.minimum(norm, limit)
        if float(norm) > 0.0:  # a step without gradient must not hold all later ones at 0
            state["norm"] = norm
        return step_MN.mul_(group["scale"])


def random_projection(
    shape: tuple[int, int], place: int, draw: int, device: torch.device
) -> Tensor:
    """Numbers of N(0, 1 / rows), the same for the same place and draw."""
    # 32 bits of a seed are used on a CPU
    generator = torch.Generator(device).manual_seed((place * 1_000_003 + draw) % 2**32)
    drawn = torch.randn(shape, generator=generator, device=device)
    return drawn.div_(shape[0] ** 0.5)


def galore_bytes(rows: int, columns: int, options: Mapping[str, Any]) -> float:
    """Two moments in R x N and the basis in M x R, in fp32, for each parameter."""
    short, long = sorted((rows, columns))
    rank = int(options["rank"])
    if rank >= short:
        return 8.0
    return 4 * rank * (2 * long + short) / (rows * columns)


def apollo_bytes(rows: int, columns: int, options: Mapping[str, Any]) -> float:
    """Two moments in R x N, in fp32, for each parameter."""
    short, long = sorted((rows, columns))
    rank = int(options["rank"])
    if rank >= short:
        return 8.0
    return 8 * rank * long / (rows * columns)
