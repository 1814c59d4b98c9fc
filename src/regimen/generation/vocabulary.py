"""The vocabulary projection of a step: the most probable id of each row and the sum behind it.

It is half of a small model's arithmetic. The weight is copied once for a run, in transposed tiles,
which a product of few rows reads faster.

Shape letters: R rows, V vocabulary, D hidden width, N ids of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regimen.models.hardware import on_large_pages
from regimen.models.head import Head
from regimen.models.native.ops import row_tops

TILE = 640
"""Ids of a tile: its logits for 64 rows are 0.16 MiB, its weight for a width of 256 0.6 MiB."""


@dataclass(frozen=True, slots=True)
class Scores:
    """fp32 logits (R, V), the log of the sum of their exponentials (R,), the best ids (R,)."""

    logits_RV: Tensor
    lse_R: Tensor
    best_R: Tensor

    @classmethod
    def of(cls, logits_RV: Tensor) -> Scores:
        """From logits that are there already."""
        return cls(logits_RV, *row_tops(logits_RV))


class Vocabulary:
    """A head, copied for products with few rows. CPU and fp32."""

    def __init__(self, head: Head, rows: int) -> None:
        self.head, self.size = head, len(head.weight_VD)
        width = head.weight_VD.shape[1]
        count = -(-self.size // TILE)
        self.tile = min(TILE, self.size)
        copied = on_large_pages(torch.empty(count * self.tile * width))
        self.weights: list[Tensor] = []
        for index, part in enumerate(torch.split(head.weight_VD, self.tile)):
            start = index * self.tile * width
            tile = copied[start : start + part.numel()].view(width, len(part))
            self.weights.append(tile.copy_(part.t()))
        self._logits = torch.empty(rows * self.size)

    def scores(self, hidden_RD: Tensor) -> Scores:
        """Valid until the next call: the logits are kept in one block."""
        rows = len(hidden_RD)
        logits_RV = self._logits[: rows * self.size].view(rows, self.size)
        start = 0
        for weight in self.weights:
            tile = logits_RV[:, start : start + weight.shape[1]]
            torch.mm(hidden_RD, weight, out=tile)
            self._finish(tile, start)
            start += weight.shape[1]
        return Scores.of(logits_RV)

    def _finish(self, tile_RN: Tensor, start: int) -> None:
        """Bias, scale and cap, in place."""
        head = self.head
        if head.bias_V is not None:
            tile_RN += head.bias_V[start : start + tile_RN.shape[1]]
        if head.scale != 1.0:
            tile_RN *= head.scale
        if head.softcap is not None:
            tile_RN.div_(head.softcap).tanh_().mul_(head.softcap)
