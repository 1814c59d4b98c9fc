"""PEFT's module of trained rows, without its copies of the matrix: `regimen.models.token_rows`.

Shape letters: R trained rows, T tokens, H of them with such a row, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.models.native.pool import empty_like
from regimen.models.token_rows import Rows, rows_of


class LookedUp(TrainableTokensLayer):
    """PEFT's layer with the same parameters, for a frozen embedding or projection."""

    def forward_adapters(
        self, x: Tensor, active_adapters: Any, *args: Any, **kwargs: Any
    ) -> Tensor:
        """As PEFT's; a projection keeps its bias, which theirs leaves out."""
        layer: Any = self
        base, rows = layer.get_base_layer(), rows_of(layer, active_adapters)
        if rows is not None and not base.weight.requires_grad:
            if isinstance(base, nn.Linear):
                return _projected(base(x), x, rows, base.bias)
            if isinstance(base, nn.Embedding) and base.max_norm is None:
                scale = layer._get_embed_scale()
                return _embedded(base(x), x, rows, base.padding_idx, scale)
        found: Tensor = super().forward_adapters(x, active_adapters, *args, **kwargs)
        return found


def _projected(found: Tensor, x: Tensor, rows: Rows, bias: Tensor | None) -> Tensor:
    columns = F.linear(x, rows.values_RD, None if bias is None else bias[rows.ids_R])
    return found.index_copy(-1, rows.ids_R, columns.to(found.dtype))


def _embedded(
    found: Tensor, ids: Tensor, rows: Rows, padding: int | None, scale: Tensor | None
) -> Tensor:
    ids_R, values_RD = rows
    if padding is not None:  # torch learns no row of it
        values_RD = torch.where((ids_R == padding)[:, None], values_RD.detach(), values_RD)
    if scale is not None:
        values_RD = values_RD * scale.to(values_RD.dtype)
    given = (found, ids, ids_R, values_RD, ids.device.type == "cpu")
    out: Tensor = Replaced.apply(*given)  # type: ignore[no-untyped-call]
    return out


class Replaced(torch.autograd.Function):
    """Embeddings with trained rows in their places, whose gradient is of those rows alone.

    How many there are in a batch, an accelerator would have to be waited for; with ``waits`` they
    are counted.
    """

    @staticmethod
    def forward(
        ctx: Any, found: Tensor, ids: Tensor, ids_R: Tensor, values_RD: Tensor, waits: bool
    ) -> Tensor:
        """(B, T, D) with (R, D) in it where ids are among (R,), in memory of its own."""
        sorted_R, order_R = ids_R.sort()
        flat_T = ids.flatten()
        at_T = torch.searchsorted(sorted_R, flat_T).clamp_(max=len(ids_R) - 1)
        hit_T, row_T = sorted_R[at_T] == flat_T, order_R[at_T]
        ctx.rows, ctx.dtype = len(ids_R), values_RD.dtype
        if waits:
            hits_H = hit_T.nonzero()[:, 0]
            row_H = row_T[hits_H]
            ctx.save_for_backward(hit_T, hits_H, row_H)
            out = empty_like(found).copy_(found)
            out.flatten(0, -2).index_copy_(0, hits_H, values_RD[row_H].to(out.dtype))
            return out
        ctx.save_for_backward(hit_T, None, torch.where(hit_T, row_T, len(ids_R)))
        values = values_RD[row_T].to(found.dtype).view_as(found)
        return torch.where(hit_T.view(*ids.shape, 1), values, found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Of the rows, summed in fp32, and of the embeddings beside them where that is needed."""
        hit_T, hits_H, row_H = ctx.saved_tensors
        of_found = None
        if ctx.needs_input_grad[0]:
            of_found = grad.masked_fill(hit_T.view(*grad.shape[:-1], 1), 0.0)
        grad_HD = grad.flatten(0, -2)
        grad_HD = grad_HD if hits_H is None else grad_HD[hits_H]
        total = grad.new_zeros(ctx.rows + 1, grad.shape[-1], dtype=torch.float32)
        total.index_add_(0, row_H, grad_HD.float())
        return of_found, None, None, total[:-1].to(ctx.dtype), None
