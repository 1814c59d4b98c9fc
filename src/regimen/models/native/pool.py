"""Blocks that operators write to, from a pool in place of the heap.

Where the allocator keeps what is freed, small objects settle in the gaps that large blocks leave:
these no longer fit where they were, and the heap grows by a layer's blocks with every layer. Where
it returns them, each block costs its page faults again. A pool of whole blocks does neither, and
holds no more than was in use at once: beyond that, free blocks are dropped for a new one.

A block comes back when the last tensor on it is gone, whoever had it.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

LEAST, MOST, MOST_RETURNED = 1 << 17, 1 << 26, 1 << 23
"""Bytes of a block below which the heap has it, and above which the allocator: less where that
returns memory, for what the pool holds free is there beside what others make, such as weights of a
quantised base."""

SPARE = 2
"""How many times as large a block may be as what is asked for."""

ALIGNED = 64
"""Bytes: a vector, and a line of the cache."""


class Pool:
    """Free blocks by size, and those that tensors have."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}  # the sizes used last come last
        self._given: dict[int, tuple[Any, np.ndarray]] = {}
        self._in_use = self._most = 0

    def take(self, size: int) -> np.ndarray:
        """``size`` bytes with any content. They are free again when the array is gone."""
        fits = [known for known, alike in self._free.items() if alike and known >= size]
        best = min(fits, default=0)
        if 0 < best <= SPARE * size:
            block = self._free[best].pop()
        else:
            self._drop(self._in_use + self.free_bytes + size - max(self._most, self._in_use + size))
            whole = np.empty(size + ALIGNED, np.uint8)
            start = -whole.ctypes.data % ALIGNED
            block = whole[start : start + size]
        self._in_use += block.nbytes
        self._most = max(self._most, self._in_use)
        given = block[:size]
        watch = weakref.ref(given, self._back)
        self._given[id(watch)] = (watch, block)
        return given

    def _back(self, gone: Any) -> None:
        _, block = self._given.pop(id(gone))
        self._in_use -= block.nbytes
        alike = self._free.pop(block.nbytes, [])
        alike.append(block)
        self._free[block.nbytes] = alike

    def _drop(self, size: int) -> None:
        """Let go of as many bytes or more, those first that were not used for longest."""
        while size > 0 and self._free:
            oldest = next(iter(self._free))
            alike = self._free[oldest]
            if alike:
                size -= alike.pop().nbytes
            if not alike:
                del self._free[oldest]

    def clear(self) -> None:
        """Let go of all that is free now, and of how much was in use at once before."""
        self._free.clear()
        self._most = self._in_use

    @property
    def free_bytes(self) -> int:
        """Of blocks that no tensor has."""
        return sum(size * len(alike) for size, alike in self._free.items())


class _Active:
    """The process's pool, if it has one, and whether the allocator returns what is freed."""

    pool: Pool | None = None
    returns = False


_ACTIVE = _Active()


def use(*, returns: bool) -> None:
    """Take blocks from a pool from now on, beside an allocator that returns memory or keeps it."""
    let_go()
    _ACTIVE.pool, _ACTIVE.returns = _ACTIVE.pool or Pool(), returns


def stop() -> None:
    """Take none from now on."""
    _ACTIVE.pool, _ACTIVE.returns = None, False


def returns() -> bool:
    """Whether there is a pool, and what it lets go of goes back to the system."""
    return _ACTIVE.pool is not None and _ACTIVE.returns


def let_go() -> None:
    """Of the blocks that are free now."""
    if _ACTIVE.pool is not None:
        _ACTIVE.pool.clear()


@contextmanager
def resting() -> Iterator[None]:
    """Inside, torch makes all blocks, and its profiler sees them."""
    before, _ACTIVE.pool = _ACTIVE.pool, None
    try:
        yield
    finally:
        _ACTIVE.pool = before


def empty(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """As ``torch.empty``, from the pool where there is one."""
    pool = _ACTIVE.pool
    size = math.prod(shape) * dtype.itemsize
    most = MOST_RETURNED if _ACTIVE.returns else MOST
    if pool is None or device.type != "cpu" or not LEAST <= size <= most:
        return torch.empty(shape, dtype=dtype, device=device)
    flat = torch.frombuffer(pool.take(size), dtype=dtype)
    # no view of another tensor, for autograd
    strides = [math.prod(shape[place + 1 :]) for place in range(len(shape))]
    made: Tensor = torch.empty(0, dtype=dtype)
    made.set_(flat.untyped_storage(), 0, shape, strides)
    return made


def empty_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """As ``torch.empty_like``, contiguous."""
    return empty(x.shape, dtype or x.dtype, x.device)
