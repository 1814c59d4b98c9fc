"""Objectives over single answers that are wanted or not, with a reference.

u is an answer's log-ratio to the reference and s the logistic function. What both losses compare
with is estimated on the micro-batch at hand and carries no gradient, so these two alone are not the
same for one batch and for several that are accumulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.answers import BEST, Answers, Unit, pairs_of


def reference_point(mismatched_ratio_B: Tensor) -> Tensor:
    """KTO's z_0: max(0, mean log-ratio of answers to other prompts), without gradient."""
    return mismatched_ratio_B.detach().mean().clamp_min(0.0)


@dataclass(frozen=True, slots=True)
class Kto:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306).

    loss = desirable_weight * (1 - s(beta * (u - z_0))) for a desirable answer, and
    undesirable_weight * (1 - s(beta * (z_0 - u))) for another.

    Each row has a second answer, which belongs to another prompt; z_0 is the mean of its log-ratios
    over the micro-batch, at least 0 (the estimate of the paper, and TRL's).
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"kto": "rows"}

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row."""
        ratio_B, mismatched_B = pairs_of(answers.ratio_A)
        wanted_B = pairs_of(answers.role_A)[0] == BEST
        from_point_B = self.beta * (ratio_B - reference_point(mismatched_B))
        desirable_B = self.desirable_weight * torch.sigmoid(-from_point_B)
        undesirable_B = self.undesirable_weight * torch.sigmoid(from_point_B)
        return {"kto": torch.where(wanted_B, desirable_B, undesirable_B)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


def reward_shift(rewards_B: Tensor, wanted_B: Tensor) -> Tensor:
    """BCO's delta: the mean of the mean rewards of wanted and unwanted answers, no gradient.

    Of a micro-batch with answers of one kind alone, their mean.
    """
    rewards_B = rewards_B.detach()
    means = [rewards_B[kind].mean() for kind in (wanted_B, ~wanted_B) if bool(kind.any())]
    return torch.stack(means).mean()


@dataclass(frozen=True, slots=True)
class Bco:
    """Binary classifier optimisation (Jung et al. 2024, arXiv 2404.04656).

    loss = -log s(r - delta) for a desirable answer and -log s(-(r - delta)) for another, with
    r = beta * u. delta is that of the micro-batch, where the authors keep a moving mean.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"bco": "rows"}

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row."""
        reward_B, wanted_B = self.rewards(answers), answers.role_A == BEST
        shifted_B = reward_B - reward_shift(reward_B, wanted_B)
        desirable_B = -self.desirable_weight * F.logsigmoid(shifted_B)
        undesirable_B = -self.undesirable_weight * F.logsigmoid(-shifted_B)
        return {"bco": torch.where(wanted_B, desirable_B, undesirable_B)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A
