"""Objectives over several answers with scores: the better one is to be the likelier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from regimen.objectives.answers import Answers, Unit


def ordered_pairs(row_A: Tensor, score_A: Tensor) -> tuple[Tensor, Tensor]:
    """All (better, worse) answers of one row, by score; ties are in neither order: (K,), (K,)."""
    together_AA = row_A[:, None] == row_A[None, :]
    better_AA = together_AA & (score_A[:, None] > score_A[None, :])
    better_K, worse_K = better_AA.nonzero(as_tuple=True)
    return better_K, worse_K


def sum_of_rows(answers: Answers, values_K: Tensor, answer_K: Tensor) -> Tensor:
    """Values that each belong to the row of an answer, summed: (B,)."""
    zeros_B = values_K.new_zeros(answers.rows)
    return zeros_B.index_add(0, answers.row_A[answer_K], values_K)


@dataclass(frozen=True, slots=True)
class Rrhf:
    """Rank responses to align human feedback (Yuan et al. 2023, arXiv 2304.05302).

    loss = sum over pairs (i better than j) of max(0, p_j - p_i) + sft_weight * nll(best), with p
    the mean log-probability of an answer's tokens.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"rrhf": "rows", "sft": "best_tokens"}

    sft_weight: float = 1.0

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row, and of each token."""
        better_K, worse_K = ordered_pairs(answers.row_A, answers.score_A)
        mean_A = answers.mean_A
        ranking_K = (mean_A[worse_K] - mean_A[better_K]).relu()
        return {
            "rrhf": sum_of_rows(answers, ranking_K, better_K),
            "sft": -self.sft_weight * answers.token_logp_N,
        }

    def rewards(self, answers: Answers) -> Tensor:
        """mean log pi."""
        return answers.mean_A


@dataclass(frozen=True, slots=True)
class Slic:
    """Sequence likelihood calibration (Zhao et al. 2023, *SLiC-HF*, arXiv 2305.10425).

    loss = mean over pairs (i better than j) of max(0, delta - log pi(y_i|x) + log pi(y_j|x)) +
    sft_weight * nll(best). With ``length_normalised`` log pi is the mean over tokens, not the sum.
    """

    PARTS: ClassVar[Mapping[str, Unit]] = {"slic": "rows", "sft": "best_tokens"}

    delta: float = 1.0
    sft_weight: float = 1.0
    length_normalised: bool = False

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The loss of each row, and of each token."""
        better_K, worse_K = ordered_pairs(answers.row_A, answers.score_A)
        logp_A = self.rewards(answers)
        hinge_K = (self.delta - logp_A[better_K] + logp_A[worse_K]).relu()
        sums_B = sum_of_rows(answers, hinge_K, better_K)
        pairs_B = sum_of_rows(answers, hinge_K.new_ones(len(hinge_K)), better_K)
        return {
            "slic": sums_B / pairs_B.clamp_min(1.0),
            "sft": -self.sft_weight * answers.token_logp_N,
        }

    def rewards(self, answers: Answers) -> Tensor:
        """log pi, or its mean."""
        return answers.mean_A if self.length_normalised else answers.logp_A
