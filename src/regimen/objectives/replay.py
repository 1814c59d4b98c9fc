"""What a model can already do, learnt again beside a loss over answers, so that it is not lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from regimen.models.head import Reduced
from regimen.objectives.answers import ROLES, AnswerObjective
from regimen.objectives.base import LossOut
from regimen.tokens.ragged import RaggedBatch

REPLAY = "replay"
"""The component, and what is logged of it."""


def replayed_targets(batch: RaggedBatch) -> Tensor:
    """Whether each target is of a replayed row, a segment that no other one continues: (N,)."""
    parents = batch.plan.parents
    prompts = set(parents)
    alone_S = torch.tensor([p < 0 and s not in prompts for s, p in enumerate(parents)])
    return alone_S.to(batch.target_segment_N.device)[batch.target_segment_N]


@dataclass(frozen=True, slots=True)
class WithReplay:
    """A loss over answers, and the likelihood of conversations in the same micro-batches.

    loss = loss of the answers + weight * sum_i w_i * -log p(y_i | x_<i) / sum_i w_i, the sums over
    the supervised tokens i of replayed rows in the optimizer step, w_i their weights (Ouyang et al.
    2022, *InstructGPT*, arXiv 2203.02155, eq. 2, gamma for the weight; there beside PPO and of
    pretraining text). A step without a row of one kind learns from the other alone.
    """

    answers: AnswerObjective
    weight: float = 1.0

    @property
    def needs(self) -> frozenset[str]:
        """Those of the loss over answers: log-probabilities with gradient."""
        return self.answers.needs

    @property
    def compares(self) -> bool:
        """Whether the loss over answers compares rows with means over the step."""
        return self.answers.compares

    def seen(self, batch: RaggedBatch, reduced: Reduced) -> Tensor:
        """What the loss over answers compares with: (3, 2)."""
        assert reduced.logp_N is not None
        apart = _answers_of(batch, reduced)
        return (
            reduced.logp_N.new_zeros(len(ROLES), 2) if apart is None else self.answers.seen(*apart)
        )

    def comparing(self, seen: Tensor) -> WithReplay:
        """The same, with what was seen of the whole step."""
        return replace(self, answers=self.answers.comparing(seen))

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """Those of the loss over answers, and the sum of the weights of replayed tokens."""
        apart = _answers_of(batch, Reduced(logp_N=torch.zeros(len(batch.target_N))))
        found = {} if apart is None else self.answers.weights(apart[0])
        return {**found, REPLAY: float(batch.weight_N[replayed_targets(batch)].sum())}

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """The sums of all parts, each of which is logged."""
        assert reduced.logp_N is not None
        apart = _answers_of(batch, reduced)
        out = LossOut({}, {}, 0.0) if apart is None else self.answers(*apart)
        totals, mine_N = dict(out.components), replayed_targets(batch)
        if bool(mine_N.any()):
            totals[REPLAY] = -self.weight * (batch.weight_N * reduced.logp_N)[mine_N].sum()
        parts = {part: float(total.detach()) for part, total in totals.items()}
        return LossOut(totals, {**out.metrics, **parts}, out.rows)


def _answers_of(batch: RaggedBatch, reduced: Reduced) -> tuple[RaggedBatch, Reduced] | None:
    """The batch without the targets of replayed rows; None where nothing else is in it."""
    if batch.plan.is_flat:
        return None
    assert reduced.logp_N is not None
    kept_N = ~replayed_targets(batch)
    targets = {
        name: getattr(batch, name)[kept_N]
        for name in ("target_N", "source_row_N", "weight_N", "target_segment_N")
    }
    return replace(batch, **targets), Reduced(logp_N=reduced.logp_N[kept_N])
