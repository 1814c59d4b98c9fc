"""A vocabulary projection a chunk of rows at a time: its products, and its gradients' sums.

A chunk's products are kept in the type of the matrix products, and turned into fp32 logits and back
into gradients a tile at a time, in the same memory: one matrix product for many rows, while the
element-wise work stays in the processor's cache.

Shape letters: N supervised rows, C rows of a chunk, R rows of a tile, V vocabulary, D hidden width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from regimen.models.buffers import active
from regimen.models.mapped import mapping_of, release
from regimen.models.native import ops, pool
from regimen.models.native.products import Input, add_outer, back, forth, multiply
from regimen.models.token_rows import Rows

PIECE, PIECE_THERE = 1 << 22, 1 << 26
"""Numbers of a projection's weight that are read from a file, or turned, at a time; and on an
accelerator."""


class Finish(Protocol):
    """What comes after the product and its bias: logits = cap(scale * product)."""

    @property
    def softcap(self) -> float | None:
        """c of c * tanh(x / c), if capped."""

    @property
    def scale(self) -> float:
        """The factor."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Settings of one reduction that are no tensors.

    ``factor`` is the gradient that ``nll_sum`` will get, if that is known; ``sliced``: whether its
    gradients are formed by slices of the vocabulary.
    """

    softcap: float | None
    scale: float
    chunk: int
    dtype: torch.dtype
    needs: frozenset[str]
    factor: float | None = None
    sliced: bool = False


FUSED = {"logp", "lse", "nll_sum"}
"""Needs that the kernel for CUDA devices knows."""

SIZES: Mapping[str, int] = {"cpu": 1 << 25, "cuda": 1 << 29}
"""Bytes of a chunk's products by the type of the device; for each chunk the weight is read."""


def chunk_rows(vocabulary: int, itemsize: int = 4, size: int = SIZES["cpu"]) -> int:
    """Rows of a chunk so that its products, of ``itemsize`` bytes each, take about ``size`` bytes.

    Below about 128 rows the gradient of the weight costs more reading and writing than arithmetic.
    """
    return max(16, min(max(2048, size >> 14), size // (itemsize * max(vocabulary, 1))))


def chunk_size(device: torch.device) -> int:
    """Bytes of a chunk's products on a device."""
    return SIZES.get(device.type, SIZES["cpu"])


def tiles(product_CV: Tensor, *, whole: bool = False) -> Iterator[slice]:
    """Rows of a chunk in pieces that fit the cache or, on an accelerator, a part of its memory."""
    rows, vocabulary = product_CV.shape
    if whole:
        size = rows
    elif product_CV.device.type == "cpu":
        size = max(4, (1 << 19) // vocabulary)
    else:  # in fp32, with what is made of it, a tile takes several times its size
        size = max(4, (1 << 26) // vocabulary)
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def logits_of(product_RV: Tensor, bias: Tensor | None, finish: Finish) -> Tensor:
    """fp32 logits of ``hidden @ weight.T``, in the product's place if that is fp32."""
    logits_RV = product_RV.to(torch.float32)
    if bias is not None:
        logits_RV += bias.float()
    if finish.scale != 1.0:
        logits_RV *= finish.scale
    if finish.softcap is not None:
        logits_RV.div_(finish.softcap).tanh_().mul_(finish.softcap)
    return logits_RV


def is_plain(product_CV: Tensor, bias: Tensor | None, finish: Finish) -> bool:
    """Whether products are logits, and are reduced in their own memory and type, all at once."""
    finished = bias is not None or finish.scale != 1.0 or finish.softcap is not None
    return (ops.compiled(product_CV) or ops.accelerated(product_CV)) and not finished


def is_fused(product_CV: Tensor, bias: Tensor | None, needs: frozenset[str]) -> bool:
    """Whether one kernel reduces the products, scale and cap included, and leaves their gradient in
    their place: no logits are written.
    """
    return bias is None and needs <= FUSED and ops.accelerated(product_CV)


def logit_tiles(
    product_CV: Tensor, bias: Tensor | None, finish: Finish, *, in_place: bool = True
) -> Iterator[tuple[slice, Tensor]]:
    """Rows of a chunk and their logits: fp32, or the products themselves where these are logits
    already and may be reduced ``in_place``.
    """
    whole = in_place and is_plain(product_CV, bias, finish)
    for tile in tiles(product_CV, whole=whole):
        yield tile, product_CV[tile] if whole else logits_of(product_CV[tile], bias, finish)


class HeadGradients:
    """Accumulates the gradients of hidden rows, weight, bias and trained rows over chunks.

    With ``final`` they are what the backward pass will give back, unscaled, and that of a weight
    whose memory training keeps is added to its ``.grad`` at once.
    """

    def __init__(
        self,
        hidden_ND: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        rows: Rows | None,
        wanted: tuple[bool, ...],
        *,
        final: bool = False,
    ) -> None:
        self.hidden = pool.empty_like(hidden_ND) if wanted[0] else None
        self.leaf, self.summed, self.in_place = weight, False, False
        self.weight: Tensor | None = None
        buffers = active(weight)
        if wanted[1] and final and buffers is not None and weight.dtype == torch.float32:
            self.weight, missing = buffers.gradient(weight)
            self.summed, self.in_place = not missing, True
        elif wanted[1]:
            # fp32: the sum over chunks must not round to bf16 each time
            self.weight = _take(weight, weight.shape, torch.float32)
        self.bias = (
            torch.zeros_like(bias, dtype=torch.float32) if wanted[2] and bias is not None else None
        )
        self.rows, self.values_RD = rows, None
        if wanted[3] and rows is not None:
            self.values_RD = torch.zeros_like(rows.values_RD, dtype=torch.float32)
        self.any = any(wanted)

    def tile(
        self, product_RV: Tensor, grad_RV: Tensor, logits_RV: Tensor | None, shape: Shape
    ) -> None:
        """Put the gradient of hidden @ weight.T + bias in the place of the product.

        ``grad_RV`` is that of the capped, scaled logits, fp32, and is used up; ``logits_RV`` are
        those logits and only asked for under a cap.
        """
        if shape.softcap is not None:
            assert logits_RV is not None
            grad_RV *= 1 - (logits_RV / shape.softcap) ** 2
        if shape.scale != 1.0:
            grad_RV *= shape.scale
        if self.bias is not None:
            self.bias += grad_RV.sum(0)
        if grad_RV.data_ptr() != product_RV.data_ptr():
            product_RV.copy_(grad_RV)

    def chunk(self, rows: slice, grad_CV: Tensor, hidden_CD: Tensor) -> None:
        """Add one chunk's share; ``grad_CV`` is what the tiles left in the product's place."""
        of_rows_CR = None
        if self.rows is not None:  # the matrix has no part in these columns
            of_rows_CR = grad_CV.index_select(1, self.rows.ids_R)
            grad_CV.index_fill_(1, self.rows.ids_R, 0.0)
        if self.hidden is not None:
            _back(grad_CV, self.leaf, self.hidden[rows])
        if self.rows is not None and of_rows_CR is not None:
            if self.hidden is not None:
                given = (of_rows_CR, back(self.rows.values_RD))
                multiply([given], out=self.hidden[rows], add=True)
            if self.values_RD is not None:
                add_outer(self.values_RD, of_rows_CR, Input(hidden_CD), add=True)
        if self.weight is None:
            return
        add_outer(self.weight, grad_CV, Input(hidden_CD), add=self.summed)
        self.summed = True

    def scaled(self, factor: Tensor | float = 1.0) -> tuple[Tensor | None, ...]:
        """The gradients times ``factor``: of hidden rows, weight, bias and trained rows; None for a
        weight whose ``.grad`` has them already.
        """
        if self.weight is not None and not self.summed:
            self.weight.zero_()
        others = (_times(g, factor) for g in (self.hidden, self.bias, self.values_RD))
        hidden, bias, values_RD = others
        if self.in_place:
            return hidden, None, bias, values_RD
        buffers = active(self.leaf)
        if self.weight is None or buffers is None:
            return hidden, _times(self.weight, factor), bias, values_RD
        gradient, missing = buffers.gradient(self.leaf)
        if missing:
            gradient.copy_(self.weight.mul_(factor))
        else:
            gradient.add_(self.weight, alpha=float(factor))
        buffers.put(self.weight)
        return hidden, None, bias, values_RD


def _times(gradient: Tensor | None, factor: Tensor | float) -> Tensor | None:
    return gradient if gradient is None or isinstance(factor, float) else gradient.mul_(factor)


def _take(leaf: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """A block with any content, from the kept ones where training keeps them, or from the pool."""
    buffers = active(leaf)
    if buffers is None:
        return pool.empty(shape, dtype, leaf.device)
    return buffers.take(shape, dtype)


def _put(leaf: Tensor, block: Tensor) -> None:
    buffers = active(leaf)
    if buffers is not None:
        buffers.put(block)


def products(
    hidden_ND: Tensor, leaf: Tensor, rows: Rows | None, shape: Shape
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, hidden states and ``hidden @ weight.T`` of each chunk; all share one memory.

    ``rows`` stand in the place of the weight's own.
    """
    count = len(hidden_ND)
    pieces = -(-count // shape.chunk)
    # kept blocks are of one size, whatever the batch
    size = shape.chunk if active(leaf) is not None else -(-count // max(pieces, 1))
    memory = _take(leaf, torch.Size((size, len(leaf))), shape.dtype)
    for piece in range(pieces):
        chunk = slice(piece * count // pieces, (piece + 1) * count // pieces)
        low_CD = hidden_ND[chunk].to(shape.dtype)
        product_CV = _forth(low_CD, leaf, memory[: len(low_CD)])
        if rows is not None:
            rows.put_logits(product_CV, low_CD)
        yield chunk, low_CD, product_CV
    _put(leaf, memory)


def _pieces(leaf: Tensor, dtype: torch.dtype) -> Iterator[slice]:
    """Rows of a projection that are read at once: all, unless they are read from a file or have to
    be turned into another type first, so that they never are in memory together.
    """
    apart = mapping_of(leaf) is not None or (leaf.dtype != dtype and not leaf.requires_grad)
    size = PIECE if leaf.device.type == "cpu" else PIECE_THERE
    step = max(1, size // leaf.shape[1]) if apart else len(leaf)
    for start in range(0, len(leaf), step):
        yield slice(start, min(start + step, len(leaf)))


def _forth(low_CD: Tensor, leaf: Tensor, out_CV: Tensor) -> Tensor:
    """``low @ leaf.T``."""
    for piece in _pieces(leaf, low_CD.dtype):
        multiply([(low_CD, forth(leaf[piece]))], out=out_CV[:, piece])
        release(leaf[piece])
    return out_CV


def _back(grad_CV: Tensor, leaf: Tensor, out_CD: Tensor) -> None:
    """``grad @ leaf``."""
    for number, piece in enumerate(_pieces(leaf, grad_CV.dtype)):
        given = (grad_CV[:, piece], back(leaf[piece]))
        multiply([given], out=out_CD, add=number > 0)
        release(leaf[piece])
