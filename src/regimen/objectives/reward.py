"""Objectives of reward models: a score is to say which answer is better, how good, which step.

A score is read at marked tokens: at the end of an answer, or of each of its steps. A model may have
several: a dimension has one or, in an ensemble, one for each member. Shape letters: M marks of all
data, N marks of a batch, R rows of all data, B rows of a batch, H scores of the model, K ordered
pairs, J borders between levels. s is the logistic function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models.head import Reduced
from regimen.objectives.base import LossOut
from regimen.objectives.ranked import ordered_pairs
from regimen.objectives.reference_free import log1mexp
from regimen.tokens.ragged import RaggedBatch

RewardUnit = Literal["rows", "marks"]
"""What a part of a loss is a mean over."""

FAR = 1e4
"""A border that no score is beyond: the logistic function is 0 or 1 there."""


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """What is known of all marks before training; mark k of row r has number first_R[r] + k.

    ``value_M`` is the score that data give (the higher, the better), the number of a level, or a
    step's label; ``margin_M`` such that differences within a row are margins; ``weight_RH`` weighs
    a row's part of the loss of each score, 0 where it does not judge it.
    """

    first_R: Tensor
    value_M: Tensor
    margin_M: Tensor
    weight_RH: Tensor


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of a batch, row after row; ``row_N`` counts the rows of the batch."""

    score_NH: Tensor
    row_N: Tensor
    value_N: Tensor
    margin_N: Tensor
    weight_BH: Tensor
    cuts_J: Tensor | None = None

    def count(self, unit: RewardUnit) -> float:
        """What a part with this unit is divided by: the weights of all scores."""
        return float((self.weight_BH if unit == "rows" else self.weight_BH[self.row_N]).sum())

    def total(self, unit: RewardUnit, values: Tensor) -> Tensor:
        """The weighted sum of (B, H) values of rows, or of (N, H) values of marks."""
        return (values * (self.weight_BH if unit == "rows" else self.weight_BH[self.row_N])).sum()

    def row_means(self, values_KH: Tensor, row_K: Tensor) -> Tensor:
        """The mean over a row's pairs: (B, H)."""
        shape = (len(self.weight_BH), values_KH.shape[1])
        sums_BH = values_KH.new_zeros(shape).index_add(0, row_K, values_KH)
        counts_B = torch.bincount(row_K, minlength=shape[0]).clamp_min(1)
        return sums_BH / counts_B[:, None].to(sums_BH.dtype)


def marks_of(table: ScoreTable, batch: RaggedBatch, reduced: Reduced | None = None) -> Marks:
    """The marks of a batch with what is known of them; zeros for scores that are not there yet."""
    heads = table.weight_RH.shape[1]
    score_NH = torch.zeros(len(batch.target_N), heads)
    if reduced is not None:
        assert reduced.score_NH is not None
        score_NH = reduced.score_NH
    device = score_NH.device
    number_N = torch.tensor(batch.instance_S)[batch.target_segment_N.cpu()]
    rows_B, row_N = torch.unique_consecutive(number_N, return_inverse=True)
    starts_B = torch.searchsorted(row_N, torch.arange(len(rows_B)))
    place_N = torch.arange(len(number_N)) - starts_B[row_N]
    mark_N = table.first_R[number_N] + place_N
    return Marks(
        score_NH,
        row_N.to(device),
        table.value_M[mark_N].to(device, score_NH.dtype),
        table.margin_M[mark_N].to(device, score_NH.dtype),
        table.weight_RH[rows_B].to(device, score_NH.dtype),
        None if reduced is None else reduced.cuts_J,
    )


class RewardLoss(Protocol):
    """A loss over the marks of a batch; its fields are its hyper-parameters."""

    PARTS: ClassVar[Mapping[str, RewardUnit]]
    """Its parts, each with what it is a mean over; the first is that of what is logged."""

    def __call__(self, marks: Marks) -> Mapping[str, Tensor]:
        """The values of each part: (B, H) of rows or (N, H) of marks."""

    def logged(self, marks: Marks) -> Mapping[str, Tensor]:
        """What is logged, in the shape of the first part."""


@dataclass(frozen=True, slots=True)
class BradleyTerry:
    """The better answer is to win (Bradley and Terry 1952; Ouyang et al. 2022, arXiv 2203.02155,
    eq. 1).

    loss = mean over a row's pairs of -log s(r_w - r_l - m); of K answers all ordered pairs, each
    prompt counting once. The margin m is that of the data, where there is one (Touvron et al. 2023,
    arXiv 2307.09288, eq. 2), else 0.

    ``center_rewards_coefficient`` c adds c * mean of (r_w + r_l)^2, which leaves all differences
    alone and keeps scores around 0 (Eisenstein et al. 2023, arXiv 2312.09244, section 2).
    """

    PARTS: ClassVar[Mapping[str, RewardUnit]] = {"reward": "rows", "centring": "rows"}

    center_rewards_coefficient: float = 0.0

    def __call__(self, marks: Marks) -> Mapping[str, Tensor]:
        """The losses of each row."""
        better_K, worse_K = ordered_pairs(marks.row_N, marks.value_N)
        won_KH, lost_KH = marks.score_NH[better_K], marks.score_NH[worse_K]
        margin_K = marks.margin_N[better_K] - marks.margin_N[worse_K]
        row_K = marks.row_N[better_K]
        found = {
            "reward": marks.row_means(-F.logsigmoid(won_KH - lost_KH - margin_K[:, None]), row_K)
        }
        if self.center_rewards_coefficient:
            centre_KH = self.center_rewards_coefficient * (won_KH + lost_KH).square()
            found["centring"] = marks.row_means(centre_KH, row_K)
        return found

    def logged(self, marks: Marks) -> Mapping[str, Tensor]:
        """Scores of better and worse answers, their differences, how often the better one wins."""
        better_K, worse_K = ordered_pairs(marks.row_N, marks.value_N)
        won_KH, lost_KH = marks.score_NH[better_K], marks.score_NH[worse_K]
        wins_KH = (won_KH > lost_KH).float() + 0.5 * (won_KH == lost_KH).float()
        found = {
            "rewards/chosen": won_KH,
            "rewards/rejected": lost_KH,
            "rewards/margins": won_KH - lost_KH,
            "rewards/accuracies": wins_KH,
        }
        row_K = marks.row_N[better_K]
        return {name: marks.row_means(values_KH, row_K) for name, values_KH in found.items()}


def borders(cuts_J: Tensor) -> Tensor:
    """The borders between levels, in order whatever the free numbers are: (J,).

    The first is free; each later one lies softplus of its number above the one before.
    """
    return torch.cat([cuts_J[:1], F.softplus(cuts_J[1:])]).cumsum(0)


def cuts_from_counts(counts: Tensor) -> Tensor:
    """Free numbers whose borders give every level its share of the data at a score of 0: (J,).

    Args:
        counts: how often each of J + 1 levels is there; each at least once.
    """
    share_J = counts.double().cumsum(0)[:-1] / counts.sum()
    border_J = torch.logit(share_J)
    apart = (border_J[1:] - border_J[:-1]).clamp_min(1e-3)
    return torch.cat([border_J[:1], torch.log(torch.expm1(apart))]).float()


@dataclass(frozen=True, slots=True)
class Ordinal:
    """Levels of an ordered scale by cumulative links (McCullagh 1980, section 2.1, logit).

    P(level <= j) = s(b_j - r), with borders b_1 < b_2 < ... that are learnt as well.

    loss = mean over answers of -log P(level) = -log(s(b_l - r) - s(b_(l-1) - r)); the borders
    outside are -inf and inf.
    """

    PARTS: ClassVar[Mapping[str, RewardUnit]] = {"reward_ordinal": "marks"}

    def __call__(self, marks: Marks) -> Mapping[str, Tensor]:
        """The loss of each answer."""
        assert marks.cuts_J is not None
        border = borders(marks.cuts_J)
        ends = F.pad(F.pad(border, (1, 0), value=-FAR), (0, 1), value=FAR)
        level_N = marks.value_N.long()
        low_N1, high_N1 = ends[level_N][:, None], ends[level_N + 1][:, None]
        # s(b) - s(a) = s(b) s(-a) (1 - e^(a - b))
        inside = F.logsigmoid(high_N1 - marks.score_NH) + F.logsigmoid(marks.score_NH - low_N1)
        return {"reward_ordinal": -(inside + log1mexp(low_N1 - high_N1))}

    def logged(self, marks: Marks) -> Mapping[str, Tensor]:
        """Scores, and how often the level is the one that the score lies in."""
        assert marks.cuts_J is not None
        lying_NH = torch.bucketize(marks.score_NH, borders(marks.cuts_J))
        right_NH = (lying_NH == marks.value_N[:, None]).float()
        return {"rewards/mean": marks.score_NH, "rewards/accuracies": right_NH}


@dataclass(frozen=True, slots=True)
class Process:
    """Each step of an answer is right or wrong (Lightman et al. 2023, arXiv 2305.20050; Wang et al.
    2024, *Math-Shepherd*, arXiv 2312.08935, eq. 2).

    loss = mean over steps of -y log s(r) - (1 - y) log s(-r), with r the score at the step's last
    token and y its label in 0..1.
    """

    PARTS: ClassVar[Mapping[str, RewardUnit]] = {"reward_process": "marks"}

    def __call__(self, marks: Marks) -> Mapping[str, Tensor]:
        """The loss of each step."""
        y_NH = marks.value_N[:, None].expand_as(marks.score_NH)
        loss_NH = F.binary_cross_entropy_with_logits(marks.score_NH, y_NH, reduction="none")
        return {"reward_process": loss_NH}

    def logged(self, marks: Marks) -> Mapping[str, Tensor]:
        """Scores, and how often the likelier label is the right one."""
        right_NH = ((marks.score_NH > 0) == (marks.value_N[:, None] > 0.5)).float()
        return {"rewards/mean": marks.score_NH, "rewards/accuracies": right_NH}


@dataclass(frozen=True, slots=True)
class RewardObjective:
    """A loss over marks, as the loop takes it; every score counts by its weights."""

    table: ScoreTable
    loss: RewardLoss

    @property
    def needs(self) -> frozenset[str]:
        """The scores of the model's head."""
        return frozenset({"scores"})

    def weights(self, batch: RaggedBatch) -> Mapping[str, float]:
        """The weighted number of rows or marks behind each part, and behind what is logged."""
        marks = marks_of(self.table, batch)
        parts = self.loss.PARTS
        main = marks.count(next(iter(parts.values())))
        names = ("chosen", "rejected", "margins", "accuracies", "mean")
        return {
            **{part: marks.count(unit) for part, unit in parts.items()},
            **{f"rewards/{name}": main for name in names},
        }

    def __call__(self, batch: RaggedBatch, reduced: Reduced) -> LossOut:
        """The sums of the parts, and what is logged."""
        marks = marks_of(self.table, batch, reduced)
        parts = self.loss.PARTS
        totals = {name: marks.total(parts[name], v) for name, v in self.loss(marks).items()}
        with torch.no_grad():
            unit = next(iter(parts.values()))
            told = {n: float(marks.total(unit, v)) for n, v in self.loss.logged(marks).items()}
        if len(totals) > 1:
            told |= {name: float(total.detach()) for name, total in totals.items()}
        return LossOut(totals, told, float(len(marks.weight_BH)))
