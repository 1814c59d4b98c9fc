"""Objectives over pairs that look at no reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.answers import Answers, Unit, pairs_of
from regimen.objectives.preference import logistic

LEAST_NLL = 1e-6
"""A token's or answer's probability counts as at most exp(-this), so that log(1 - p) is finite."""


def log1mexp(logp: Tensor) -> Tensor:
    """log(1 - exp(x)) for x < 0, without cancellation (Mächler 2012); x is at most -LEAST_NLL."""
    x = logp.clamp_max(-LEAST_NLL)
    small = x > -0.6931471805599453
    near = torch.log(-torch.expm1(torch.where(small, x, -1.0)))
    far = torch.log1p(-torch.exp(torch.where(small, -1.0, x)))
    return torch.where(small, near, far)


@dataclass(frozen=True, slots=True)
class Cpo:
    """Contrastive preference optimisation (Xu et al. 2024, arXiv 2401.08417).

    loss = -log s(beta * (log pi(y_w|x) - log pi(y_l|x))) + sft_weight * nll(y_w), with nll the mean
    over the tokens of the chosen answers.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"cpo": "rows", "sft": "best_tokens"}

    beta: float = 0.1
    sft_weight: float = 1.0
    label_smoothing: float = 0.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair, and of each token."""
        chosen_B, rejected_B = pairs_of(answers.logp_A)
        margin_B = self.beta * (chosen_B - rejected_B)
        return {
            "cpo": logistic(margin_B, self.label_smoothing),
            "sft": -self.sft_weight * answers.token_logp_N,
        }

    def rewards(self, answers: Answers) -> Tensor:
        """beta * log pi."""
        return self.beta * answers.logp_A


@dataclass(frozen=True, slots=True)
class Simpo:
    """SimPO (Meng et al. 2024, arXiv 2405.14734, eq. 6).

    loss = -log s(beta * (mean log pi(y_w|x) - mean log pi(y_l|x)) - gamma), means over tokens.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"simpo": "rows"}

    beta: float = 2.0
    gamma: float = 1.0
    label_smoothing: float = 0.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair."""
        chosen_B, rejected_B = pairs_of(answers.mean_A)
        margin_B = self.beta * (chosen_B - rejected_B) - self.gamma
        return {"simpo": logistic(margin_B, self.label_smoothing)}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * mean log pi."""
        return self.beta * answers.mean_A


@dataclass(frozen=True, slots=True)
class Orpo:
    """Odds ratio preference optimisation (Hong et al. 2024, arXiv 2403.07691).

    loss = nll(y_w) - beta * log s(log odds(y_w|x) - log odds(y_l|x)), with odds = p / (1 - p) of
    p = exp(mean log pi). The paper's lambda is ``beta`` here, as in TRL.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"orpo": "rows", "sft": "best_tokens"}

    beta: float = 0.1

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each pair, and of each token."""
        mean_A = answers.mean_A
        chosen_B, rejected_B = pairs_of(mean_A - log1mexp(mean_A))
        odds_B = -self.beta * F.logsigmoid(chosen_B - rejected_B)
        return {"orpo": odds_B, "sft": -answers.token_logp_N}

    def rewards(self, answers: Answers) -> Tensor:
        """beta * mean log pi."""
        return self.beta * answers.mean_A


@dataclass(frozen=True, slots=True)
class Sft:
    """The likelihood of the chosen, desirable or highest answers, for sums with other losses.

    loss = mean over their tokens of -log pi(y_t|x, y_<t).
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"sft": "best_tokens"}

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each token."""
        return {"sft": -answers.token_logp_N}

    def rewards(self, answers: Answers) -> Tensor:
        """mean log pi."""
        return answers.mean_A


@dataclass(frozen=True, slots=True)
class Unlikelihood:
    """Likelihood of wanted and unlikelihood of unwanted answers (Welleck et al. 2019).

    loss = nll(y_w) + unlikelihood_weight * mean over the tokens of y_l of -log(1 - pi(y_t|x, y_<t))
    (arXiv 1908.04319; with answers as the negative candidates: Li et al. 2020, arXiv 1911.03860).
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"sft": "best_tokens", "unlikelihood": "other_tokens"}

    unlikelihood_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The losses of each token."""
        logp_N = answers.token_logp_N
        return {"sft": -logp_N, "unlikelihood": -self.unlikelihood_weight * log1mexp(logp_N)}

    def rewards(self, answers: Answers) -> Tensor:
        """mean log pi."""
        return answers.mean_A
