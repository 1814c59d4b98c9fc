"""Supervised objectives: learn given tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regimen.models.head import Reduced
from regimen.objectives.base import NLL, LossOut
from regimen.tokens.ragged import RaggedBatch


@dataclass(frozen=True, slots=True)
class Supervised:
    """Weighted negative log-likelihood of the supervised tokens.

    loss = sum_i w_i * -log p(y_i | x_<i) / sum_i w_i, over the whole optimizer step.

    ``label_smoothing`` e mixes in the uniform distribution over the vocabulary (Szegedy et al.
    2016, eq. 7): (1 - e) * nll + e * (lse - mean logit). ``z_loss`` adds c * lse^2 (PaLM,
    Chowdhery et al. 2022, section 5), which keeps the normaliser near 1.
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """The forward-time gradient suffices unless the loss is more than a sum of nll."""
        if self.label_smoothing or self.z_loss:
            return frozenset({"logp", "lse", "mean_logit"})
        return frozenset({"nll_sum"})

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """One component, weighted by the sum of the token weights."""
        return {NLL: float(batch.weight_N.sum())}

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """Weighted sums over the supervised tokens."""
        weight_N = batch.weight_N
        assert reduced.logp_N is not None
        nll = -(weight_N * reduced.logp_N.detach()).sum()
        if reduced.nll_sum is not None:
            total = reduced.nll_sum
        else:
            assert reduced.lse_N is not None
            assert reduced.mean_logit_N is not None
            smooth = self.label_smoothing
            row_N = -(1 - smooth) * reduced.logp_N
            row_N = row_N + smooth * (reduced.lse_N - reduced.mean_logit_N)
            row_N = row_N + self.z_loss * reduced.lse_N.square()
            total = (weight_N * row_N).sum()
        return LossOut({NLL: total}, {NLL: nll}, float(len(weight_N)))
