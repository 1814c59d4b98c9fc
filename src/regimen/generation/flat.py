"""The common decoder layer as a short list of tensor operations, for generation on CPUs.

A module costs more than its arithmetic where it is asked for a few rows at a time, and a product of
few rows is fastest with the weight packed and whole. So a run of generation copies the weights:
queries, keys and values as one matrix, adapters merged in. Taken only where modules have the names
and types of that layer, and a probe shows that the states are those of the modules themselves, at
the first and at the last positions of the run.

Shape letters: T tokens, D width, N outputs of a projection, F inner width, H query heads, K key
heads, W width of a head, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regimen.generation.cache import Cache
from regimen.generation.weights import Norm
from regimen.models.native import ops
from regimen.models.native.products import Copied
from regimen.models.segments import Call

ROWS = 128
"""Rows that the gated network takes at once, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer; ``mixing`` gives queries, keys and values. Products are in ``dtype``."""

    before_mixing: Norm
    mixing: Copied
    query_norm: Norm | None
    key_norm: Norm | None
    mixed: Copied
    before_inner: Norm
    gate: Copied
    up: Copied
    down: Copied
    heads: int
    key_heads: int
    width: int
    call: Call
    dtype: torch.dtype

    def mix(self, x_TD: Tensor, cos_TW: Tensor, sin_TW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (T, H, W), keys and values (T, K, W) of states."""
        made_TN = self.mixing.of(self.before_mixing.of(x_TD, self.dtype))
        heads_THW = made_TN.view(len(x_TD), -1, self.width)
        both = self.heads + self.key_heads
        query, key = heads_THW[:, : self.heads], heads_THW[:, self.heads : both]
        value = heads_THW[:, both:]
        for norm, part in ((self.query_norm, query), (self.key_norm, key)):
            if norm is not None:
                part.copy_(norm.of(part, self.dtype))
        ops.rotate(heads_THW[:, :both], cos_TW, sin_TW)
        return query, key, value

    def finish(self, x_TD: Tensor, mixed_THW: Tensor) -> None:
        """Add what the heads found, and the gated network, in place."""
        self.mixed.add(x_TD, mixed_THW.reshape(len(x_TD), -1))
        for rows_TD in torch.split(x_TD, ROWS) if len(x_TD) > ROWS else (x_TD,):
            normed = self.before_inner.of(rows_TD, self.dtype)
            self.down.add(rows_TD, ops.swiglu(self.gate.of(normed), self.up.of(normed)))


@dataclass(slots=True)
class FlatNetwork:
    """Embedding, layers and last norm of a model; the angles of positions (P, W)."""

    embed: nn.Module
    layers: tuple[Layer, ...]
    norm: nn.Module
    cos_PW: Tensor
    sin_PW: Tensor

    def hidden(
        self, cache: Cache, ids_T: Tensor, position_T: Tensor, read_N: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of a flat batch that the cache points to: (T, D).

        With ``read_N``, those of these tokens alone: (N, D).
        """
        x_TD: Tensor = self.embed(ids_T)
        cos, sin = (angle.index_select(0, position_T) for angle in (self.cos_PW, self.sin_PW))
        for index, layer in enumerate(self.layers):
            query, key, value = layer.mix(x_TD, cos, sin)
            if read_N is not None and layer is self.layers[-1]:
                cache.store(index, key, value)
                mixed = cache.decode(index, query[read_N], layer.call, read_N)
                x_TD = x_TD[read_N]
            else:
                mixed = cache.attend(index, query, key, value, layer.call)
            layer.finish(x_TD, mixed)
        out: Tensor = self.norm(x_TD)
        return out
