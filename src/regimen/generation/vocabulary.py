"""The vocabulary projection of a step: the most probable id of each row and the sum behind it.

It is half of a small model's arithmetic. The weight is copied once for a run, packed or in
transposed tiles, which a product of few rows reads faster.

Shape letters: R rows, V vocabulary, D hidden width, N ids of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regimen.models.chunks import logits_of
from regimen.models.hardware import on_large_pages
from regimen.models.head import Head
from regimen.models.native.ops import row_tops
from regimen.models.native.products import Copied, takes

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
    """A head, copied for products with few rows. CPU and fp32 weights; products in ``dtype``."""

    def __init__(self, head: Head, rows: int, dtype: torch.dtype) -> None:
        self.head, self.size, self.dtype = head, len(head.weight_VD), dtype
        # one piece for the compiled loops, which cut it themselves
        tile = self.size if takes(dtype) else TILE
        parts = torch.split(head.whole(), tile)
        self.tiles = [Copied(part, None, dtype, on_large_pages) for part in parts]
        self._logits = torch.empty(rows * self.size)

    def scores(self, hidden_RD: Tensor) -> Scores:
        """Valid until the next call: the logits are kept in one block."""
        rows, start = len(hidden_RD), 0
        logits_RV = self._logits[: rows * self.size].view(rows, self.size)
        low_RD = hidden_RD.to(self.dtype)
        for copied in self.tiles:
            end = start + copied.outputs
            tile = copied.write(logits_RV[:, start:end], low_RD)
            bias = self.head.bias_V
            logits_of(tile, None if bias is None else bias[start:end], self.head)
            start = end
        return Scores.of(logits_RV)
