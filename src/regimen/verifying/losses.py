"""What is learnt, twice: as the loop's objective, and as a formula over full logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import functional as F

from regimen.objectives.base import Objective
from regimen.objectives.supervised import Supervised
from regimen.verifying.rows import Row, paths, targets


class Formula(Protocol):
    """A loss of whole rows, from the logits that predict their supervised tokens."""

    def weight(self, rows: Sequence[Row]) -> float:
        """What the sum over these rows is divided by."""

    def knowing(self, rows: Sequence[Row], logits: Callable[[Row], Sequence[Tensor]]) -> Formula:
        """The formula with what it has to know of all rows before it takes the first."""

    def __call__(self, number: int, row: Row, logits: Sequence[Tensor]) -> Tensor:
        """One row's part of the sum; ``logits`` are (N, V) for each of its paths."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Weighted negative log-likelihood, with label smoothing and z-loss as in ``Supervised``."""

    label_smoothing: float = 0.0
    z_loss: float = 0.0

    def weight(self, rows: Sequence[Row]) -> float:
        """The sum of the token weights."""
        return sum(sum(path.weights) for row in rows for path in paths(row))

    def knowing(self, rows: Sequence[Row], logits: Callable[[Row], Sequence[Tensor]]) -> Tokens:
        """Itself: each row counts by itself."""
        return self

    def __call__(self, number: int, row: Row, logits: Sequence[Tensor]) -> Tensor:
        """The row's weighted sum."""
        total = logits[0].new_zeros(())
        for path, logits_NV in zip(paths(row), logits, strict=True):
            _, target_N, weight_N = targets(path)
            loss_N = F.cross_entropy(
                logits_NV, target_N, reduction="none", label_smoothing=self.label_smoothing
            )
            if self.z_loss:
                loss_N = loss_N + self.z_loss * logits_NV.logsumexp(-1).square()
            total = total + (weight_N * loss_N).sum()
        return total


@dataclass(frozen=True, slots=True)
class Twin:
    """The objective that training uses, and the formula that it must equal."""

    objective: Objective
    formula: Formula


def supervised_twin(label_smoothing: float = 0.0, z_loss: float = 0.0) -> Twin:
    """Of given tokens."""
    return Twin(Supervised(label_smoothing, z_loss), Tokens(label_smoothing, z_loss))
