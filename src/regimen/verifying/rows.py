"""The few rows that contracts are checked on, and each row as the sequences that it stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from regimen.tokens.ragged import RaggedBatch, ragged_batch
from regimen.tokens.rendering import Rendered, RenderedAnswers, RenderedPair
from regimen.tokens.sharing import RenderedShared, share_prefixes
from regimen.tokens.store import token_rows

Row = Rendered | RenderedPair | RenderedAnswers | RenderedShared
R = TypeVar("R", bound=Row)

MOST, LEAST, TOKENS = 12, 4, 2048
"""Rows to check on: at most so many, and at least so many even if they have more tokens."""


def paths(row: Row) -> list[Rendered]:
    """The whole sequences of a row, each with what it begins with written out."""
    if isinstance(row, Rendered):
        return [row]
    if isinstance(row, RenderedAnswers):
        start, learnt = row.prompt, list(zip(row.answers, row.every_weight, strict=True))
    elif isinstance(row, RenderedPair):
        start, learnt = row.prompt, [(ids, (1.0,) * len(ids)) for ids in row.answers]
    else:
        start, learnt = row.prefix, [(rest.ids, rest.weights) for rest in row.rests]
    zeros = (0.0,) * len(start)
    return [Rendered(start + ids, zeros + weights) for ids, weights in learnt]


def size(row: Row) -> int:
    """Tokens of a row in a batch: a beginning counts once."""
    if isinstance(row, Rendered):
        return len(row.ids)
    if isinstance(row, RenderedPair | RenderedAnswers):
        return len(row.prompt) + sum(map(len, row.answers))
    return len(row.prefix) + sum(len(rest.ids) for rest in row.rests)


def targets(row: Rendered) -> tuple[Tensor, Tensor, Tensor]:
    """Of a sequence's supervised tokens: the row that predicts each, its id, its weight: (N)."""
    places = [i for i, weight in enumerate(row.weights) if weight]
    return (
        torch.tensor([i - 1 for i in places], dtype=torch.int64),
        torch.tensor([row.ids[i] for i in places], dtype=torch.int64),
        torch.tensor([row.weights[i] for i in places], dtype=torch.float32),
    )


def supervised(rows: Sequence[Row]) -> int:
    """Supervised tokens of rows."""
    return sum(path.supervised for row in rows for path in paths(row))


def varied(rows: Sequence[R], most: int = MOST, tokens: int = TOKENS) -> list[R]:
    """A few rows of varied lengths, the shortest and the longest among them.

    At most ``most``; fewer, but at least ``LEAST``, where they would have more than ``tokens``
    tokens. Rows without a supervised token are left out. Order: from short to long.
    """
    ordered = sorted((row for row in rows if supervised([row])), key=size)
    count = min(most, len(ordered))
    while True:
        places = np.linspace(0, len(ordered) - 1, count).round().astype(int)
        chosen = [ordered[place] for place in places]
        if count <= LEAST or sum(size(row) for row in chosen) <= tokens:
            return chosen
        count -= 1


def beginning_alike(rows: Sequence[Rendered], most: int = 4) -> list[RenderedShared]:
    """A few groups of rows that share a beginning, as training would group them; maybe none."""
    groups = [row for row in share_prefixes(rows, 3) if isinstance(row, RenderedShared)]
    return varied(groups, most, TOKENS // 2)


def made_alike(rows: Sequence[Rendered]) -> list[RenderedShared]:
    """A beginning and two ways to go on, cut from the two longest rows, every token learnt.

    For rows that share no beginning. Empty where no row can be cut.
    """
    *_, last = longest = sorted(rows, key=size)[-2:]
    first = longest[0]
    if len(first.ids) < 4:
        return []
    start = last.ids[: len(last.ids) // 2]
    rests = (last.ids[len(start) :], first.ids[len(first.ids) // 2 :])
    return [RenderedShared(start, tuple(Rendered(ids, (1.0,) * len(ids)) for ids in rests))]


def one_batch(rows: Sequence[Row]) -> RaggedBatch:
    """All rows in one flat batch, as training lays them out; instances are numbered from 0."""
    collected = token_rows(rows)
    return ragged_batch(collected.segments(range(len(collected))))


def spread(count: int, width: int, most: int = 1 << 26) -> Tensor:
    """Places out of ``count``, evenly spread: as many as have ``most`` numbers, ``width`` at each.

    Logits of a large vocabulary at every place would need more memory than the model: (K).
    """
    kept = max(1, min(count, most // max(width, 1)))
    return torch.linspace(0, max(count - 1, 0), kept).round().long()
