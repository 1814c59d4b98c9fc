"""Trained rows of a frozen vocabulary matrix, which stand in the place of its own.

PEFT's module for them (`TrainableTokensLayer`) makes the whole matrix anew at each use, and a
gradient of its size. Here the matrix stays where it is, mapped from a file or not: embeddings of
those ids are replaced once they are looked up, and their logits once the product is there.

Shape letters: R trained rows, V vocabulary, D hidden width, C rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regimen.models.native.products import forth, multiply


class Rows(NamedTuple):
    """Which rows of a matrix are replaced, each once, and by what: (R,) and (R, D)."""

    ids_R: Tensor
    values_RD: Tensor

    def put_logits(self, product_CV: Tensor, hidden_CD: Tensor) -> None:
        """Their columns of ``hidden @ matrix.T``, into a product with the matrix as it is."""
        factor = forth(self.values_RD)
        columns_CR = multiply([(hidden_CD, factor)], dtype=product_CV.dtype)
        product_CV.index_copy_(1, self.ids_R, columns_CR)

    def merged(self, weight_VD: Tensor) -> Tensor:
        """A copy of the matrix with these rows."""
        return weight_VD.index_copy(0, self.ids_R, self.values_RD.to(weight_VD))


def rows_given(ids_R: Tensor | None, values_RD: Tensor | None) -> Rows | None:
    """Rows of their two tensors, which autograd's functions are given apart; None without them."""
    return None if ids_R is None or values_RD is None else Rows(ids_R, values_RD)


def matrix_of(module: Any) -> Tensor:
    """The weight of an embedding or a projection as it is beneath PEFT's modules.

    Theirs makes a copy each time that it is asked for.
    """
    layer = _layer_of(module)
    weight: Tensor = (module if layer is None else layer.get_base_layer()).weight
    return weight


def rows_of(module: Any) -> Rows | None:
    """The rows that active adapters train of an embedding or a projection; None without such.

    Raises:
        ValueError: two active adapters train the same row.
    """
    layer = _layer_of(module)
    if layer is None or layer.disable_adapters or layer.merged:
        return None
    names = [name for name in layer.active_adapters if name in layer.token_indices]
    if not names:
        return None
    layer._check_overlapping_tokens(names)
    weight = layer.get_base_layer().weight
    values = [layer.trainable_tokens_delta[name].to(weight) for name in names]
    ids = [number for name in names for number in layer.token_indices[name]]
    return Rows(_tensor(tuple(ids), weight.device), _joined(values))


def look_up_rows(model: Any) -> None:
    """Let PEFT's embeddings with trained rows look up only what is asked for."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    for module in model.modules():
        if type(module) is TrainableTokensLayer:
            module.__class__ = _looking_up()


def _layer_of(module: Any) -> Any | None:
    """PEFT's layer of trained rows, which a module may hold or be."""
    layer = getattr(module, "token_adapter", module)
    return layer if hasattr(layer, "trainable_tokens_delta") else None


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@lru_cache(maxsize=16)
def _tensor(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept: an accelerator would be waited for each time."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)


@cache
def _looking_up() -> type:
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    class LookedUp(TrainableTokensLayer):
        """PEFT's layer with the same parameters, which copies no matrix."""

        def forward_adapters(
            self, x: Tensor, active_adapters: Any, *args: Any, **kwargs: Any
        ) -> Tensor:
            """As PEFT's, for embeddings whose matrix is frozen."""
            layer: Any = self
            base, rows = layer.get_base_layer(), rows_of(layer)
            takes = isinstance(base, torch.nn.Embedding) and base.max_norm is None
            if rows is None or not takes or base.weight.requires_grad:
                theirs: Tensor = super().forward_adapters(x, active_adapters, *args, **kwargs)
                return theirs
            values_RD, scale = rows.values_RD, layer._get_embed_scale()
            if base.padding_idx is not None:  # torch learns no row of it
                pads_R = rows.ids_R == base.padding_idx
                values_RD = torch.where(pads_R[:, None], values_RD.detach(), values_RD)
            if scale is not None:
                values_RD = values_RD * scale.to(values_RD.dtype)
            given = (base(x), x, rows.ids_R, values_RD, x.device.type == "cpu")
            found: Tensor = _Replaced.apply(*given)  # type: ignore[no-untyped-call]
            return found

    return LookedUp


class _Replaced(torch.autograd.Function):
    """Embeddings with trained rows in their places; their gradient is of those rows alone.

    How many there are in a batch, an accelerator would have to be waited for; with ``waits`` they
    are counted, and replaced where they stand.
    """

    @staticmethod
    def forward(
        ctx: Any, found: Tensor, ids: Tensor, ids_R: Tensor, values_RD: Tensor, waits: bool
    ) -> Tensor:
        sorted_R, order_R = ids_R.sort()
        flat_T = ids.flatten()
        at_T = torch.searchsorted(sorted_R, flat_T).clamp_(max=len(ids_R) - 1)
        hit_T, row_T = sorted_R[at_T] == flat_T, order_R[at_T]
        ctx.rows, ctx.dtype = len(ids_R), values_RD.dtype
        if waits:
            hits_H = hit_T.nonzero()[:, 0]
            row_H = row_T[hits_H]
            ctx.save_for_backward(hits_H, row_H)
            ctx.mark_dirty(found)
            found.flatten(0, -2).index_copy_(0, hits_H, values_RD[row_H])
            return found
        ctx.save_for_backward(None, torch.where(hit_T, row_T, len(ids_R)))
        values = values_RD[row_T].view_as(found)
        return torch.where(hit_T.view(*ids.shape, 1), values, found)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hits_H, row_H = ctx.saved_tensors
        grad_HD = grad.flatten(0, -2)
        grad_HD = grad_HD if hits_H is None else grad_HD[hits_H]
        total = grad.new_zeros(ctx.rows + 1, grad.shape[-1], dtype=torch.float32)
        total.index_add_(0, row_H, grad_HD.float())
        return None, None, None, total[:-1].to(ctx.dtype), None
