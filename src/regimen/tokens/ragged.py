"""Ragged batches: many token sequences in one flat row, without padding.

Shape letters: T tokens of the batch, S segments, N supervised targets, B and L of padded batches.

A segment may continue another (``parent_S``), at any depth: two answers that share a prompt are
two segments whose parent is the prompt. "Shift by one" therefore does not exist; each target names
the row of the hidden state that predicts it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """The segments of a flat batch: what attention has to know.

    ``lengths[s]`` tokens belong to segment ``s``, in flat order. ``parents[s]`` is the segment that
    ``s`` continues, or -1. A parent stands before its children.
    """

    lengths: tuple[int, ...]
    parents: tuple[int, ...]

    def path(self, segment: int) -> tuple[int, ...]:
        """The segment and its ancestors, root first."""
        path = [segment]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return tuple(reversed(path))

    @property
    def starts(self) -> tuple[int, ...]:
        """The flat row where each segment begins."""
        return tuple(int(x) for x in np.concatenate([[0], np.cumsum(self.lengths)])[:-1])

    @property
    def is_flat(self) -> bool:
        """Whether no segment continues another."""
        return all(parent < 0 for parent in self.parents)

    def leaves(self) -> tuple[int, ...]:
        """The segments that nothing continues."""
        inner = set(self.parents)
        return tuple(s for s in range(len(self.lengths)) if s not in inner)


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of a row before batching: ids, and the weight of each id as a target.

    ``weights[i]`` is the loss weight of predicting ``ids[i]``; 0 means not supervised. The first
    id of a root segment has no predictor and its weight must be 0.

    Of a ``scored`` segment nothing is predicted: the marked ids are where a score is read, from
    the hidden state of the id itself.
    """

    ids: Sequence[int] | np.ndarray
    weights: Sequence[float] | np.ndarray
    parent: int = -1
    instance: int = 0
    scored: bool = False


@dataclass(frozen=True, slots=True)
class RaggedBatch:
    """A flat batch and its targets.

    ``source_row_N[i]`` is the flat row whose hidden state predicts ``target_N[i]`` or, of scored
    segments, that of the target itself;
    ``target_segment_N[i]`` is the segment that the target belongs to.
    """

    ids_T: Tensor
    position_T: Tensor
    segment_T: Tensor
    plan: Plan
    instance_S: tuple[int, ...]
    target_N: Tensor
    source_row_N: Tensor
    weight_N: Tensor
    target_segment_N: Tensor

    @property
    def num_tokens(self) -> int:
        """Tokens that the model reads."""
        return int(self.ids_T.numel())

    def to(self, device: torch.device | str) -> RaggedBatch:
        """The batch on another device; the plan stays on the host.

        The host does not wait for copies of a pinned batch to a CUDA device: they come in the order
        of the stream, before whatever reads them.
        """
        waits = torch.device(device).type != "cuda"
        return self._each(lambda tensor: tensor.to(device, non_blocking=not waits))

    def pinned(self) -> RaggedBatch:
        """The batch in memory that a CUDA device reads by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> RaggedBatch:
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        changed = {n: change(it) for n, it in every.items() if isinstance(it, Tensor)}
        return RaggedBatch(**{**every, **changed})


def ragged_batch(segments: Sequence[Segment]) -> RaggedBatch:
    """Lay segments one after another and list their targets.

    Raises:
        ValueError: a segment is empty, names a later parent, or supervises a first root token.
    """
    plan = Plan(tuple(len(s.ids) for s in segments), tuple(s.parent for s in segments))
    starts = plan.starts
    ends: list[int] = []  # position after the last token of each segment, along its path
    positions, targets, sources, weights, owners = [], [], [], [], []
    for index, segment in enumerate(segments):
        if not len(segment.ids) or segment.parent >= index:
            raise ValueError(f"segment {index} is empty or names parent {segment.parent}")
        offset = ends[segment.parent] if segment.parent >= 0 else 0
        ends.append(offset + len(segment.ids))
        positions.append(np.arange(offset, ends[-1]))
        weight = np.asarray(segment.weights, dtype=np.float32)
        picked = np.flatnonzero(weight)
        first = not segment.scored and len(picked) > 0 and picked[0] == 0
        if segment.parent < 0 and first:
            raise ValueError(f"segment {index} supervises a token that nothing predicts")
        source = starts[index] + picked - (not segment.scored)
        if segment.parent >= 0 and first:
            source[0] = starts[segment.parent] + len(segments[segment.parent].ids) - 1
        targets.append(np.asarray(segment.ids, dtype=np.int64)[picked])
        sources.append(source)
        weights.append(weight[picked])
        owners.append(np.full(len(picked), index))
    flat = np.concatenate([np.asarray(s.ids, dtype=np.int64) for s in segments])
    return RaggedBatch(
        ids_T=torch.from_numpy(flat),
        position_T=torch.from_numpy(np.concatenate(positions)),
        segment_T=torch.from_numpy(np.repeat(np.arange(len(segments)), plan.lengths)),
        plan=plan,
        instance_S=tuple(s.instance for s in segments),
        target_N=torch.from_numpy(np.concatenate(targets)),
        source_row_N=torch.from_numpy(np.concatenate(sources)),
        weight_N=torch.from_numpy(np.concatenate(weights)),
        target_segment_N=torch.from_numpy(np.concatenate(owners)),
    )


@dataclass(frozen=True, slots=True)
class PaddedBatch:
    """The same tokens, one right-padded row for each path from a root to a leaf.

    ``flat_row_T[t]`` is the index into the flattened (B * L) rows where flat row ``t`` is found.
    """

    ids_BL: Tensor
    mask_BL: Tensor
    position_BL: Tensor
    flat_row_T: Tensor


def to_padded(batch: RaggedBatch, pad_id: int = 0) -> PaddedBatch:
    """Right-padded rows for models that cannot take a flat batch; shared prefixes are repeated."""
    plan, starts = batch.plan, batch.plan.starts
    rows = [
        np.concatenate([np.arange(starts[s], starts[s] + plan.lengths[s]) for s in plan.path(leaf)])
        for leaf in plan.leaves()
    ]
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    mask = torch.zeros((len(rows), width), dtype=torch.int64)
    flat_row = torch.zeros(batch.num_tokens, dtype=torch.int64)
    host_ids = batch.ids_T.cpu()
    for index, row in enumerate(rows):
        picked = torch.from_numpy(row)
        ids[index, : len(row)] = host_ids[picked]
        mask[index, : len(row)] = 1
        flat_row[picked] = index * width + torch.arange(len(row))
    position = (mask.cumsum(-1) - 1).clamp_min(0)
    device = batch.ids_T.device
    return PaddedBatch(*(x.to(device) for x in (ids, mask, position, flat_row)))
