"""Memory of gradients that training keeps from step to step.

A gradient of the vocabulary projection or of the embedding is a block of tens of megabytes. Where
such blocks are made and freed in every micro-batch they do not find their old place again, and the
heap grows by several of them. Inside `kept_buffers` they are kept, and gradients of these and other
matrices are added to ``.grad`` where it stands, without a block for each summand.

Inside `rows_wait`, the gradient of an embedding that nobody else reads waits for the end of the
step as the few rows that it has: its block is made when the layers have let go of theirs.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from regimen.models.marks import LATE, mark
from regimen.models.native.pool import empty, empty_like
from regimen.models.native.products import Input, add_outer

Write = Callable[[Tensor, bool], None]
"""Forms a gradient in a block, or, where that is asked for, adds it to what is there."""


WAITING = 0.25
"""Of a matrix: rows that take more than this share of its bytes do not wait."""


class Buffers:
    """Blocks by shape and type: taken, filled, put back. One thread's."""

    def __init__(self) -> None:
        self._free: dict[tuple[torch.Size, torch.dtype], list[Tensor]] = {}
        self._gradients: dict[int, Tensor] = {}
        self._awaited: dict[int, list[Write]] = {}
        self.rows_wait = False
        self._waiting: dict[int, tuple[Tensor, list[tuple[Tensor, Tensor]]]] = {}

    def take(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """A block with any content, which nobody else has until it is put back."""
        free = self._free.get((shape, dtype))
        return free.pop() if free else torch.empty(shape, dtype=dtype)

    def put(self, block: Tensor) -> None:
        """A block that is no longer needed."""
        self._free.setdefault((block.shape, block.dtype), []).append(block)

    def gradient(self, leaf: Tensor) -> tuple[Tensor, bool]:
        """``leaf.grad``, and whether it was missing; then its content is anything."""
        self.settle(leaf)
        if leaf.grad is not None:
            return leaf.grad, False
        kept = self._gradients.get(id(leaf))
        if kept is None or kept.shape != leaf.shape or kept.dtype != leaf.dtype:
            kept = self._gradients[id(leaf)] = torch.empty_like(leaf)
        leaf.grad = kept
        return kept, True

    def add_rows(self, leaf: Tensor, ids_T: Tensor, rows_TD: Tensor) -> None:
        """Add rows to ``leaf.grad``, now or when `settle` is called."""
        if leaf.grad is not None or not self.rows_wait:
            gradient, missing = self.gradient(leaf)
            _add_rows(gradient.zero_() if missing else gradient, ids_T, rows_TD)
            return
        _, waiting = self._waiting.setdefault(id(leaf), (leaf, []))
        waiting.append((ids_T, rows_TD))
        if sum(rows.nbytes for _, rows in waiting) > WAITING * leaf.nbytes:
            self.settle(leaf)

    def settle(self, leaf: Tensor | None = None) -> None:
        """Add rows that wait, of all matrices if none is given."""
        for number in list(self._waiting) if leaf is None else [id(leaf)]:
            one, waiting = self._waiting.pop(number, (None, []))
            if one is None:
                continue
            if one.grad is None:
                one.grad = empty(tuple(one.shape), one.dtype, one.device, most=sys.maxsize).zero_()
            for ids_T, rows_TD in waiting:
                _add_rows(one.grad, ids_T, rows_TD)

    def forget(self) -> None:
        """Rows that still wait, after an error."""
        self._waiting.clear()

    def await_rows(self, leaf: Tensor) -> None:
        """The backward pass will end with the gradient of rows of an embedding."""
        self._awaited[id(leaf)] = []

    def leave(self, leaf: Tensor, write: Write) -> bool:
        """Leave it to those who will have the rows to form the rest of the gradient: it need not
        exist before. False where no rows are to come.
        """
        if id(leaf) not in self._awaited:
            return False
        self._awaited[id(leaf)].append(write)
        return True

    def left(self, leaf: Tensor) -> list[Write]:
        """What was left."""
        return self._awaited.pop(id(leaf), [])

    def drop(self, leaves: Iterable[Tensor]) -> None:
        """Release the memory of gradients of leaves that are trained no more, or not now."""
        for leaf in leaves:
            self._gradients.pop(id(leaf), None)

    @property
    def blocks(self) -> list[Tensor]:
        """The blocks that nobody has at present."""
        return [block for blocks in self._free.values() for block in blocks]

    @property
    def gradients(self) -> list[Tensor]:
        """The memory of gradients, whether they are there at present or not."""
        return list(self._gradients.values())


def _add_rows(gradient_VD: Tensor, ids_T: Tensor, rows_TD: Tensor) -> None:
    gradient_VD.index_add_(0, ids_T, rows_TD.to(gradient_VD.dtype))


class _Active(threading.local):
    buffers: Buffers | None = None


_ACTIVE = _Active()


def kept_now() -> Buffers | None:
    """The thread's buffers, if it keeps any."""
    return _ACTIVE.buffers


def active(leaf: Tensor) -> Buffers | None:
    """The thread's buffers, if the gradient of ``leaf`` may be added where it stands."""
    if _ACTIVE.buffers is None or not (leaf.is_leaf and leaf.requires_grad):
        return None
    hooked = leaf._backward_hooks or getattr(leaf, "_post_accumulate_grad_hooks", None)
    return None if hooked or leaf.device.type != "cpu" else _ACTIVE.buffers


def weight_gradient(
    weight_OI: Tensor, grad_TO: Tensor, given: Input, scale: float = 1.0
) -> Tensor | None:
    """``scale`` times the gradient of a projection's weight; None where ``.grad`` has it."""
    if not weight_OI.requires_grad:
        return None
    buffers = active(weight_OI)
    if buffers is None:
        alone = empty_like(weight_OI)
        add_outer(alone, grad_TO, given, scale, add=False)
        return alone
    gradient, missing = buffers.gradient(weight_OI)
    add_outer(gradient, grad_TO, given, scale, add=not missing)
    return None


@contextmanager
def kept_buffers(embedding: Any = None) -> Iterator[None]:
    """Keep large blocks until the end, for a training on a CPU.

    Args:
        embedding: the model's input embedding. If it is torch's own, its gradient is added to
            ``weight.grad`` row by row; otherwise it stays what it is.
    """
    before, _ACTIVE.buffers = _ACTIVE.buffers, Buffers()
    handle = None
    if type(embedding) is torch.nn.Embedding and _is_plain(embedding):
        handle = embedding.register_forward_hook(_look_up)
    try:
        yield
    finally:
        _ACTIVE.buffers = before
        if handle is not None:
            handle.remove()


@contextmanager
def rows_wait() -> Iterator[None]:
    """Inside, gradients of embeddings may wait; at the end they are in ``.grad``."""
    buffers = _ACTIVE.buffers
    if buffers is None or buffers.rows_wait:
        yield
        return
    buffers.rows_wait = True
    try:
        yield
        buffers.settle()
    finally:
        buffers.rows_wait = False
        buffers.forget()


def _is_plain(embedding: torch.nn.Embedding) -> bool:
    # whether it is trained is asked at each use: its turn may come later
    return not any((embedding.max_norm, embedding.scale_grad_by_freq, embedding.sparse))


def _look_up(module: torch.nn.Embedding, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The same rows; the gradient of the module's own output would be a new matrix."""
    buffers, leaf = _ACTIVE.buffers, module.weight
    trained = leaf.is_leaf and leaf.requires_grad and leaf.device.type == "cpu"
    if not torch.is_grad_enabled() or buffers is None or not trained:
        return output
    buffers.await_rows(leaf)
    padding = -1 if module.padding_idx is None else module.padding_idx
    found: Tensor = _Embedding.apply(module.weight, args[0], padding)  # type: ignore[no-untyped-call]
    return found


def _written(leaf: Tensor) -> Tensor:
    """The gradient of a matrix without that of its rows: zeros, or what was left to be formed."""
    left = [] if _ACTIVE.buffers is None else _ACTIVE.buffers.left(leaf)
    if not left:
        return torch.zeros_like(leaf)
    with mark(LATE):
        gradient = torch.empty_like(leaf)
        for number, write in enumerate(left):
            write(gradient, number > 0)
    return gradient


class _Embedding(torch.autograd.Function):
    """Rows of a matrix, whose gradients are added to its ``.grad``."""

    @staticmethod
    def forward(ctx: Any, weight_VD: Tensor, ids: Tensor, padding: int) -> Tensor:
        ctx.weight, ctx.padding = weight_VD, padding
        ctx.save_for_backward(ids)
        return torch.nn.functional.embedding(ids, weight_VD)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None]:
        (ids,) = ctx.saved_tensors
        rows = grad_output.flatten(0, -2)
        flat = ids.flatten()
        if ctx.padding >= 0:
            rows = rows * (flat != ctx.padding)[:, None]
        buffers = active(ctx.weight)
        if buffers is None:
            weight = _written(ctx.weight)
            return weight.index_add_(0, flat, rows.to(weight.dtype)), None, None
        buffers.add_rows(ctx.weight, flat, rows)
        return None, None, None
