"""The head reducer: statistics of the next-token distribution without full-size logits.

Only supervised rows reach the vocabulary projection, a chunk at a time. Logits of a chunk are
computed, reduced and dropped; the backward pass computes them again, or, where the loss is a
weighted sum of log-probabilities with weights known beforehand, the gradients are formed in the
forward pass, when the logits are at hand.

A chunk's products are kept in the type of the matrix products, and turned into fp32 logits and back
into gradients a tile at a time, in the same memory: one matrix product for many rows, while the
element-wise work stays in the processor's cache.

Shape letters: T tokens, N supervised rows, C rows of a chunk, R rows of a tile, V vocabulary,
D hidden width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.models.buffers import active
from regimen.models.native import ops

NEEDS = ("logp", "lse", "entropy", "mean_logit", "nll_sum")


@dataclass(frozen=True, slots=True)
class Head:
    """The vocabulary projection: logits = cap(scale * (hidden @ weight.T + bias)).

    ``softcap`` c is Gemma 2's c * tanh(x / c); ``scale`` is Granite's and Cohere's factor.
    """

    weight_VD: Tensor
    bias_V: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Reduced:
    """What the reducer gives back; fields that were not asked for are None.

    ``logp_N``: log-probability of each target; ``lse_N``: log of the sum of exponentials;
    ``entropy_N`` in nats; ``mean_logit_N``: mean logit over the vocabulary (label smoothing);
    ``nll_sum``: sum of weight * -logp, whose gradient was formed in the forward pass; with it,
    ``logp_N`` is there too but carries no gradient.
    """

    logp_N: Tensor | None = None
    lse_N: Tensor | None = None
    entropy_N: Tensor | None = None
    mean_logit_N: Tensor | None = None
    nll_sum: Tensor | None = None


@dataclass(frozen=True, slots=True)
class _Shape:
    """Settings of one reduction that are no tensors.

    ``factor`` is the gradient that ``nll_sum`` will get, if that is known.
    """

    softcap: float | None
    scale: float
    chunk: int
    dtype: torch.dtype
    needs: frozenset[str]
    factor: float | None = None


def chunk_rows(vocabulary: int, elements: int = 1 << 22) -> int:
    """Rows of a chunk so that its logits hold about ``elements`` numbers.

    Below about 128 rows the gradient of the weight costs more reading and writing than arithmetic.
    """
    return max(16, min(2048, elements // max(vocabulary, 1)))


def _tiles(product_CV: Tensor, *, whole: bool = False) -> Iterator[slice]:
    """Rows of a chunk in pieces that fit the cache; on an accelerator the chunk is one piece."""
    rows, vocabulary = product_CV.shape
    small = product_CV.device.type == "cpu" and not whole
    size = max(4, (1 << 19) // vocabulary) if small else rows
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def _logits(product_RV: Tensor, bias: Tensor | None, shape: _Shape, *, copy: bool = True) -> Tensor:
    """fp32 logits of ``hidden @ weight.T``; without ``copy``, in the product's place if fp32."""
    logits_RV = product_RV.to(torch.float32, copy=copy)
    if bias is not None:
        logits_RV += bias.float()
    if shape.scale != 1.0:
        logits_RV *= shape.scale
    if shape.softcap is not None:
        logits_RV.div_(shape.softcap).tanh_().mul_(shape.softcap)
    return logits_RV


def full_logits(hidden_ND: Tensor, head: Head, dtype: torch.dtype) -> Tensor:
    """fp32 logits of a few rows over the whole vocabulary: for sampling and for the probe."""
    shape = _Shape(head.softcap, head.scale, len(hidden_ND), dtype, frozenset())
    return _logits(hidden_ND.to(dtype) @ head.weight_VD.to(dtype).t(), head.bias_V, shape)


class _Gradients:
    """Accumulates the gradients of hidden rows, weight and bias over chunks.

    With ``final`` they are what the backward pass will give back, unscaled, and that of a weight
    whose memory training keeps is added to its ``.grad`` at once.
    """

    def __init__(
        self,
        hidden_ND: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        wanted: tuple[bool, ...],
        *,
        final: bool = False,
    ) -> None:
        self.hidden = torch.empty_like(hidden_ND) if wanted[0] else None
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
        self.any = any(wanted)

    def tile(
        self, product_RV: Tensor, grad_RV: Tensor, logits_RV: Tensor | None, shape: _Shape
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

    def chunk(self, rows: slice, grad_CV: Tensor, hidden_CD: Tensor, weight: Tensor) -> None:
        """Add one chunk's share; ``grad_CV`` is what the tiles left in the product's place."""
        if self.hidden is not None:
            self.hidden[rows] = grad_CV @ weight
        if self.weight is None:
            return
        if self.weight.dtype != grad_CV.dtype:
            share = _take(self.leaf, self.weight.shape, grad_CV.dtype)
            torch.mm(grad_CV.t(), hidden_CD, out=share)
            if self.summed:
                self.weight += share
            else:
                self.weight.copy_(share)
            _put(self.leaf, share)
        elif self.summed:
            self.weight.addmm_(grad_CV.t(), hidden_CD)
        else:
            torch.mm(grad_CV.t(), hidden_CD, out=self.weight)
        self.summed = True

    def scaled(self, factor: Tensor | float = 1.0) -> tuple[Tensor | None, ...]:
        """The gradients times ``factor``; None for a weight whose ``.grad`` has them already."""
        if self.weight is not None and not self.summed:
            self.weight.zero_()
        hidden, bias = (_times(g, factor) for g in (self.hidden, self.bias))
        if self.in_place:
            return hidden, None, bias
        buffers = active(self.leaf)
        if self.weight is None or buffers is None:
            return hidden, _times(self.weight, factor), bias
        gradient, missing = buffers.gradient(self.leaf)
        if missing:
            gradient.copy_(self.weight.mul_(factor))
        else:
            gradient.add_(self.weight, alpha=float(factor))
        buffers.put(self.weight)
        return hidden, None, bias


def _times(gradient: Tensor | None, factor: Tensor | float) -> Tensor | None:
    return gradient if gradient is None or isinstance(factor, float) else gradient.mul_(factor)


def _take(leaf: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """A block with any content, from the kept ones where training keeps them."""
    buffers = active(leaf)
    if buffers is None:
        return torch.empty(shape, dtype=dtype, device=leaf.device)
    return buffers.take(shape, dtype)


def _put(leaf: Tensor, block: Tensor) -> None:
    buffers = active(leaf)
    if buffers is not None:
        buffers.put(block)


class _WeightedNll(torch.autograd.Function):
    """sum of weight * -logp, with the gradients formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        token_weight_N: Tensor,
        shape: _Shape,
    ) -> tuple[Tensor, Tensor]:
        weight = weight_VD.to(shape.dtype)
        wanted, factor = ctx.needs_input_grad[:3], shape.factor
        grads = _Gradients(hidden_ND, weight_VD, bias_V, wanted, final=factor is not None)
        scaled_N = token_weight_N if factor is None else token_weight_N * factor
        logp_N = torch.empty(len(target_N), dtype=torch.float32, device=hidden_ND.device)
        for chunk, low_CD, product_CV in _products(hidden_ND, weight, weight_VD, shape):
            for tile in _tiles(product_CV, whole=ops.compiled(product_CV)):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                logits = _logits(product_CV[tile], bias_V, shape, copy=False)
                # the gradient takes the place of the logits, unless a cap asks for them again
                capped = logits.clone() if grads.any and shape.softcap is not None else None
                logp_N[rows] = ops.nll_rows(
                    logits, target_N[rows], scaled_N[rows], gradient=grads.any
                )
                if grads.any:
                    grads.tile(product_CV[tile], logits, capped, shape)
            if grads.any:
                grads.chunk(chunk, product_CV, low_CD, weight)
        ctx.grads, ctx.factor = grads, shape.factor
        ctx.mark_non_differentiable(logp_N)
        return -(logp_N * token_weight_N).sum(), logp_N

    @staticmethod
    def backward(ctx: Any, grad_sum: Tensor, _grad_logp: Tensor) -> tuple[Tensor | None, ...]:
        grads, factor = ctx.grads, ctx.factor
        ctx.grads = None
        if factor is None:
            return (*grads.scaled(grad_sum), None, None, None)
        if abs(float(grad_sum) - factor) > 1e-5 * abs(factor):
            raise RuntimeError(f"nll_sum was to get the gradient {factor}, and got {grad_sum}")
        return (*grads.scaled(), None, None, None)


class _Reduce(torch.autograd.Function):
    """Per-row statistics; the backward pass computes each chunk's logits again."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        target_N: Tensor,
        shape: _Shape,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight = weight_VD.to(shape.dtype)
        out = torch.zeros(4, len(target_N), dtype=torch.float32, device=hidden_ND.device)
        nothing_N = out[3]
        large = ops.compiled(out) and "entropy" not in shape.needs
        for chunk, _, product_CV in _products(hidden_ND, weight, weight_VD, shape):
            for tile in _tiles(product_CV, whole=large and product_CV.dtype == torch.float32):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                logits = _logits(product_CV[tile], bias_V, shape, copy=False)
                out[0, rows] = ops.nll_rows(logits, target_N[rows], nothing_N[rows], gradient=False)
                out[1, rows] = logits.gather(1, target_N[rows, None])[:, 0] - out[0, rows]
                lse = out[1, rows]
                if "entropy" in shape.needs:
                    out[2, rows] = lse - ((logits - lse[:, None]).exp_() * logits).sum(1)
                if "mean_logit" in shape.needs:
                    out[3, rows] = logits.mean(1)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, target_N, out)
        ctx.shape = shape
        return out[0].clone(), out[1].clone(), out[2].clone(), out[3].clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, target_N, out = ctx.saved_tensors
        shape: _Shape = ctx.shape
        weight = weight_VD.to(shape.dtype)
        grads = _Gradients(hidden_ND, weight_VD, bias_V, ctx.needs_input_grad[:3])
        g_logp, g_lse, g_entropy, g_mean = (g[:, None].float() for g in grad_outputs)
        for chunk, low_CD, product_CV in _products(hidden_ND, weight, weight_VD, shape):
            # d logp = onehot - p;  d lse = p;  d entropy = -p (log p + entropy);  d mean = 1 / V
            kept = shape.softcap is not None or "entropy" in shape.needs
            for tile in _tiles(product_CV, whole=ops.compiled(product_CV) and not kept):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                grad = _logits(product_CV[tile], bias_V, shape, copy=kept)
                logits = grad.clone() if kept else None
                weight_R = (g_lse[rows] - g_logp[rows])[:, 0]
                ops.nll_rows(grad, target_N[rows], weight_R, gradient=True)
                grad.scatter_add_(1, target_N[rows, None], g_lse[rows])
                if "entropy" in shape.needs:
                    assert logits is not None
                    log_p = logits - out[1, rows, None]
                    grad -= log_p.exp().mul_(log_p.add_(out[2, rows, None])).mul_(g_entropy[rows])
                if "mean_logit" in shape.needs:
                    grad += g_mean[rows] / grad.shape[1]
                grads.tile(product_CV[tile], grad, logits, shape)
            grads.chunk(chunk, product_CV, low_CD, weight)
        return (*grads.scaled(), None, None)


def _products(
    hidden_ND: Tensor, weight: Tensor, leaf: Tensor, shape: _Shape
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Rows, hidden states and ``hidden @ weight.T`` of each chunk; all share one memory."""
    rows = len(hidden_ND)
    # kept blocks are of one size, whatever the batch
    size = shape.chunk if active(leaf) is not None else min(shape.chunk, rows)
    memory = _take(leaf, torch.Size((size, len(weight))), shape.dtype)
    for start in range(0, rows, max(size, 1)):
        chunk = slice(start, min(start + size, rows))
        low_CD = hidden_ND[chunk].to(shape.dtype)
        yield chunk, low_CD, torch.mm(low_CD, weight.t(), out=memory[: len(low_CD)])
    _put(leaf, memory)


def reduce(
    hidden_TD: Tensor,
    head: Head,
    source_row_N: Tensor,
    target_N: Tensor,
    needs: Collection[str],
    *,
    weight_N: Tensor | None = None,
    factor: float | None = None,
    chunk: int | None = None,
    dtype: torch.dtype | None = None,
) -> Reduced:
    """Reduce the next-token distributions of the supervised rows.

    Args:
        hidden_TD: last hidden states (after the final norm).
        head: the vocabulary projection.
        source_row_N: the row of ``hidden_TD`` that predicts each target.
        target_N: target ids.
        needs: names from ``NEEDS``.
        weight_N: weights of ``nll_sum``; its gradient flows to hidden states and head only.
        factor: the gradient that ``nll_sum`` will get in the backward pass, where that is known
            beforehand: one block of the weight's size less. Another one is then an error.
        chunk: rows per chunk; chosen from the vocabulary if None.
        dtype: of the matrix products; the hidden states' own if None.

    Raises:
        ValueError: an unknown need, or ``nll_sum`` without weights.
    """
    unknown = set(needs) - set(NEEDS)
    if unknown or ("nll_sum" in needs and weight_N is None):
        raise ValueError(f"cannot reduce {sorted(unknown) or 'nll_sum without weights'}")
    vocabulary = head.weight_VD.shape[0]
    shape = _Shape(
        head.softcap,
        head.scale,
        chunk or chunk_rows(vocabulary),
        dtype or hidden_TD.dtype,
        frozenset(needs),
        factor if "nll_sum" in needs else None,
    )
    whole = source_row_N.numel() == hidden_TD.shape[0] and bool(
        (source_row_N == torch.arange(hidden_TD.shape[0], device=hidden_TD.device)).all()
    )
    hidden_ND = hidden_TD if whole else hidden_TD.index_select(0, source_row_N)
    with torch.autocast(hidden_TD.device.type, enabled=False):
        if "nll_sum" in needs:
            total, logp = _WeightedNll.apply(  # type: ignore[no-untyped-call]
                hidden_ND, head.weight_VD, head.bias_V, target_N, weight_N, shape
            )
            return Reduced(logp_N=logp, nll_sum=total)
        logp, lse, entropy, mean = _Reduce.apply(  # type: ignore[no-untyped-call]
            hidden_ND, head.weight_VD, head.bias_V, target_N, shape
        )
    return Reduced(
        logp_N=logp if "logp" in needs else None,
        lse_N=lse if "lse" in needs else None,
        entropy_N=entropy if "entropy" in needs else None,
        mean_logit_N=mean if "mean_logit" in needs else None,
    )
