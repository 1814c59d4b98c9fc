"""Optimizers with one moment or less: Lion, Adafactor, SGD."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from regimen.training.optimizers.kinds import ByTensor, Groups, decay


class Lion(ByTensor):
    """The sign of a mean of gradients, with one moment (Chen et al. 2023, arXiv 2302.06675).

    Algorithm 2: c = b1 m + (1 - b1) g; w -= lr (sign(c) + decay w); m = b2 m + (1 - b2) g.
    """

    def __init__(self, groups: Groups, *, betas: tuple[float, float]) -> None:
        super().__init__(groups, betas=betas)

    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """As ``ByTensor``."""
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter, dtype=torch.float32)
        grad = grad.float()
        step = state["exp_avg"].lerp(grad, 1 - first).sign_()
        decay(group, parameter)
        parameter.add_(step.to(parameter.dtype), alpha=-group["lr"])
        state["exp_avg"].lerp_(grad, 1 - second)


def adafactor(
    groups: Groups, *, beta2_decay: float, clip_threshold: float
) -> torch.optim.Optimizer:
    """torch's, without first moment (Shazeer and Stern 2018, arXiv 1804.04235)."""
    return torch.optim.Adafactor(groups, lr=0.0, beta2_decay=beta2_decay, d=clip_threshold)


def sgd(groups: Groups, *, momentum: float) -> torch.optim.Optimizer:
    """torch's."""
    return torch.optim.SGD(groups, lr=0.0, momentum=momentum)
