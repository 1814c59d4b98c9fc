"""What the calibration tells of a linear layer's inputs.

Shape letters: T tokens, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Seen:
    """Sums over the inputs of a layer; ``gram_II`` is X^T X, or None where nobody needs it."""

    tokens: int
    mean_abs_I: Tensor
    max_abs_I: Tensor
    gram_II: Tensor | None

    @staticmethod
    def of(inputs: int, *, gram: bool = True, device: torch.device | None = None) -> Seen:
        """Nothing yet; sums are on the device of the inputs."""
        square = torch.zeros(inputs, inputs, device=device) if gram else None
        first, second = torch.zeros(2, inputs, device=device)
        return Seen(0, first, second, square)

    def add(self, x: Tensor) -> None:
        """Look at more inputs: (.., I)."""
        x_TI = x.detach().flatten(0, -2).float()
        size_TI = x_TI.abs()
        total = self.tokens + len(x_TI)
        self.mean_abs_I = (self.mean_abs_I * self.tokens + size_TI.sum(0)) / max(total, 1)
        self.max_abs_I = torch.maximum(self.max_abs_I, size_TI.amax(0))
        if self.gram_II is not None:
            self.gram_II.addmm_(x_TI.T, x_TI)
        self.tokens = total

    def divided(self, scale_I: Tensor) -> Seen:
        """Of the inputs divided by a scale for each."""
        gram = None
        if self.gram_II is not None:
            gram = self.gram_II / torch.outer(scale_I, scale_I)
        return Seen(self.tokens, self.mean_abs_I / scale_I, self.max_abs_I / scale_I, gram)
