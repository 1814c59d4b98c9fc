"""Static keys and values of the rows that run, and attention over them.

While prompts are read, each is a segment of a flat batch. Afterwards each row has one query. Where
loops are compiled it reads the positions of its own row and no others; padded attention, for every
other case, reads every row up to the longest.

Shape letters: R rows of the cache, M its positions, T tokens of a flat batch, K key heads, D width
of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.models.hardware import on_large_pages
from regimen.models.mixers import Asked, mix
from regimen.models.native.mixing import Attention, attention_step
from regimen.models.native.ops import alike, store_rows
from regimen.models.segments import Call, explicit_attention
from regimen.models.virtual import Prefix
from regimen.tokens.ragged import Plan


class Cache:
    """Static keys and values: layer by layer (R, M, K, D), each row with its own length.

    ``prefix`` has keys and values that stand at the beginning of every row.
    """

    def __init__(self, rows: int, positions: int, prefix: Prefix | None = None) -> None:
        self.rows, self.positions, self.prefix = rows, positions, prefix or {}
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.last: dict[int, Tensor] = {}
        """Hidden state of each row's last prompt token: (D,)."""
        self.plan: Plan | None = None
        self.row_T = torch.zeros(0, dtype=torch.int64)
        self.position_T = torch.zeros(0, dtype=torch.int64)
        self.slot_T = self.row_T

    def point(self, plan: Plan | None, row_T: Tensor, position_T: Tensor) -> None:
        """Where the next flat batch goes; ``plan`` is set while prompts are read."""
        self.plan, self.row_T, self.position_T = plan, row_T, position_T
        self.slot_T = row_T * self.positions + position_T

    def copy(self, source: int, place: int, positions: int) -> None:
        """Give a row the first positions of another one."""
        for stored in (*self.keys.values(), *self.values.values()):
            stored[place, :positions] = stored[source, :positions]
        self.last[place] = self.last[source]

    def fresh(self, given_TKD: Tensor) -> Tensor:
        """A block for keys or values like these, with any content: (R, M, K, D)."""
        return given_TKD.new_empty((self.rows, self.positions, *given_TKD.shape[1:]))

    def store(self, layer: int, key_TKD: Tensor, value_TKD: Tensor) -> None:
        """Keep the keys and values of the flat batch."""
        if layer not in self.keys:
            self.keys[layer] = on_large_pages(self.fresh(key_TKD))
            self.values[layer] = on_large_pages(self.fresh(value_TKD))
            if layer in self.prefix:
                for stored, given in zip(
                    (self.keys[layer], self.values[layer]), self.prefix[layer], strict=True
                ):
                    stored[:, : given.shape[2]] = given.transpose(1, 2)
        store_rows(key_TKD, self.keys[layer].flatten(0, 1), self.slot_T)
        store_rows(value_TKD, self.values[layer].flatten(0, 1), self.slot_T)

    def attend(
        self, layer: int, query_THD: Tensor, key_TKD: Tensor, value_TKD: Tensor, call: Call
    ) -> Tensor:
        """Store keys and values, attend, and return (T, H, D)."""
        self.store(layer, key_TKD, value_TKD)
        if self.plan is None:
            return self.decode(layer, query_THD, call)
        heads = (query_THD, key_TKD, value_TKD)
        if _is_common(call, *heads):
            compiled = Attention(self.plan, _scale(call, key_TKD), call.window)
            return compiled.forward(*(x.contiguous() for x in heads))[0]
        query, key, value = (x.transpose(0, 1)[None] for x in heads)
        return mix(Asked(query, key, value, self.plan, call))[0]

    def held(self, layer: int, row_T: Tensor, position_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values (rows, positions, K, D) up to these positions of rows, and where in them
        each of the rows is: (T,)."""
        return self.keys[layer], self.values[layer], row_T

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(t.nbytes for t in (*self.keys.values(), *self.values.values()))

    def decode(
        self, layer: int, query_THD: Tensor, call: Call, read_T: Tensor | None = None
    ) -> Tensor:
        """Attention of one query of each row over what its row holds: (T, H, D).

        With ``read_T``, the queries are those tokens of the flat batch alone.
        """
        row_T, position_T = self.row_T, self.position_T
        if read_T is not None:
            row_T, position_T = row_T[read_T], position_T[read_T]
        keys, values, row_T = self.held(layer, row_T, position_T)
        if not _is_common(call, query_THD, keys, values):
            return _padded(query_THD, keys, values, row_T, position_T, call)
        scale = _scale(call, keys)
        first_T = torch.zeros_like(position_T)
        if call.window is not None:
            first_T = (position_T - call.window + 1).clamp_(min=0)
        return attention_step(query_THD, keys, values, row_T, first_T, position_T, scale)


def _is_common(call: Call, query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether the compiled loops do this attention."""
    plain = call.softcap is None and call.sinks_H is None
    return plain and keys.shape == values.shape and alike(query, keys, values)


def _scale(call: Call, keys: Tensor) -> float:
    return keys.shape[-1] ** -0.5 if call.scaling is None else call.scaling


def _padded(
    query_THD: Tensor, keys: Tensor, values: Tensor, row_T: Tensor, position_T: Tensor, call: Call
) -> Tensor:
    """The same for every device and kind of attention; reads each row up to the longest."""
    longest = int(position_T.max()) + 1
    place = torch.arange(longest, device=keys.device)
    mask = place[None] <= position_T[:, None]
    if call.window is not None:
        mask &= place[None] > position_T[:, None] - call.window
    # what no row has stored yet is anything, and not even a number
    beyond = ~mask[:, :, None, None]
    key, value = (
        stored[row_T, :longest].masked_fill_(beyond, 0.0).transpose(1, 2)
        for stored in (keys, values)
    )
    mask = mask[:, None, None]
    query = query_THD[:, :, None]
    if call.softcap is not None or call.sinks_H is not None:
        return explicit_attention(query, key, value, mask, call)[:, :, 0]
    grouped = query.shape[1] != key.shape[1]
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, scale=call.scaling, enable_gqa=grouped
    )
    return out[:, :, 0]
