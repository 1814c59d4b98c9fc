"""The pool of blocks, watched."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from regimen.models.native import pool


@contextmanager
def taken_from_pool() -> Iterator[list[int]]:
    """Inside there is a pool; sizes in bytes of the blocks that are taken from it."""
    pool.use(returns=False)
    assert pool._ACTIVE.pool is not None
    sizes: list[int] = []
    take = pool._ACTIVE.pool.take
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pool._ACTIVE.pool, "take", lambda size: sizes.append(size) or take(size))
            yield sizes
    finally:
        pool.stop()
