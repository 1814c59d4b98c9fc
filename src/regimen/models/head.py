"""The head reducer: statistics of the next-token distribution without full-size logits.

Only supervised rows reach the vocabulary projection, a chunk at a time. Logits of a chunk are
computed, reduced and dropped; the backward pass computes them again, or, where the loss is a
weighted sum of log-probabilities with weights known beforehand, the gradients are formed in the
forward pass, when the logits are at hand.

Shape letters: T tokens, N supervised rows, C rows of a chunk, R rows of a tile, V vocabulary,
D hidden width.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.models.chunks import (
    PIECE,
    HeadGradients,
    Shape,
    chunk_rows,
    chunk_size,
    is_fused,
    logit_tiles,
    logits_of,
    products,
)
from regimen.models.hardware import give_back
from regimen.models.head_kernels import Asked, kernel_for
from regimen.models.native import ops
from regimen.models.slices import SlicedGradients, pays
from regimen.models.teaching import Taught, WeightedDivergence
from regimen.models.token_rows import Rows, rows_given

NEEDS = ("logp", "lse", "entropy", "mean_logit", "greedy", "nll_sum", "teacher_kl", "scores")
WEIGHTED = {"nll_sum", "teacher_kl"}
"""Needs that are weighted sums, whose gradient is formed in the forward pass."""


@dataclass(frozen=True, slots=True)
class Head:
    """The vocabulary projection: logits = cap(scale * (hidden @ weight.T + bias)).

    ``softcap`` c is Gemma 2's c * tanh(x / c); ``scale`` is Granite's and Cohere's factor.

    Of a model that scores, the weight has a row for each score in place of one for each token;
    ``cuts_J`` are the free numbers behind the borders between levels, where it has such.

    ``sliced`` asks for the gradient of ``nll_sum`` by slices of the vocabulary, where that takes
    less memory: `regimen.models.slices`.

    ``rows`` are trained in the place of some of a frozen weight's: `regimen.models.token_rows`.
    """

    weight_VD: Tensor
    bias_V: Tensor | None = None
    softcap: float | None = None
    scale: float = 1.0
    cuts_J: Tensor | None = None
    sliced: bool = False
    rows: Rows | None = None

    def whole(self) -> Tensor:
        """The weight without gradients; a copy where some of its rows are replaced."""
        weight_VD = self.weight_VD.detach()
        return weight_VD if self.rows is None else self.rows.merged(weight_VD).detach()


@dataclass(frozen=True, slots=True)
class Reduced:
    """What the reducer gives back; fields that were not asked for are None.

    ``logp_N``: log-probability of each target; ``lse_N``: log of the sum of exponentials;
    ``entropy_N`` in nats; ``mean_logit_N``: mean logit over the vocabulary (label smoothing);
    ``greedy_N``: whether each target is the likeliest token, the first of equally likely ones;
    ``nll_sum``: sum of weight * -logp, whose gradient was formed in the forward pass; with it,
    ``logp_N`` is there too but carries no gradient; ``teacher_sum``: sum of weight * divergence
    from a teacher, likewise, with ``teacher_N``, the divergence of each row. ``score_NH``: the fp32
    scores of a model that scores, with the ``cuts_J`` of its head.
    """

    logp_N: Tensor | None = None
    lse_N: Tensor | None = None
    entropy_N: Tensor | None = None
    mean_logit_N: Tensor | None = None
    greedy_N: Tensor | None = None
    nll_sum: Tensor | None = None
    teacher_sum: Tensor | None = None
    teacher_N: Tensor | None = None
    score_NH: Tensor | None = None
    cuts_J: Tensor | None = None


def full_logits(hidden_ND: Tensor, head: Head, dtype: torch.dtype) -> Tensor:
    """fp32 logits of a few rows over the whole vocabulary: for sampling and for the probe."""
    low_ND, weight_VD = hidden_ND.to(dtype), head.weight_VD
    # never the whole weight in another type
    step = len(weight_VD) if weight_VD.dtype == dtype else max(1, PIECE // weight_VD.shape[1])
    starts = range(0, len(weight_VD), step)
    parts = [low_ND @ weight_VD[a : a + step].to(dtype).t() for a in starts]
    product_NV = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
    if head.rows is not None:
        columns_NR = low_ND @ head.rows.values_RD.to(dtype).t()
        product_NV = product_NV.index_copy(1, head.rows.ids_R, columns_NR)
    return logits_of(product_NV, head.bias_V, head)


class _WeightedNll(torch.autograd.Function):
    """sum of weight * -logp, with the gradients formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        values_RD: Tensor | None,
        ids_R: Tensor | None,
        target_N: Tensor,
        token_weight_N: Tensor,
        shape: Shape,
    ) -> tuple[Tensor, Tensor]:
        wanted, factor = ctx.needs_input_grad[:4], shape.factor
        replaced = rows_given(ids_R, values_RD)
        scaled_N = token_weight_N if factor is None else token_weight_N * factor
        if shape.sliced and factor is not None and all(wanted[:2]):
            sliced = SlicedGradients(hidden_ND, weight_VD, target_N, scaled_N, dtype=shape.dtype)
            ctx.grads, ctx.factor, logp_N = sliced, factor, sliced.logp_N
            ctx.mark_non_differentiable(logp_N)
            return -(logp_N * token_weight_N).sum(), logp_N
        final = factor is not None
        grads = HeadGradients(hidden_ND, weight_VD, bias_V, replaced, wanted, final=final)
        logp_N = torch.empty(len(target_N), dtype=torch.float32, device=hidden_ND.device)
        for chunk, low_CD, product_CV in products(hidden_ND, weight_VD, replaced, shape):
            fused = is_fused(product_CV, bias_V, shape.needs)
            if fused:
                both = (scaled_N[chunk], scaled_N[chunk])
                logp_N[chunk], _ = _at_once(product_CV, target_N[chunk], *both, shape, grads.any)
            for tile, logits in () if fused else logit_tiles(product_CV, bias_V, shape):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                # the gradient takes the place of the logits, unless a cap asks for them again
                capped = logits.clone() if grads.any and shape.softcap is not None else None
                logp_N[rows] = ops.nll_rows(
                    logits, target_N[rows], scaled_N[rows], gradient=grads.any
                )
                if grads.any:
                    grads.tile(product_CV[tile], logits, capped, shape)
            if grads.any:
                grads.chunk(chunk, product_CV, low_CD)
        ctx.grads, ctx.factor = grads, shape.factor
        ctx.mark_non_differentiable(logp_N)
        return -(logp_N * token_weight_N).sum(), logp_N

    @staticmethod
    def backward(ctx: Any, grad_sum: Tensor, _grad_logp: Tensor) -> tuple[Tensor | None, ...]:
        grads, factor = ctx.grads, ctx.factor
        ctx.grads = None
        if factor is None:
            return (*grads.scaled(grad_sum), None, None, None, None)
        # an accelerator would have to be waited for
        if grad_sum.device.type == "cpu" and abs(float(grad_sum) - factor) > 1e-5 * abs(factor):
            raise RuntimeError(f"nll_sum was to get the gradient {factor}, and got {grad_sum}")
        return (*grads.scaled(), None, None, None, None)


def _at_once(
    product_CV: Tensor, target_C: Tensor, weight_C: Tensor, hit_C: Tensor, shape: Shape, grad: bool
) -> tuple[Tensor, Tensor]:
    """Log-probabilities and normalisers of a chunk, by the kernel that `is_fused` speaks of."""
    found: tuple[Tensor, Tensor] = ops.kernels().reduce_rows(
        product_CV,
        target_C,
        weight_C,
        hit_C,
        gradient=grad,
        scale=shape.scale,
        softcap=shape.softcap,
    )
    return found


class _Reduce(torch.autograd.Function):
    """Per-row statistics; the backward pass computes each chunk's logits again."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        values_RD: Tensor | None,
        ids_R: Tensor | None,
        target_N: Tensor,
        shape: Shape,
    ) -> tuple[Tensor, ...]:
        out = torch.zeros(4, len(target_N), dtype=torch.float32, device=hidden_ND.device)
        greedy_N = torch.zeros(len(target_N), dtype=torch.bool, device=hidden_ND.device)
        nothing_N = out[3]
        alone = not {"entropy", "mean_logit"} & shape.needs
        replaced = rows_given(ids_R, values_RD)
        for chunk, _, product_CV in products(hidden_ND, weight_VD, replaced, shape):
            if is_fused(product_CV, bias_V, shape.needs):
                none = (nothing_N[chunk], nothing_N[chunk])
                found = _at_once(product_CV, target_N[chunk], *none, shape, False)
                out[0, chunk], out[1, chunk] = found
                continue
            for tile, logits in logit_tiles(product_CV, bias_V, shape, in_place=alone):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                out[0, rows] = ops.nll_rows(logits, target_N[rows], nothing_N[rows], gradient=False)
                out[1, rows] = logits.gather(1, target_N[rows, None])[:, 0] - out[0, rows]
                lse = out[1, rows]
                if "entropy" in shape.needs:
                    out[2, rows] = lse - ((logits - lse[:, None]).exp_() * logits).sum(1)
                if "mean_logit" in shape.needs:
                    out[3, rows] = logits.mean(1)
                if "greedy" in shape.needs:
                    greedy_N[rows] = ops.row_tops(logits)[1] == target_N[rows]
        ctx.mark_non_differentiable(greedy_N)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, values_RD, ids_R, target_N, out)
        ctx.shape = shape
        return out[0].clone(), out[1].clone(), out[2].clone(), out[3].clone(), greedy_N

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        hidden_ND, weight_VD, bias_V, values_RD, ids_R, target_N, out = ctx.saved_tensors
        replaced = rows_given(ids_R, values_RD)
        shape: Shape = ctx.shape
        wanted = ctx.needs_input_grad[:4]
        grads = HeadGradients(hidden_ND, weight_VD, bias_V, replaced, wanted, final=True)
        g_logp, g_lse, g_entropy, g_mean = (g[:, None].float() for g in grad_outputs[:4])
        for chunk, low_CD, product_CV in products(hidden_ND, weight_VD, replaced, shape):
            if is_fused(product_CV, bias_V, shape.needs):
                of_p, of_target = (g_lse - g_logp)[chunk, 0], -g_logp[chunk, 0]
                _at_once(product_CV, target_N[chunk], of_p, of_target, shape, True)
                grads.chunk(chunk, product_CV, low_CD)
                continue
            # d logp = onehot - p;  d lse = p;  d entropy = -p (log p + entropy);  d mean = 1 / V
            kept = shape.softcap is not None or "entropy" in shape.needs
            # rounded to bf16 before, what else is added would drown
            alone = shape.needs == {"logp"}
            for tile, grad in logit_tiles(product_CV, bias_V, shape, in_place=alone):
                rows = slice(chunk.start + tile.start, chunk.start + tile.stop)
                logits = grad.clone() if kept else None
                weight_R = (g_lse[rows] - g_logp[rows])[:, 0]
                ops.nll_rows(grad, target_N[rows], weight_R, gradient=True)
                if "lse" in shape.needs:
                    grad.scatter_add_(1, target_N[rows, None], g_lse[rows])
                if "entropy" in shape.needs:
                    assert logits is not None
                    log_p = logits - out[1, rows, None]
                    grad -= log_p.exp().mul_(log_p.add_(out[2, rows, None])).mul_(g_entropy[rows])
                if "mean_logit" in shape.needs:
                    grad += g_mean[rows] / grad.shape[1]
                grads.tile(product_CV[tile], grad, logits, shape)
            grads.chunk(chunk, product_CV, low_CD)
        return (*grads.scaled(), None, None, None)


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
    taught: Taught | None = None,
) -> Reduced:
    """Reduce the next-token distributions of the supervised rows.

    Args:
        hidden_TD: last hidden states (after the final norm).
        head: the vocabulary projection.
        source_row_N: the row of ``hidden_TD`` that predicts each target.
        target_N: target ids.
        needs: names from ``NEEDS``; ``scores`` stands alone.
        weight_N: weights of ``nll_sum`` and ``teacher_kl``, whose gradients flow to hidden states
            and head only.
        factor: the gradient that ``nll_sum`` will get in the backward pass, where that is known
            beforehand: one block of the weight's size less. Another one is then an error.
        chunk: rows per chunk; chosen from the vocabulary if None.
        dtype: of the matrix products; the hidden states' own if None.
        taught: the teacher of ``teacher_kl``.

    Raises:
        ValueError: an unknown need, a weighted sum without weights, or no teacher.
    """
    if set(needs) == {"scores"}:
        return scores(hidden_TD, head, source_row_N)
    unknown = set(needs) - set(NEEDS) | {"scores"} & set(needs)
    if unknown or (WEIGHTED & set(needs) and weight_N is None):
        raise ValueError(f"cannot reduce {sorted(unknown) or 'nll_sum without weights'}")
    if "teacher_kl" in needs and taught is None:
        raise ValueError("cannot reduce teacher_kl without a teacher")
    vocabulary, kind = head.weight_VD.shape[0], dtype or hidden_TD.dtype
    shape = Shape(
        head.softcap,
        head.scale,
        chunk or chunk_rows(vocabulary, kind.itemsize, chunk_size(hidden_TD.device)),
        kind,
        frozenset(needs),
        factor if "nll_sum" in needs else None,
        head.sliced and head.rows is None and pays(head.weight_VD, head.bias_V, head),
    )
    give_back()  # what the layers have left: here much is needed at once
    whole = source_row_N.numel() == hidden_TD.shape[0] and bool(
        (source_row_N == torch.arange(hidden_TD.shape[0], device=hidden_TD.device)).all()
    )
    hidden_ND = hidden_TD if whole else hidden_TD.index_select(0, source_row_N)
    with torch.autocast(hidden_TD.device.type, enabled=False):
        if "nll_sum" in needs:
            total, logp = _WeightedNll.apply(  # type: ignore[no-untyped-call]
                hidden_ND, *_tensors(head), target_N, weight_N, shape
            )
            return Reduced(logp_N=logp, nll_sum=total)
        teacher_sum = teacher_N = None
        if "teacher_kl" in needs:
            teacher_sum, teacher_N = WeightedDivergence.apply(  # type: ignore[no-untyped-call]
                hidden_ND, *_tensors(head), weight_N, taught, shape
            )
            if set(needs) == {"teacher_kl"}:
                return Reduced(teacher_sum=teacher_sum, teacher_N=teacher_N)
        found = _statistics(hidden_ND, head, target_N, shape)
    return Reduced(
        logp_N=found[0] if "logp" in needs else None,
        lse_N=found[1] if "lse" in needs else None,
        entropy_N=found[2] if "entropy" in needs else None,
        mean_logit_N=found[3] if "mean_logit" in needs else None,
        greedy_N=found[4] if "greedy" in needs else None,
        teacher_sum=teacher_sum,
        teacher_N=teacher_N,
    )


def _statistics(
    hidden_ND: Tensor, head: Head, target_N: Tensor, shape: Shape
) -> tuple[Tensor | None, ...]:
    """What ``_Reduce`` gives, by another project's kernel where one takes the call."""
    weight_VD, bias_V, rows = head.weight_VD, head.bias_V, head.rows
    asked = Asked(hidden_ND, weight_VD, bias_V, shape, shape.needs, shape.dtype, rows)
    kernel = kernel_for(asked)
    if kernel is not None:
        return (*kernel.reduce(asked, target_N), None, None, None)
    found: tuple[Tensor, ...] = _Reduce.apply(  # type: ignore[no-untyped-call]
        hidden_ND, *_tensors(head), target_N, shape
    )
    return found


def _tensors(head: Head) -> tuple[Tensor | None, ...]:
    """Of a head, as autograd's functions take them after the hidden rows."""
    values_RD, ids_R = (None, None) if head.rows is None else head.rows[::-1]
    return head.weight_VD, head.bias_V, values_RD, ids_R


def scores(hidden_TD: Tensor, head: Head, row_N: Tensor) -> Reduced:
    """The scores of some rows in fp32: few outputs, so nothing is computed twice to save memory."""
    with torch.autocast(hidden_TD.device.type, enabled=False):
        hidden_ND = hidden_TD.index_select(0, row_N).float()
        return Reduced(score_NH=hidden_ND @ head.weight_VD.float().t(), cuts_J=head.cuts_J)
