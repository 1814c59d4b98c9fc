"""Pairs as regimen reads them: both answers behind one prompt, or each behind its own copy; for
likelihoods of answers or for their scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pairs import pairs_of
from regimen.alignment.reference import reference_logps
from regimen.models.forward import LanguageModel
from regimen.models.head import Reduced
from regimen.objectives.answers import (
    BEST,
    OTHER,
    AnswerObjective,
    Answers,
    AnswerTable,
    sequence_logp,
)
from regimen.objectives.base import LossOut, Objective
from regimen.objectives.preference import Dpo
from regimen.tokens.ragged import RaggedBatch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import TokenRows, token_rows
from regimen.training.measure import measured_batches
from regimen_sft import rows_apart
from work import Rows

LOSS = Dpo(beta=0.1)


@dataclass(frozen=True, slots=True)
class Form:
    """How pairs are laid out, what the reference says of them (R, 2), and what is learnt.

    Without a reference, the objective is given zeros.
    """

    rows: Callable[[Rows], TokenRows]
    reference: Callable[[LanguageModel, TokenRows, int, bool], Tensor] | None
    objective: Callable[[Tensor], Objective]


def shared_rows(rows: Rows) -> TokenRows:
    """A prompt and the answers that continue it: what `align` makes of pairs."""
    pairs = pairs_of(rows)
    return token_rows(RenderedAnswers(tuple(p), (tuple(a), tuple(b))) for p, a, b in pairs)


def separate_rows(rows: Rows) -> TokenRows:
    """Two sequences a pair, each with the prompt."""
    return rows_apart(rows, 2)


def _shared_reference(model: LanguageModel, rows: TokenRows, most: int, bf16: bool) -> Tensor:
    return reference_logps(model, rows, tokens_per_batch=most, bf16=bf16).view(-1, 2)


def _separate_reference(model: LanguageModel, rows: TokenRows, most: int, bf16: bool) -> Tensor:
    found = [
        sequence_logp(batch, logp_N)
        for _, batch, logp_N in measured_batches(model, rows, tokens_per_batch=most, bf16=bf16)
    ]
    return torch.cat(found).view(-1, 2).cpu()


def _shared_objective(reference_R2: Tensor) -> Objective:
    return AnswerObjective(AnswerTable.of_pairs(reference_R2), ((1.0, LOSS),))


@dataclass(frozen=True, slots=True)
class Separate:
    """The same loss where sequence 2k and 2k + 1 of a batch are the answers of a pair."""

    reference_R2: Tensor

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities with gradient."""
        return frozenset({"logp"})

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """Pairs."""
        return {"dpo": len(batch.instance_S) / 2}

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """The summed loss of the pairs."""
        assert reduced.logp_N is not None
        device = reduced.logp_N.device
        pairs = torch.tensor(batch.instance_S[::2])
        row_A = torch.arange(len(pairs), device=device).repeat_interleave(2)
        role_A = torch.tensor([BEST, OTHER], device=device).repeat(len(pairs))
        answers = Answers(
            token_logp_N=reduced.logp_N,
            answer_N=batch.target_segment_N,
            row_A=row_A,
            role_A=role_A,
            score_A=role_A.double(),
            reference_A=self.reference_R2[pairs].reshape(-1).to(device),
            weight_B=torch.ones(len(pairs), device=device),
        )
        return LossOut({"dpo": LOSS(answers)["dpo"].sum()}, {}, float(len(pairs)))


def scored_rows(rows: Rows) -> TokenRows:
    """A prompt and the answers that continue it, a score at the last token of each."""
    found = []
    for prompt, *answers in pairs_of(rows):
        weights = tuple((0.0,) * (len(answer) - 1) + (1.0,) for answer in answers)
        found.append(RenderedAnswers(tuple(prompt), tuple(map(tuple, answers)), weights=weights))
    return replace(token_rows(found), scored=True)


def _reward(nothing_R2: Tensor) -> Objective:
    from regimen.objectives.reward import BradleyTerry, RewardObjective, ScoreTable

    count = len(nothing_R2)
    table = ScoreTable(
        first_R=2 * torch.arange(count),
        value_M=torch.tensor([1.0, 0.0]).repeat(count),
        margin_M=torch.zeros(2 * count),
        weight_RH=torch.ones(count, 1),
    )
    return RewardObjective(table, BradleyTerry())


FORMS: Mapping[str, Form] = {
    "shared": Form(shared_rows, _shared_reference, _shared_objective),
    "separate": Form(separate_rows, _separate_reference, Separate),
}
"""Of DPO."""
REWARD = Form(scored_rows, None, _reward)
