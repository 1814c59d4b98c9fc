"""Preference objectives: prefer one answer to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models.head import Reduced
from regimen.objectives.base import LossOut
from regimen.tokens.ragged import RaggedBatch


def sequence_logp(batch: RaggedBatch, logp_N: Tensor) -> Tensor:
    """Sum of the supervised tokens' log-probabilities in each segment: (S,)."""
    out_S = logp_N.new_zeros(len(batch.plan.lengths))
    return out_S.index_add(0, batch.target_segment_N, logp_N)


def pair_segments(batch: RaggedBatch) -> tuple[Tensor, Tensor]:
    """Segment numbers of the chosen and of the rejected answers, in pairs: (P,), (P,).

    A row of a preference batch is a prompt segment followed by two segments that continue it.
    """
    answers = [s for s, parent in enumerate(batch.plan.parents) if parent >= 0]
    pairs = torch.tensor(answers, device=batch.ids_T.device).view(-1, 2)
    return pairs[:, 0], pairs[:, 1]


@dataclass(frozen=True, slots=True)
class Dpo:
    """Direct preference optimisation (Rafailov et al. 2023, eq. 7).

    loss = -log sigmoid(beta * ((log pi_w - log ref_w) - (log pi_l - log ref_l))).

    ``reference`` holds the frozen reference's sequence log-probabilities, (rows, 2) for chosen and
    rejected, addressed by the instance number of a segment. ``label_smoothing`` e is conservative
    DPO: the pair is taken to be swapped with probability e (Mitchell 2023, eq. 3).
    """

    reference_R2: Tensor
    beta: float = 0.1
    label_smoothing: float = 0.0

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities with gradient."""
        return frozenset({"logp"})

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """One component, weighted by the number of pairs."""
        return {"dpo": float(len(pair_segments(batch)[0]))}

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """Sum of the pair losses, with the rewards that are logged."""
        assert reduced.logp_N is not None
        logp_S = sequence_logp(batch, reduced.logp_N)
        chosen_P, rejected_P = pair_segments(batch)
        rows = [batch.instance_S[int(s)] for s in chosen_P]
        reference_P2 = self.reference_R2[rows].to(logp_S.device)
        ratio_chosen = logp_S[chosen_P] - reference_P2[:, 0]
        ratio_rejected = logp_S[rejected_P] - reference_P2[:, 1]
        margin_P = self.beta * (ratio_chosen - ratio_rejected)
        e = self.label_smoothing
        loss_P = -(1 - e) * F.logsigmoid(margin_P) - e * F.logsigmoid(-margin_P)
        with torch.no_grad():
            metrics = {
                "rewards/chosen": float(self.beta * ratio_chosen.sum()),
                "rewards/rejected": float(self.beta * ratio_rejected.sum()),
                "rewards/margins": float(margin_P.sum()),
                "rewards/accuracies": float((margin_P > 0).sum()),
                "logps/chosen": float(logp_S[chosen_P].sum()),
                "logps/rejected": float(logp_S[rejected_P].sum()),
                "max_abs_logratio": float(torch.cat([ratio_chosen, ratio_rejected]).abs().max())
                * len(rows),
            }
        return LossOut({"dpo": loss_P.sum()}, metrics, float(len(rows)))
