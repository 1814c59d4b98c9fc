"""The packing plan: which rows share a micro-batch, as a pure function of lengths and a seed.

Because the plan depends on nothing else, the position in the data is one integer for any number
of processes, and a resumed run sees exactly the rows that it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

OPEN_BATCHES = 8


def packing_plan(
    lengths: Sequence[int] | np.ndarray,
    *,
    seed: int,
    epoch: int,
    token_budget: int,
    shuffle: bool = True,
) -> list[tuple[int, ...]]:
    """Micro-batches of row numbers, each of at most ``token_budget`` tokens.

    Rows are shuffled and taken in that order; each goes into the fullest of a few open batches that
    still has room (best fit), else the fullest is closed. Rows are not sorted by length: ragged
    batches have no padding to save, and batches of equal lengths would be batches of one source,
    whose gradients pull in turns. A row longer than the budget gets a batch of its own.

    Args:
        lengths: tokens of each row.
        seed: of the run.
        epoch: counted from 0; each epoch has its own order.
        token_budget: tokens of one micro-batch.
        shuffle: False keeps the rows' order and packs greedily.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if not shuffle:
        return _packed(range(len(sizes)), sizes, token_budget, 1)
    rng = np.random.default_rng([seed, epoch, 0x9ACC])
    order = rng.permutation(len(sizes)).tolist()
    batches = _packed(order, sizes, token_budget, OPEN_BATCHES)
    return [batches[i] for i in rng.permutation(len(batches))]


def _packed(
    order: Iterable[int], sizes: np.ndarray, budget: int, most_open: int
) -> list[tuple[int, ...]]:
    """Best fit into at most ``most_open`` micro-batches; ties go to the one opened first."""
    done: list[tuple[int, ...]] = []
    bins: list[list[int]] = []
    room: list[int] = []
    for row in order:
        size = int(sizes[row])
        fits = [i for i, left in enumerate(room) if left >= size]
        if not fits:
            if len(bins) == most_open:
                fullest = min(range(len(room)), key=room.__getitem__)
                done.append(tuple(bins.pop(fullest)))
                room.pop(fullest)
            bins.append([])
            room.append(budget)
            fits = [len(bins) - 1]
        chosen = min(fits, key=room.__getitem__)
        bins[chosen].append(row)
        room[chosen] -= size
    return done + [tuple(rows) for rows in bins if rows]
