"""What a plan of segments is to attention kernels of accelerators: rows of keys, and numbers.

Some kernels take sequences of queries and of keys that lie one after another: there the keys of a
path are gathered. Others ask for each pair of a query and a key whether it counts: there every
segment has an interval of numbers that holds the intervals of what continues it, so two comparisons
tell an ancestor from others, at any depth. All is made on the host, once for a batch.

Shape letters: T tokens (queries), J keys (those of trained positions first), S segments, P keys of
all paths together, B blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from regimen.tokens.ragged import Plan

Mask = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of a batch, a head, queries and keys."""
BLOCK = 128
"""Queries and keys of a block."""
KEPT = 8
"""Batches whose tensors are kept: layers of one batch, several windows, and batches ahead."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Queries of each segment and keys of its path, as two lists of sequences.

    ``row_P`` are the rows of the keys, None where every path is its own segment; ``ends_Q`` and
    ``ends_K`` (S + 1, int32) are the cumulative lengths.
    """

    row_P: Tensor | None
    ends_Q: Tensor
    ends_K: Tensor
    longest_query: int
    longest_key: int


def path_keys(plan: Plan, before: int = 0) -> int:
    """Keys of all paths together; ``before`` stand before each of them."""
    totals: list[int] = []
    for length, parent in zip(plan.lengths, plan.parents, strict=True):
        totals.append(length + (totals[parent] if parent >= 0 else before))
    return sum(totals)


@lru_cache(maxsize=KEPT)
@torch.inference_mode(False)  # a training may get what a generation made
def paths_of(plan: Plan, before: int, device: torch.device) -> Paths:
    """The paths of a plan on a device; ``before`` keys of trained positions come first."""
    starts = plan.starts
    rows: list[np.ndarray] = []
    for segment, (start, length) in enumerate(zip(starts, plan.lengths, strict=True)):
        parent = plan.parents[segment]
        above = rows[parent] if parent >= 0 else np.arange(before)
        rows.append(np.concatenate([above, np.arange(before + start, before + start + length)]))
    keys = [len(row) for row in rows]
    plain = plan.is_flat and not before
    return Paths(
        None if plain else torch.from_numpy(np.concatenate(rows)).to(device),
        _ends(plan.lengths).to(device),
        _ends(keys).to(device),
        max(plan.lengths),
        max(keys),
    )


def _ends(lengths: tuple[int, ...] | list[int]) -> Tensor:
    return torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))


@dataclass(frozen=True, slots=True)
class Numbered:
    """Numbers of queries and keys, int32, each padded to whole blocks.

    A key counts for a query if the query's number lies in the key's interval ``enter_J`` to
    ``exit_J`` and its position is not behind the query's. What pads stands in a tree of its own.
    """

    enter_T: Tensor
    position_T: Tensor
    enter_J: Tensor
    exit_J: Tensor
    position_J: Tensor
    before: int


@lru_cache(maxsize=KEPT)
@torch.inference_mode(False)
def numbered(plan: Plan, before: int, device: torch.device) -> Numbered:
    """The numbers of a plan on a device; ``before`` keys of trained positions come first."""
    enter_S, exit_S = _intervals(plan)
    starts: list[int] = []  # position of the first token of each segment, along its path
    for segment, parent in enumerate(plan.parents):
        starts.append(starts[parent] + plan.lengths[parent] if parent >= 0 else before)
        assert parent < segment
    lengths = np.asarray(plan.lengths)
    enter_T = np.repeat(enter_S, lengths)
    exit_T = np.repeat(exit_S, lengths)
    position_T = np.concatenate(
        [np.arange(s, s + n) for s, n in zip(starts, plan.lengths, strict=True)]
    )
    number, last = len(lengths), int(position_T.max()) + 1
    ahead = np.arange(before)
    made = (
        _padded(enter_T, number),
        _padded(position_T, last, step=1),
        _padded(np.concatenate([np.zeros(before, np.int64), enter_T]), number),
        _padded(np.concatenate([np.full(before, number + 1), exit_T]), number + 1),
        _padded(np.concatenate([ahead, position_T]), last, step=1),
    )
    enter, position, enter_J, exit_J, position_J = (
        torch.from_numpy(array.astype(np.int32)).to(device) for array in made
    )
    return Numbered(enter, position, enter_J, exit_J, position_J, before)


def _padded(array: np.ndarray, value: int, step: int = 0) -> np.ndarray:
    """The array to whole blocks, with ``value``, ``value + step``, ... behind it."""
    count = -len(array) % BLOCK
    return np.concatenate([array, value + step * np.arange(count)])


def _intervals(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """First number of each segment, and the number after the last of what continues it."""
    count = len(plan.lengths)
    sizes = np.ones(count, np.int64)  # segments of the tree below, with its root
    for segment in range(count - 1, -1, -1):
        if plan.parents[segment] >= 0:
            sizes[plan.parents[segment]] += sizes[segment]
    enter, free, root = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
    for segment, parent in enumerate(plan.parents):
        if parent >= 0:
            enter[segment] = free[parent]
            free[parent] += sizes[segment]
        else:
            enter[segment], root = root, root + int(sizes[segment])
        free[segment] = enter[segment] + 1
    return enter, enter + sizes


def predicate(it: Numbered, window: int | None) -> Mask:
    """Whether a key counts for a query, from their numbers: a mask of FlexAttention.

    What its closure has are tensors, so that a kernel compiled for one batch is that for all.
    """
    enter_T, position_T = it.enter_T, it.position_T
    enter_J, exit_J, position_J = it.enter_J, it.exit_J, it.position_J

    def along_paths(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        number = enter_T[query]
        inside = (enter_J[key] <= number) & (number < exit_J[key])
        return inside & (position_J[key] <= position_T[query])

    if window is None:
        return along_paths
    size = window

    def within(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        near = position_J[key] > position_T[query] - size
        return near & along_paths(batch, head, query, key)

    return within


def blocks(it: Numbered, window: int | None) -> tuple[Tensor, Tensor]:
    """Which blocks of keys have a pair that counts for blocks of queries, and which have no other.

    Two (B of queries, B of keys) of booleans. The first may have too many: what has no pair costs
    time alone. A key never stands behind its query.
    """
    low_q, high_q = _ends_of(it.enter_T)
    first_q, last_q = (x[:, None] for x in _ends_of(it.position_T))
    low_k, high_k = _ends_of(it.enter_J)
    out_low_k, out_high_k = _ends_of(it.exit_J)
    first_k, last_k = (x[None] for x in _ends_of(it.position_J))
    low_q, high_q = low_q[:, None], high_q[:, None]
    some = (low_k[None] <= high_q) & (low_q < out_high_k[None]) & (first_k <= last_q)
    every = (high_k[None] <= low_q) & (high_q < out_low_k[None]) & (last_k <= first_q)
    if window is not None:
        some &= last_k > first_q - window
        every &= first_k > last_q - window
    rows_q = torch.arange(len(low_q), device=some.device)[:, None] * BLOCK + BLOCK - 1
    rows_k = torch.arange(len(low_k), device=some.device)[None] * BLOCK
    some &= rows_k <= rows_q + it.before
    return some & ~every, every


def _ends_of(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest number of each block."""
    inside = numbers.view(-1, BLOCK)
    return inside.amin(1), inside.amax(1)
