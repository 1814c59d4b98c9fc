"""Blocks that operators write to, from memory of their own in place of the heap.

Where the allocator keeps what is freed, small objects settle in the gaps that large blocks leave:
these no longer fit where they were, and the heap grows by a layer's blocks with every layer. Where
it returns them, each block costs its page faults again. The blocks of a training step are nearly a
stack: what forward writes, backward frees from the last layer to the first. Put at the lowest
address that is free, away from everything that stays, they need hardly more than is in use at once,
whatever the lengths of the next batch; and what was touched once costs no faults again.

A block comes back when the last tensor on it is gone, whoever had it.
"""

from __future__ import annotations

import bisect
import math
import mmap
import sys
import threading
import weakref
from collections import deque
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

REGION = 1 << 30
"""Bytes of addresses that are asked for at once; what is never written to takes no memory."""

ALIGNED = 64
"""Bytes: a vector, and a line of the cache."""


class _Region:
    """Addresses without gaps, and which of them are free: (start, end), by address."""

    def __init__(self, size: int) -> None:
        self.size, self._mapping = size, None
        if sys.platform == "win32":
            self.bytes = np.empty(size, np.uint8)
        else:
            # not shared with processes that are forked from this one, as it would be unless told
            private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            self._mapping = mmap.mmap(-1, size, flags=private)
            self.bytes = np.frombuffer(self._mapping, np.uint8)
        self.free = [(0, size)]
        self.reached = 0  # below lies what was written to

    def take(self, size: int) -> int | None:
        """Where ``size`` bytes begin, at the lowest place; None if they fit nowhere."""
        for number, (start, end) in enumerate(self.free):
            if end - start >= size:
                self.free[number : number + 1] = [(start + size, end)] * (end - start > size)
                self.reached = max(self.reached, start + size)
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """They are free again."""
        end, number = start + size, bisect.bisect(self.free, (start, start))
        last = number
        if number and self.free[number - 1][1] == start:
            number -= 1
            start = self.free[number][0]
        if last < len(self.free) and self.free[last][0] == end:
            end = self.free[last][1]
            last += 1
        self.free[number:last] = [(start, end)]

    @property
    def is_free(self) -> bool:
        """All of it."""
        return self.free == [(0, self.size)]

    def let_go(self) -> None:
        """Of the memory behind free addresses, where the system can be told."""
        if self._mapping is None:
            return
        page = mmap.PAGESIZE
        for start, end in self.free:
            first, past = -(-start // page) * page, end // page * page
            if past > first:
                self._mapping.madvise(mmap.MADV_DONTNEED, first, past - first)
        self.reached = (
            self.free[-1][0] if self.free and self.free[-1][1] == self.size else self.size
        )


class Pool:
    """Regions, and the blocks in them that tensors have."""

    def __init__(self, region: int = REGION) -> None:
        self._region = region
        self._regions: list[_Region] = []
        self._given: dict[int, tuple[Any, _Region, int, int]] = {}
        # blocks come back at any moment, from any thread: they wait until one is taken
        self._gone: deque[int] = deque()
        self._lock = threading.Lock()

    def take(self, size: int) -> np.ndarray:
        """``size`` bytes with any content. They are free again when the array is gone."""
        whole = -(-size // ALIGNED) * ALIGNED
        with self._lock:
            self._take_back()
            region, start = self._place(whole)
            given = region.bytes[start : start + size]
            watch = weakref.ref(given, self._back)
            self._given[id(watch)] = (watch, region, start, whole)
        return given

    def _place(self, size: int) -> tuple[_Region, int]:
        for region in self._regions:
            start = region.take(size)
            if start is not None:
                return region, start
        try:
            region = _Region(max(size, self._region))
        except OSError:  # a system that counts addresses as memory
            region = _Region(size)
        self._regions.append(region)
        region.take(size)
        return region, 0

    def _back(self, gone: Any) -> None:
        self._gone.append(id(gone))

    def _take_back(self) -> None:
        while self._gone:
            _, region, start, size = self._given.pop(self._gone.popleft())
            region.give(start, size)

    def clear(self) -> None:
        """Let go of all that is free now."""
        with self._lock:
            self._take_back()
            self._regions = [region for region in self._regions if not region.is_free]
            for region in self._regions:
                region.let_go()

    @property
    def idle(self) -> int:
        """Bytes that were written to and that no tensor has."""
        with self._lock:
            self._take_back()
            held = sum(size for _, _, _, size in self._given.values())
            return sum(region.reached for region in self._regions) - held

    def __len__(self) -> int:
        """How many blocks tensors have."""
        with self._lock:
            self._take_back()
            return len(self._given)


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


def idle() -> int:
    """Bytes in memory for blocks that no tensor has."""
    return 0 if _ACTIVE.pool is None else _ACTIVE.pool.idle


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


def pools(size: int, device: torch.device, *, most: int = MOST) -> bool:
    """Whether a block of so many bytes comes from a pool."""
    most = min(most, MOST_RETURNED) if _ACTIVE.returns else most
    return _ACTIVE.pool is not None and device.type == "cpu" and LEAST <= size <= most


def empty(
    shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, *, most: int = MOST
) -> Tensor:
    """As ``torch.empty``, from the pool where there is one and at most so many bytes."""
    size = math.prod(shape) * dtype.itemsize
    if not pools(size, device, most=most):
        return torch.empty(shape, dtype=dtype, device=device)
    assert _ACTIVE.pool is not None
    # of this shape in place: no view of another tensor, for autograd
    return torch.frombuffer(_ACTIVE.pool.take(size), dtype=dtype).resize_(shape)


def empty_like(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """As ``torch.empty_like``, contiguous."""
    return empty(x.shape, dtype or x.dtype, x.device)


def converted(x: Tensor, dtype: torch.dtype) -> Tensor:
    """As ``x.to(dtype)``; contiguous, where it is not ``x`` itself."""
    return x if x.dtype == dtype else empty_like(x, dtype).copy_(x)
