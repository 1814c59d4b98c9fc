"""Micro-batches that are made while the device works on others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from regimen.tokens.ragged import RaggedBatch
from regimen.training.data import Data

DEPTH = 4
"""Micro-batches that are made before their turn."""

At = Callable[[int], tuple[RaggedBatch, float]]
"""As ``Data.at``."""


class Ahead:
    """``Data.at``, with the next micro-batches made in a thread in their order.

    What goes wrong with a micro-batch is raised when its turn comes.

    Args:
        at: makes a micro-batch; called in the thread alone.
        finish: done to each, in the thread: pins its memory.
        depth: micro-batches that are made before their turn.
    """

    def __init__(
        self, at: At, finish: Callable[[RaggedBatch], RaggedBatch], depth: int = DEPTH
    ) -> None:
        self._at, self._finish, self._depth = at, finish, depth
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._made: dict[int, Future[tuple[RaggedBatch, float]]] = {}

    def __call__(self, cursor: int) -> tuple[RaggedBatch, float]:
        """Micro-batch ``cursor`` and the epoch reached after it."""
        for number in range(cursor, cursor + self._depth + 1):
            if number not in self._made:
                self._made[number] = self._thread.submit(self._make, number)
        for number in [n for n in self._made if n < cursor]:
            del self._made[number]
        return self._made.pop(cursor).result()

    def _make(self, cursor: int) -> tuple[RaggedBatch, float]:
        batch, epoch = self._at(cursor)
        return self._finish(batch), epoch

    def close(self) -> None:
        """Make no more; waits for the one in the making."""
        self._thread.shutdown(cancel_futures=True)


@contextmanager
def micro_batches(data: Data, device: torch.device) -> Iterator[At]:
    """How a training gets its micro-batches: ahead of their turn where a CUDA device computes."""
    if device.type != "cuda" or not data.ahead:
        yield data.at
        return
    ahead = Ahead(data.at, RaggedBatch.pinned)
    try:
        yield ahead
    finally:
        ahead.close()
