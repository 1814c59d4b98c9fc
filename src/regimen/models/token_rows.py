"""Trained rows of a frozen vocabulary matrix, which stand in the place of its own.

PEFT's module for them (`TrainableTokensLayer`) makes the whole matrix anew at each use, and a
gradient of its size. Here the matrix stays where it is, mapped from a file or not: embeddings of
those ids are replaced once they are looked up, and their logits once the product is there.

Shape letters: R trained rows, V vocabulary, D hidden width, C rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
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


def beneath(module: Any) -> Any:
    """An embedding or a projection as it is beneath PEFT's module of trained rows.

    Theirs makes a copy of the weight each time that it is asked for it, and hides the bias.
    """
    layer = _layer_of(module)
    return module if layer is None else layer.get_base_layer()


def matrix_of(module: Any) -> Tensor:
    """The weight of an embedding or a projection, without trained rows."""
    weight: Tensor = beneath(module).weight
    return weight


def rows_of(module: Any, adapters: Iterable[str] | None = None) -> Rows | None:
    """The rows that adapters, the active ones if None, train of an embedding or a projection; None
    without such.

    Raises:
        ValueError: two of the adapters train the same row.
    """
    layer = _layer_of(module)
    if layer is None or layer.disable_adapters or layer.merged:
        return None
    asked = layer.active_adapters if adapters is None else adapters
    names = [name for name in asked if name in layer.token_indices]
    if not names:
        return None
    layer._check_overlapping_tokens(names)
    weight = layer.get_base_layer().weight
    values = [layer.trainable_tokens_delta[name].to(weight) for name in names]
    ids = [number for name in names for number in layer.token_indices[name]]
    joined_RD = values[0] if len(values) == 1 else torch.cat(values)
    return Rows(_tensor(tuple(ids), weight.device), joined_RD)


def look_up_rows(model: Any) -> None:
    """Let PEFT's modules of trained rows compute without copies of the matrix."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    from regimen.models.looked_up import LookedUp

    for module in model.modules():
        if type(module) is TrainableTokensLayer:
            module.__class__ = LookedUp


def _layer_of(module: Any) -> Any | None:
    """PEFT's layer of trained rows, which a module may hold or be."""
    layer = getattr(module, "token_adapter", module)
    return layer if hasattr(layer, "trainable_tokens_delta") else None


@lru_cache(maxsize=16)
def _tensor(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept: an accelerator would be waited for each time."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)
