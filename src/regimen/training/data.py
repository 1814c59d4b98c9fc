"""The rows of a training in order: which micro-batch comes when, and how many steps there are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor

from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import RaggedBatch, ragged_batch, to_padded
from regimen.tokens.store import TokenRows
from regimen.training.options import LoopOptions


class Data:
    """Token rows in the order of the packing plan, addressed by one integer."""

    ahead: ClassVar[bool] = True
    """Whether a micro-batch is the same however early it is made."""

    def __init__(self, rows: TokenRows, options: LoopOptions) -> None:
        self.rows, self.options = rows, options
        self._epoch, self._plan = -1, list[tuple[int, ...]]()
        self._counts: list[int] = []  # micro-batches of each epoch, known without its plan
        self._lengths = rows.lengths

    def plan(self, epoch: int) -> list[tuple[int, ...]]:
        """The micro-batches of an epoch."""
        if epoch != self._epoch:
            self._plan = packing_plan(
                self._lengths,
                seed=self.options.seed,
                epoch=epoch,
                token_budget=self.options.tokens_per_batch,
            )
            self._epoch = epoch
        return self._plan

    def micro_batches(self, epoch: int) -> int:
        """How many micro-batches an epoch has; a plan is made for each epoch once."""
        while len(self._counts) <= epoch:
            self._counts.append(len(self.plan(len(self._counts))))
        return self._counts[epoch]

    def row_numbers(self, cursor: int) -> tuple[tuple[int, ...], float]:
        """The rows of micro-batch ``cursor`` and the epoch reached after it."""
        epoch = 0
        while cursor >= self.micro_batches(epoch):
            cursor -= self.micro_batches(epoch)
            epoch += 1
        plan = self.plan(epoch)
        return plan[cursor], epoch + (cursor + 1) / len(plan)

    def padded(self, most: int) -> Iterator[dict[str, Tensor]]:
        """The first micro-batches as models of transformers read them, right-padded."""
        for numbers in self.plan(0)[:most]:
            padded = to_padded(self.batch(numbers))
            yield {"input_ids": padded.ids_BL, "attention_mask": padded.mask_BL}

    def at(self, cursor: int) -> tuple[RaggedBatch, float]:
        """Micro-batch ``cursor`` and the epoch reached after it."""
        numbers, epoch = self.row_numbers(cursor)
        return self.batch(numbers), epoch

    def batch(self, rows: Sequence[int]) -> RaggedBatch:
        """The ragged batch of some rows."""
        return ragged_batch(self.rows.segments(rows))


def total_steps(data: Data, options: LoopOptions) -> int | None:
    """Optimizer steps of the run where steps or epochs bound it; None where only tokens or time do.

    Epochs may be fractional; an incomplete last step is a step.
    """
    bounds = []
    if options.max_steps is not None:
        bounds.append(options.max_steps)
    if options.num_train_epochs is not None:
        whole = int(options.num_train_epochs)
        batches = sum(data.micro_batches(epoch) for epoch in range(whole))
        if options.num_train_epochs > whole:
            batches += round((options.num_train_epochs - whole) * data.micro_batches(whole))
        bounds.append(max(1, math.ceil(batches / options.accumulation)))
    return min(bounds) if bounds else None


def expected_steps(data: Data, options: LoopOptions) -> int | None:
    """``total_steps``; by the tokens of a step in the first epoch where tokens bound the run."""
    steps = total_steps(data, options)
    if options.max_tokens is None:
        return steps
    each = int(data.rows.lengths.sum()) / data.micro_batches(0) * options.accumulation
    by_tokens = max(1, math.ceil(options.max_tokens / each))
    return by_tokens if steps is None else min(steps, by_tokens)
