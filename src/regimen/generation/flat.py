"""The common decoder layer as a short list of tensor operations, for generation on CPUs.

A module costs more than its arithmetic where it is asked for a few rows at a time, and a product of
few rows is fastest with the weight transposed and whole. So a run of generation copies the weights:
queries, keys and values as one matrix, gate and up as one, adapters merged in. Taken only where
modules have the names and types of that layer, and a probe shows that the states are those of the
modules themselves, at the first and at the last positions of the run.

Rotary positions turn pairs of neighbours here, which is one complex product; the modules turn
halves (Su et al. 2021). Queries and keys are permuted alike, so their products stay.

Shape letters: T tokens, D width, N outputs of a projection, F inner width, H query heads, K key
heads, W width of a head, P positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.generation.cache import Cache
from regimen.generation.weights import Norm, Projection
from regimen.models.attention import Call

ROWS = 128
"""Rows that the gated network takes at once, so that they stay in the cache."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer; ``mixing`` gives queries, keys and values, ``inner`` gate and up."""

    before_mixing: Norm
    mixing: Projection
    query_norm: Norm | None
    key_norm: Norm | None
    mixed: Projection
    before_inner: Norm
    inner: Projection
    down: Projection
    heads: int
    key_heads: int
    width: int
    call: Call

    @property
    def sizes(self) -> tuple[int, ...]:
        """What the room for it depends on."""
        outputs = (self.mixing.weight_DN.shape[1], self.inner.weight_DN.shape[1])
        return (self.heads, self.key_heads, self.width, *outputs)

    def heads_into(self, room: Room, x_TD: Tensor, turn_TW: Tensor) -> None:
        """Write queries, keys and values."""
        self.before_mixing.into(room.normed_TD, x_TD)
        self.mixing.into(room.mixing_TN, room.normed_TD)
        if self.query_norm is not None:
            self.query_norm.into(room.query_THW, room.query_THW)
        if self.key_norm is not None:
            self.key_norm.into(room.key_TKW, room.key_TKW)
        room.turned.mul_(turn_TW)

    def finish(self, room: Room, x_TD: Tensor, mixed_THW: Tensor) -> None:
        """Add what the heads found, and the gated network, in place."""
        self.mixed.add(mixed_THW.reshape(len(x_TD), -1), x_TD)
        for rows_TD in torch.split(x_TD, ROWS) if len(x_TD) > ROWS else (x_TD,):
            normed, inner, gate, up = room.gated(len(rows_TD))
            self.before_inner.into(normed, rows_TD)
            self.inner.into(inner, normed)
            self.down.add(F.silu(gate, inplace=True).mul_(up), rows_TD)


class Room:
    """Where the layers, one after the other, write what is in between: for T tokens."""

    def __init__(self, tokens: int, layer: Layer, width: int) -> None:
        heads, key_heads = layer.heads, layer.key_heads
        self.tokens = tokens
        self.normed_TD = torch.empty(tokens, width)
        self.mixing_TN = torch.empty(tokens, layer.mixing.weight_DN.shape[1])
        parts = self.mixing_TN.view(tokens, heads + 2 * key_heads, -1)
        both = heads + key_heads
        self.query_THW, self.key_TKW = parts[:, :heads], parts[:, heads:both]
        self.value_TKW = parts[:, both:]
        pairs = self.mixing_TN.view(tokens, heads + 2 * key_heads, -1, 2)
        self.turned = torch.view_as_complex(pairs[:, :both])
        self._inner = torch.empty(min(tokens, ROWS), layer.inner.weight_DN.shape[1])
        self._gated: dict[int, tuple[Tensor, ...]] = {}

    def gated(self, rows: int) -> tuple[Tensor, ...]:
        """Normed input, gate and up together, and apart."""
        if rows not in self._gated:
            inner = self._inner[:rows]
            self._gated[rows] = (self.normed_TD[:rows], inner, *inner.chunk(2, dim=-1))
        return self._gated[rows]


@dataclass(slots=True)
class FlatNetwork:
    """Embedding, layers and last norm of a model. ``turn_PW`` are complex numbers."""

    embed: nn.Module
    layers: tuple[Layer, ...]
    norm: nn.Module
    turn_PW: Tensor
    last: Room | None = None

    def hidden(
        self, cache: Cache, ids_T: Tensor, position_T: Tensor, read_N: Tensor | None = None
    ) -> Tensor:
        """Last hidden states of a flat batch that the cache points to: (T, D).

        With ``read_N``, those of these tokens alone: (N, D).
        """
        x_TD: Tensor = self.embed(ids_T)
        turn_TW = self.turn_PW.index_select(0, position_T)[:, None]
        room = self._room(len(ids_T), x_TD.shape[1])
        for index, layer in enumerate(self.layers):
            layer.heads_into(room, x_TD, turn_TW)
            if read_N is not None and layer is self.layers[-1]:
                cache.store(index, room.key_TKW, room.value_TKW)
                mixed = cache.decode(index, room.query_THW[read_N], layer.call, read_N)
                x_TD = x_TD[read_N]
            else:
                parts = (room.query_THW, room.key_TKW, room.value_TKW)
                mixed = cache.attend(index, *parts, layer.call)
            layer.finish(room, x_TD, mixed)
        out: Tensor = self.norm(x_TD)
        return out

    def _room(self, tokens: int, width: int) -> Room:
        if self.last is None or self.last.tokens != tokens:
            self.last = Room(tokens, self.layers[0], width)
        return self.last
