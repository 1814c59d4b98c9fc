"""Keys and values in 8 bits, with a scale for each token and head.

Half of the memory of 16 bits and a quarter of that of 32, but for the scales (2 bytes a head). A
prompt is read with its keys and values as they are; what looks back at them later sees the rounded
ones. They are made dense for one layer at a time, and only the rows and positions that are read.

Shape letters: R rows of the cache, M its positions, T tokens of a flat batch, K key heads, D width
of a head, U different rows of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from regimen.generation.cache import Cache
from regimen.models.virtual import Prefix

HIGH = 127


def int8_heads(x_TKD: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers (T, K, D) and scales (T, K), bf16: x = number * scale, off by half a scale."""
    largest_TK = x_TKD.abs().amax(-1).float()
    # bf16 rounds by a 256th at most: no number is beyond 127
    scale_TK = (largest_TK * (1.004 / HIGH)).clamp(min=1e-30).to(torch.bfloat16)
    codes = torch.round(x_TKD.float() / scale_TK.float()[..., None])
    return codes.clamp(-HIGH, HIGH).to(torch.int8), scale_TK


class Int8Cache(Cache):
    """``Cache`` with keys and values as int8: layer by layer (R, M, K, D), scales (R, M, K)."""

    def __init__(self, rows: int, positions: int, prefix: Prefix | None = None) -> None:
        super().__init__(rows, positions, prefix)
        self.key_scales: dict[int, Tensor] = {}
        self.value_scales: dict[int, Tensor] = {}
        self.dtype = torch.float32

    @property
    def nbytes(self) -> int:
        """Bytes of all keys, values and scales."""
        scales = (*self.key_scales.values(), *self.value_scales.values())
        return super().nbytes + sum(t.nbytes for t in scales)

    def copy(self, source: int, place: int, positions: int) -> None:
        """Give a row the first positions of another one."""
        super().copy(source, place, positions)
        for stored in (*self.key_scales.values(), *self.value_scales.values()):
            stored[place, :positions] = stored[source, :positions]

    def store(self, layer: int, key_TKD: Tensor, value_TKD: Tensor) -> None:
        """Keep the keys and values of the flat batch."""
        self.dtype = key_TKD.dtype
        kinds = (
            (key_TKD, self.keys, self.key_scales),
            (value_TKD, self.values, self.value_scales),
        )
        for kind, (given_TKD, stored, scales) in enumerate(kinds):
            if layer not in stored:
                shape = (self.rows, self.positions, *given_TKD.shape[1:])
                stored[layer] = given_TKD.new_empty(shape, dtype=torch.int8)
                scales[layer] = given_TKD.new_zeros(shape[:-1], dtype=torch.bfloat16)
                if layer in self.prefix:
                    ahead = self.prefix[layer][kind].transpose(1, 2)  # (1, positions, K, D)
                    codes, scale = int8_heads(ahead[0])
                    stored[layer][:, : len(codes)], scales[layer][:, : len(codes)] = codes, scale
            codes, scale = int8_heads(given_TKD)
            stored[layer].flatten(0, 1).index_copy_(0, self.slot_T, codes)
            scales[layer].flatten(0, 1).index_copy_(0, self.slot_T, scale)

    def held(self, layer: int, row_T: Tensor, position_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keys and values of the rows that are asked for, dense: (U, positions, K, D)."""
        row_U, place_T = torch.unique(row_T, return_inverse=True)
        longest = int(position_T.max()) + 1
        key, value = (
            stored[layer][row_U, :longest].to(self.dtype)
            * scales[layer][row_U, :longest].to(self.dtype)[..., None]
            for stored, scales in ((self.keys, self.key_scales), (self.values, self.value_scales))
        )
        return key, value, place_T
