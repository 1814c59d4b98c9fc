"""The packing plan: which rows share a micro-batch, as a pure function of lengths and a seed.

Because the plan depends on nothing else, the position in the data is one integer for any number
of processes, and a resumed run sees exactly the rows that it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def packing_plan(
    lengths: Sequence[int] | np.ndarray,
    *,
    seed: int,
    epoch: int,
    token_budget: int,
    shuffle: bool = True,
) -> list[tuple[int, ...]]:
    """Micro-batches of row numbers, each of at most ``token_budget`` tokens.

    Rows are shuffled, then taken in windows of 32 micro-batches; inside a window they are packed
    longest first into the fullest micro-batch that still fits (best fit), and the micro-batches are
    shuffled again. A row longer than the budget gets a micro-batch of its own.

    Args:
        lengths: tokens of each row.
        seed: of the run.
        epoch: counted from 0; each epoch has its own order.
        token_budget: tokens of one micro-batch.
        shuffle: False keeps the rows' order and packs greedily.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if not shuffle:
        return _in_order(sizes, token_budget)
    rng = np.random.default_rng([seed, epoch, 0x9ACC])
    order = rng.permutation(len(sizes))
    batches: list[tuple[int, ...]] = []
    for window in _windows(order, sizes, 32 * token_budget):
        packed = _best_fit(window, sizes, token_budget)
        batches += [packed[i] for i in rng.permutation(len(packed))]
    return batches


def _windows(order: np.ndarray, sizes: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Consecutive runs of ``order`` that hold about ``tokens`` tokens each."""
    group = (np.cumsum(sizes[order]) - 1) // max(tokens, 1)
    return np.split(order, np.flatnonzero(np.diff(group)) + 1) if len(order) else []


def _best_fit(rows: np.ndarray, sizes: np.ndarray, budget: int) -> list[tuple[int, ...]]:
    """Best-fit decreasing; ties are broken by the earlier micro-batch."""
    bins: list[list[int]] = []
    room = np.zeros(len(rows), dtype=np.int64)
    for row in rows[np.argsort(-sizes[rows], kind="stable")]:
        size = int(sizes[row])
        open_room = room[: len(bins)]
        fits = np.flatnonzero(open_room >= size)
        if len(fits):
            chosen = int(fits[np.argmin(open_room[fits])])
            bins[chosen].append(int(row))
            room[chosen] -= size
        else:
            room[len(bins)] = budget - size
            bins.append([int(row)])
    return [tuple(b) for b in bins]


def _in_order(sizes: np.ndarray, budget: int) -> list[tuple[int, ...]]:
    """Greedy micro-batches that keep the rows' order."""
    batches: list[tuple[int, ...]] = []
    current: list[int] = []
    used = 0
    for row, size in enumerate(sizes.tolist()):
        if current and used + size > budget:
            batches.append(tuple(current))
            current, used = [], 0
        current.append(row)
        used += size
    return [*batches, tuple(current)] if current else batches
