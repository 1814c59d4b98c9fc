"""Distillation: learn a teacher's distribution of every next token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from regimen.models.head import Reduced
from regimen.models.teaching import Taught
from regimen.objectives.base import LossOut
from regimen.tokens.ragged import RaggedBatch

PART, ANSWERS = "distillation", "sft"


@dataclass(frozen=True, slots=True)
class Distillation:
    """Weighted mean divergence of the teacher from the student at the supervised tokens.

    loss = sum_i w_i * D(p_i, q_i) / sum_i w_i + sft_weight * nll, over the whole optimizer step,
    with p_i the teacher's distribution of token i and q_i the student's (Hinton et al. 2015, arXiv
    1503.02531; of sequences: Agarwal et al. 2024, arXiv 2306.13649, eq. 2). Which D is the
    teacher's to say: ``regimen.models.teaching.divergence_rows``.

    Args:
        teacher: what the teacher says of a batch: frozen, and without gradient.
        sft_weight: weight of the likelihood of the tokens that are there.
    """

    teacher: Callable[[RaggedBatch], Taught]
    sft_weight: float = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """The divergence; log-probabilities where the likelihood counts too."""
        return frozenset({"teacher_kl", "logp"} if self.sft_weight else {"teacher_kl"})

    def taught(self, batch: RaggedBatch) -> Taught:
        """What the teacher says."""
        return self.teacher(batch)

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """The sum of the token weights, for both parts."""
        total = float(batch.weight_N.sum())
        return {PART: total, ANSWERS: total} if self.sft_weight else {PART: total}

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """Weighted sums over the supervised tokens."""
        assert reduced.teacher_sum is not None
        parts = {PART: reduced.teacher_sum}
        if self.sft_weight:
            assert reduced.logp_N is not None
            parts[ANSWERS] = -self.sft_weight * (batch.weight_N * reduced.logp_N).sum()
        told = {name: float(total.detach()) for name, total in parts.items()}
        return LossOut(parts, told, float(len(batch.weight_N)))
