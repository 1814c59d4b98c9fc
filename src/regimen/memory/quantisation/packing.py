"""Numbers of 1 to 8 bits in words of 32, densely, as compressed-tensors packs them.

Number i of a row stands at bits i*b to (i+1)*b of it, the lowest bit first, without a gap: where b
does not divide 32, numbers cross words. Stored is the number minus the smallest.

Shape letters: R rows, C numbers of a row, W words of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD = 32


def words(numbers: int, bits: int) -> int:
    """Words of a row of so many numbers."""
    return -(-numbers * bits // WORD)


def packed(codes_RC: Tensor, bits: int) -> Tensor:
    """Signed numbers of ``bits`` bits (int8) as words: (R, W), int32."""
    rows, columns = codes_RC.shape
    count = words(columns, bits)
    unsigned = codes_RC.to(torch.int64) + (1 << (bits - 1))
    start_C = torch.arange(columns, device=codes_RC.device) * bits
    word_C, offset_C = start_C // WORD, start_C % WORD
    shifted = unsigned << offset_C
    found = torch.zeros(rows, count + 1, dtype=torch.int64, device=codes_RC.device)
    mask = (1 << WORD) - 1
    # bits do not overlap, so that a sum is an or
    found.index_add_(1, word_C, shifted & mask)
    found.index_add_(1, word_C + 1, shifted >> WORD)
    found = found[:, :count]
    return torch.where(found >= 1 << (WORD - 1), found - (1 << WORD), found).to(torch.int32)


def unpacked(words_RW: Tensor, bits: int, columns: int) -> Tensor:
    """The signed numbers again: (R, C), int8."""
    rows = words_RW.shape[0]
    mask = (1 << WORD) - 1
    given = torch.zeros(rows, words_RW.shape[1] + 1, dtype=torch.int64, device=words_RW.device)
    given[:, :-1] = words_RW.to(torch.int64) & mask
    start_C = torch.arange(columns, device=words_RW.device) * bits
    word_C, offset_C = start_C // WORD, start_C % WORD
    both = given[:, word_C] | (given[:, word_C + 1] << WORD)
    # the upper half may set the sign, which the mask takes away after the shift
    numbers = (both >> offset_C) & ((1 << bits) - 1)
    return (numbers - (1 << (bits - 1))).to(torch.int8)
