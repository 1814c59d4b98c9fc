"""Objectives over single answers that are wanted or not, with a reference.

u is an answer's log-ratio to the reference and s the logistic function. What both losses compare
with is estimated on all rows of the optimizer step and carries no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.answers import BEST, MISMATCHED, OTHER, Answers, Unit, pairs_of


@dataclass(frozen=True, slots=True)
class Kto:
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306).

    loss = desirable_weight * (1 - s(beta * (u - z_0))) for a desirable answer, and
    undesirable_weight * (1 - s(beta * (z_0 - u))) for another.

    Each row has a second answer, which belongs to another prompt; z_0 is the mean of its log-ratios
    over the optimizer step, at least 0 (the estimate of the paper; TRL's is over a micro-batch).
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"kto": "rows"}
    COMPARED: ClassVar[tuple[int, ...]] = (MISMATCHED,)

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row."""
        ratio_B, _ = pairs_of(answers.ratio_A)
        wanted_B = pairs_of(answers.role_A)[0] == BEST
        from_point_B = self.beta * (ratio_B - self.reference_point(answers))
        desirable_B = self.desirable_weight * torch.sigmoid(-from_point_B)
        undesirable_B = self.undesirable_weight * torch.sigmoid(from_point_B)
        return {"kto": torch.where(wanted_B, desirable_B, undesirable_B)}

    def reference_point(self, answers: Answers) -> Tensor:
        """z_0, without gradient: ()."""
        mean_3, _ = answers.mean_ratios()
        return mean_3[MISMATCHED].clamp_min(0.0)

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A


@dataclass(frozen=True, slots=True)
class Bco:
    """Binary classifier optimisation (Jung et al. 2024, arXiv 2404.04656).

    loss = -log s(r - delta) for a desirable answer and -log s(-(r - delta)) for another, with
    r = beta * u. delta is the mean of the mean rewards of both kinds over the optimizer step; of
    answers of one kind alone, their mean. (The authors keep a moving mean of all rewards.)
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"bco": "rows"}
    COMPARED: ClassVar[tuple[int, ...]] = (BEST, OTHER)

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row."""
        own_A = answers.role_A != MISMATCHED  # there beside KTO, in a sum of both
        wanted_B = answers.role_A[own_A] == BEST
        shifted_B = self.rewards(answers)[own_A] - self.shift(answers)
        desirable_B = -self.desirable_weight * F.logsigmoid(shifted_B)
        undesirable_B = -self.undesirable_weight * F.logsigmoid(-shifted_B)
        return {"bco": torch.where(wanted_B, desirable_B, undesirable_B)}

    def shift(self, answers: Answers) -> Tensor:
        """delta, without gradient: ()."""
        mean_3, there_3 = answers.mean_ratios()
        both, there = mean_3[list(self.COMPARED)], there_3[list(self.COMPARED)]
        return self.beta * both[there].mean()

    def rewards(self, answers: Answers) -> Tensor:
        """beta * u."""
        return self.beta * answers.ratio_A
