"""What objectives over answers share: the answers of a batch, and weighted sums of losses.

A row is a prompt segment followed by segments that continue it, one for each answer. Shape letters:
A answers of a batch, B its rows, P pairs, N supervised tokens; R rows of all data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from regimen.models.head import Reduced
from regimen.objectives.base import LossOut
from regimen.tokens.ragged import RaggedBatch

Unit = Literal["rows", "best_tokens", "other_tokens"]
"""What a part of a loss is a mean over: rows, or the tokens of the best or of the other answers."""

BEST, OTHER, MISMATCHED = 1, 0, -1
"""Roles of answers: the chosen, desirable or highest one; another one; one to another prompt."""

ROLES = (OTHER, BEST, MISMATCHED)
"""The order in which sums by role stand: a role is its own place, the last one from the end."""


@dataclass(frozen=True, slots=True)
class AnswerTable:
    """What is known of all answers before training; answer k of row r has number first_R[r] + k.

    ``role_A`` is one of ``BEST``, ``OTHER``, ``MISMATCHED``; ``score_A`` the higher, the better;
    ``reference_A`` the summed log-probability (nats) under the frozen reference, zeros where no
    loss looks at it; ``weight_R`` weighs a row's part of every loss.
    """

    first_R: Tensor
    role_A: Tensor
    score_A: Tensor
    reference_A: Tensor
    weight_R: Tensor

    @classmethod
    def of_pairs(cls, reference_R2: Tensor) -> AnswerTable:
        """The table of pairs, chosen before rejected, that weigh the same."""
        rows = len(reference_R2)
        role_A = torch.tensor([BEST, OTHER]).repeat(rows)
        first_R = 2 * torch.arange(rows)
        return cls(first_R, role_A, role_A.double(), reference_R2.reshape(-1), torch.ones(rows))


@dataclass(frozen=True)
class Answers:
    """The answers of a batch, row after row, in the order of the data.

    ``logp_A`` is the sum of an answer's token log-probabilities (nats), ``tokens_A`` their number,
    ``row_A`` the answer's row in the batch; ``answer_N`` says which answer a token belongs to.
    ``ratios_32`` is what ``ratio_sums`` says of all answers of the optimizer step, where there are
    more than these.
    """

    token_logp_N: Tensor
    answer_N: Tensor
    row_A: Tensor
    role_A: Tensor
    score_A: Tensor
    reference_A: Tensor
    weight_B: Tensor
    ratios_32: Tensor | None = None

    @cached_property
    def logp_A(self) -> Tensor:
        """Summed log-probabilities."""
        zeros_A = self.token_logp_N.new_zeros(len(self.row_A))
        return zeros_A.index_add(0, self.answer_N, self.token_logp_N)

    @cached_property
    def tokens_A(self) -> Tensor:
        """Supervised tokens, at least 1."""
        counts_A = torch.bincount(self.answer_N, minlength=len(self.row_A))
        return counts_A.clamp_min(1).to(self.token_logp_N.dtype)

    @property
    def ratio_A(self) -> Tensor:
        """Log-ratio to the reference: log pi(y|x) - log ref(y|x)."""
        return self.logp_A - self.reference_A.to(self.logp_A.dtype)

    def ratio_sums(self) -> Tensor:
        """Sum of the log-ratios and number of the answers of each of ``ROLES``: (3, 2)."""
        ratio_A = self.ratio_A.detach()
        own_A2 = torch.stack([ratio_A, torch.ones_like(ratio_A)], dim=1)
        return ratio_A.new_zeros(len(ROLES), 2).index_add(0, self.role_A % len(ROLES), own_A2)

    def mean_ratios(self) -> tuple[Tensor, Tensor]:
        """Mean log-ratio of the answers of each of ``ROLES`` over the optimizer step, without
        gradient, and whether there are any: (3,), (3,). A mean of none is 0."""
        sums_32 = self.ratio_sums() if self.ratios_32 is None else self.ratios_32
        total_3, count_3 = sums_32.unbind(1)
        return total_3 / count_3.clamp_min(1.0), count_3 > 0

    @property
    def mean_A(self) -> Tensor:
        """Mean log-probability of a token."""
        return self.logp_A / self.tokens_A

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return len(self.weight_B)

    def role_N(self) -> Tensor:
        """The role of each token's answer."""
        return self.role_A[self.answer_N]

    def token_weight_N(self) -> Tensor:
        """The weight of each token's row."""
        return self.weight_B[self.row_A[self.answer_N]]

    def count(self, unit: Unit) -> float:
        """What a part with this unit is divided by."""
        if unit == "rows":
            return float(self.weight_B.sum())
        chosen_N = self.role_N() == (BEST if unit == "best_tokens" else OTHER)
        return float(self.token_weight_N()[chosen_N].sum())

    def total(self, unit: Unit, values: Tensor) -> Tensor:
        """The weighted sum of a part: of (B,) values of rows, or of (N,) values of tokens."""
        if unit == "rows":
            return (self.weight_B * values).sum()
        chosen_N = self.role_N() == (BEST if unit == "best_tokens" else OTHER)
        return (self.token_weight_N()[chosen_N] * values[chosen_N]).sum()


@dataclass(frozen=True, slots=True)
class Places:
    """Where the answers of a batch are.

    For each answer its segment, its number among all answers of the data and its row in the batch;
    for each row of the batch its number in the data.
    """

    segments: tuple[int, ...]
    numbers: tuple[int, ...]
    row_A: tuple[int, ...]
    rows: tuple[int, ...]


def places_of(first_R: Tensor, batch: RaggedBatch) -> Places:
    """The segments of a batch that continue another one, numbered along each row."""
    segments = tuple(s for s, parent in enumerate(batch.plan.parents) if parent >= 0)
    prompts = tuple(dict.fromkeys(batch.plan.parents[s] for s in segments))
    order = {prompt: row for row, prompt in enumerate(prompts)}
    rows = tuple(batch.instance_S[prompt] for prompt in prompts)
    row_A = tuple(order[batch.plan.parents[s]] for s in segments)
    seen = [0] * len(rows)
    numbers = []
    for row in row_A:
        numbers.append(int(first_R[rows[row]]) + seen[row])
        seen[row] += 1
    return Places(segments, tuple(numbers), row_A, rows)


def sequence_logp(batch: RaggedBatch, logp_N: Tensor) -> Tensor:
    """Sum of the supervised tokens' log-probabilities in each segment: (S,)."""
    out_S = logp_N.new_zeros(len(batch.plan.lengths))
    return out_S.index_add(0, batch.target_segment_N, logp_N)


def answers_of(
    table: AnswerTable, batch: RaggedBatch, token_logp_N: Tensor, ratios_32: Tensor | None = None
) -> Answers:
    """The answers of a batch with what is known of them and of the step."""
    device = token_logp_N.device
    places = places_of(table.first_R, batch)
    answer_S = torch.full((len(batch.plan.lengths),), -1)
    answer_S[list(places.segments)] = torch.arange(len(places.segments))
    number_A = torch.tensor(places.numbers)
    weight_B = table.weight_R[torch.tensor(places.rows)]
    return Answers(
        token_logp_N=token_logp_N,
        answer_N=answer_S.to(device)[batch.target_segment_N.to(device)],
        row_A=torch.tensor(places.row_A).to(device),
        role_A=table.role_A[number_A].to(device),
        score_A=table.score_A[number_A].to(device),
        reference_A=table.reference_A[number_A].to(device),
        weight_B=weight_B.to(device, token_logp_N.dtype),
        ratios_32=ratios_32,
    )


class AnswerLoss(Protocol):
    """A loss over the answers of a batch; its fields are its hyper-parameters."""

    PARTS: ClassVar[Mapping[str, Unit]]
    """Its parts, each with what it is a mean over."""

    def __call__(self, answers: Answers) -> Mapping[str, Tensor]:
        """The values of each part: (B,) of rows or (N,) of tokens."""

    def rewards(self, answers: Answers) -> Tensor:
        """The implicit reward of each answer, for what is logged: (A,)."""


@runtime_checkable
class ComparedOverStep(Protocol):
    """A loss over answers that compares rows with mean log-ratios over the optimizer step."""

    COMPARED: ClassVar[tuple[int, ...]]
    """The roles of the answers whose means it looks at."""


@dataclass(frozen=True, slots=True)
class AnswerObjective:
    """A weighted sum of losses over answers, as the loop takes it.

    Parts of one name (the likelihood term of two losses) are added; they have the same unit.
    ``ratios_32`` is what was seen of the optimizer step, where it has several micro-batches.
    """

    table: AnswerTable
    losses: Sequence[tuple[float, AnswerLoss]]
    ratios_32: Tensor | None = None

    @property
    def compares(self) -> bool:
        """Whether a loss compares its rows with means over the step."""
        return any(isinstance(loss, ComparedOverStep) for _, loss in self.losses)

    def seen(self, batch: RaggedBatch, reduced: Reduced) -> Tensor:
        """Sums and counts of log-ratios by role: (3, 2)."""
        assert reduced.logp_N is not None
        return answers_of(self.table, batch, reduced.logp_N).ratio_sums()

    def comparing(self, seen: Tensor) -> AnswerObjective:
        """The same, with what was seen of the whole step."""
        return replace(self, ratios_32=seen)

    @property
    def needs(self) -> frozenset[str]:
        """Log-probabilities with gradient."""
        return frozenset({"logp"})

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """The weighted number of rows or tokens behind each part, and behind each metric."""
        answers = answers_of(self.table, batch, torch.zeros(len(batch.target_N)))
        found = {
            part: answers.count(unit)
            for _, loss in self.losses
            for part, unit in loss.PARTS.items()
        }
        best, other = (float((answers.role_A == role).sum()) for role in (BEST, OTHER))
        return {
            **found,
            **{f"{name}/chosen": best for name in ("rewards", "logps")},
            **{f"{name}/rejected": other for name in ("rewards", "logps")},
        }

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """The sums of the parts, and what is logged."""
        assert reduced.logp_N is not None
        answers = answers_of(self.table, batch, reduced.logp_N, self.ratios_32)
        totals: dict[str, Tensor] = {}
        metrics: dict[str, float] = {}
        for weight, loss in self.losses:
            for part, values in loss(answers).items():
                total = weight * answers.total(loss.PARTS[part], values)
                totals[part] = totals[part] + total if part in totals else total
            if not metrics:
                metrics = logged(answers, loss.rewards(answers))
        if len(totals) > 1:
            metrics |= {part: float(total.detach()) for part, total in totals.items()}
        return LossOut(totals, metrics, float(answers.rows))


@torch.no_grad()
def logged(answers: Answers, rewards_A: Tensor) -> dict[str, float]:
    """Sums of what is logged of a batch.

    ``rewards/margins`` and ``rewards/accuracies`` compare a row's best answer with its others: the
    mean of their rewards, and whether it has the highest. Only rows that have both count.
    """
    best_A, other_A = (answers.role_A == role for role in (BEST, OTHER))
    matched_A = best_A | other_A
    found = {
        f"{name}/{which}": float(values_A[chosen_A].sum())
        for name, values_A in (("rewards", rewards_A), ("logps", answers.logp_A))
        for which, chosen_A in (("chosen", best_A), ("rejected", other_A))
    }
    if bool(answers.reference_A.any()):
        worst = float(answers.ratio_A[matched_A].abs().max()) if bool(matched_A.any()) else 0.0
        found["max_abs_logratio"] = worst * answers.rows
    compared = rewards_A.new_zeros(answers.rows).index_add(
        0, answers.row_A, other_A.to(rewards_A.dtype)
    )
    if bool((compared > 0).all()) and int(best_A.sum()) == answers.rows:
        best_B = rewards_A[best_A]
        other_B = rewards_A.new_zeros(answers.rows).index_add(
            0, answers.row_A[other_A], rewards_A[other_A]
        )
        below_A = other_A & (rewards_A < best_B[answers.row_A])
        below = rewards_A.new_zeros(answers.rows).index_add(
            0, answers.row_A, below_A.to(rewards_A.dtype)
        )
        found["rewards/margins"] = float((best_B - other_B / compared).sum())
        found["rewards/accuracies"] = float((below == compared).sum())
    return found


def pairs_of(values_A: Tensor) -> tuple[Tensor, Tensor]:
    """Values of answers that come in twos, apart: (B,), (B,)."""
    first_B, second_B = values_A.view(-1, 2).unbind(1)
    return first_B, second_B
