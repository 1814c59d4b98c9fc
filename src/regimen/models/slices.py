"""A vocabulary projection a slice of the vocabulary at a time, where its weight is trained in bf16.

Over chunks of rows the gradient of the weight is a sum, and has to stand in fp32 until the last
chunk is in it: three times the weight's own memory, with the copy in bf16. A slice of the
vocabulary over all rows gives its part of the gradient whole, which is rounded once and at once,
and may be formed when the layers have let go of what they kept.

The gradient of the hidden states is formed with the normalisers in one pass over the vocabulary, as
attention is (Milakov and Gimelshein 2018, arXiv 1805.02867; Dao et al. 2022, arXiv 2205.14135),
that of the weight in another: one matrix product more than the three of chunks.

Shape letters: N supervised rows, S rows of a slice of the weight, V vocabulary, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from regimen.models.buffers import active, kept_now
from regimen.models.chunks import Finish
from regimen.models.hardware import give_back
from regimen.models.marks import LATE, mark
from regimen.models.native import ops
from regimen.models.native.pool import empty, empty_like
from regimen.models.native.products import Input, add_outer, back, forth, multiply

BYTES, BYTES_THERE = 1 << 22, 1 << 27
"""Of the logits of a slice: they stay in a processor's cache, and fill its matrix products; and on
an accelerator."""

SLICED = "regimen_sliced"
"""Attribute of a projection whose gradient is to be formed so; see `memory.activations`."""


def pays(weight: Tensor, bias: Tensor | None, finish: Finish) -> bool:
    """Whether slices take less memory than chunks, and these logits are plain products."""
    plain = bias is None and finish.scale == 1.0 and finish.softcap is None
    return plain and weight.requires_grad and weight.dtype != torch.float32


class SlicedGradients:
    """The gradients of sum(-token_weight * logp): of hidden rows now, of the weight when wanted.

    Args:
        hidden_ND, weight_VD: logits are their product; the weight is trained.
        target_N, token_weight_N: of each row.
        dtype: of the matrix products.
        size: bytes of the logits of a slice; by the device if None.
    """

    def __init__(
        self,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        target_N: Tensor,
        token_weight_N: Tensor,
        *,
        dtype: torch.dtype,
        size: int | None = None,
    ) -> None:
        usual = BYTES if hidden_ND.device.type == "cpu" else BYTES_THERE
        self.low_ND, self.weight_VD, self.size = hidden_ND.to(dtype), weight_VD, size or usual
        self.target_N, self.token_weight_N = target_N, token_weight_N
        total_ND, self.lse_N = self._means()
        picked_ND = weight_VD[target_N].float()
        self.logp_N = (self.low_ND.float() * picked_ND).sum(1) - self.lse_N
        total_ND.sub_(picked_ND).mul_(token_weight_N[:, None])
        self.hidden_ND = total_ND.to(hidden_ND.dtype)

    def scaled(self) -> tuple[Tensor | None, ...]:
        """As ``HeadGradients``, of a head that is a weight alone; None for one whose ``.grad`` has
        it already, or whose embedding will give it.
        """
        buffers = kept_now()
        if active(self.weight_VD) is not None and buffers is not None:
            gradient, missing = buffers.gradient(self.weight_VD)
            self.write(gradient, not missing)
            return self.hidden_ND, None, None, None
        if buffers is not None and buffers.leave(self.weight_VD, self.write):
            return self.hidden_ND, None, None, None
        with mark(LATE):
            gradient = torch.empty_like(self.weight_VD)
            self.write(gradient, False)
        return self.hidden_ND, gradient, None, None

    @torch.no_grad()
    def write(self, gradient_VD: Tensor, add: bool) -> None:
        """The weight's gradient into a block, or on top of what is there."""
        give_back()  # what the layers have left: here the most is needed
        given = Input(self.low_ND)
        for piece, grad_NS in self._slices():
            target_N = self.target_N - piece.start
            ops.nll_slice(grad_NS, target_N, self.token_weight_N, self.lse_N)
            add_outer(gradient_VD[piece], grad_NS, given, add=add)

    def _means(self) -> tuple[Tensor, Tensor]:
        """The mean row of the weight under each distribution, and the log of its normaliser."""
        total_ND = empty_like(self.low_ND, torch.float32).zero_()
        largest_N = torch.full_like(self.token_weight_N, -torch.inf)
        sum_N = torch.zeros_like(largest_N)
        for piece, grown_NS in self._slices():
            total_ND.mul_(ops.softmax_slice(grown_NS, largest_N, sum_N)[:, None])
            multiply([(grown_NS, back(self.weight_VD[piece]))], out=total_ND, add=True)
        return total_ND.div_(sum_N[:, None]), largest_N + sum_N.log()

    def _slices(self) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the vocabulary and their logits (N, S), all in one memory."""
        rows, vocabulary = len(self.low_ND), len(self.weight_VD)
        most = max(64, self.size // max(rows * self.low_ND.element_size(), 1) // 64 * 64)
        memory = empty((rows * min(most, vocabulary),), self.low_ND.dtype, self.low_ND.device)
        for start in range(0, vocabulary, most):
            piece = slice(start, min(start + most, vocabulary))
            out_NS = memory[: rows * (piece.stop - start)].view(rows, -1)
            yield piece, multiply([(self.low_ND, forth(self.weight_VD[piece]))], out=out_NS)
