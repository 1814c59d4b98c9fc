"""Causal attention of a flat batch, with its gradient: compiled, or by torch segment by segment.

The compiled loop takes any forest of segments, groups of query heads and a window; a shared prefix
is read where it stands. torch's fused kernel takes independent segments alone.

Shape letters: T tokens, L tokens of a segment, H query heads, K key heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regimen.models.native.ops import TYPES, alike, call, compiled
from regimen.models.native.pool import empty_like
from regimen.tokens.ragged import Plan

aten = torch.ops.aten


def attends(plan: Plan, window: int | None) -> bool:
    """Whether ``Attention`` can do this plan."""
    if compiled():
        return True
    return plan.is_flat and (window is None or max(plan.lengths) <= window)


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention along the paths of a plan; a query sees ``window`` positions, or all before it."""

    plan: Plan
    scale: float
    window: int | None = None

    def forward(self, query_THW: Tensor, key_TKW: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The output (T, H, W), and the log of each query's sum of exponentials (T, H)."""
        out = empty_like(query_THW)
        lse = query_THW.new_empty(query_THW.shape[:2], dtype=torch.float32)
        if alike(query_THW, key_TKW, value):
            given = (query_THW, key_TKW, value, out, TYPES.index(out.dtype), lse)
            call("attention", *given, *self._form(query_THW, key_TKW))
            return out, lse
        for rows in self._segments():
            heads = _one_segment(query_THW, key_TKW, value, rows)
            part, sums = aten._scaled_dot_product_flash_attention_for_cpu(
                *heads, 0.0, True, scale=self.scale
            )
            out[rows], lse[rows] = part[0].transpose(0, 1), sums[0].transpose(0, 1)
        return out, lse

    def gradients(
        self, query_THW: Tensor, key_TKW: Tensor, value: Tensor, out: Tensor, lse: Tensor,
        grad_THW: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """The gradients of queries, keys and values, in fp32."""
        kind = torch.float32
        grads = (
            empty_like(query_THW, kind),
            empty_like(key_TKW, kind),
            empty_like(value, kind),
        )
        if alike(query_THW, key_TKW, value, grad_THW):
            given = (query_THW, key_TKW, value, out, grad_THW.contiguous())
            form = self._form(query_THW, key_TKW)
            call("attention_back", *given, TYPES.index(out.dtype), lse, *grads, *form)
            return grads
        for rows in self._segments():
            done = aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad_THW[rows].float().transpose(0, 1)[None],
                *_one_segment(query_THW, key_TKW, value, rows),
                out[rows].float().transpose(0, 1)[None],
                lse[rows].transpose(0, 1)[None],
                0.0,
                True,
                scale=self.scale,
            )
            for whole, part in zip(grads, done, strict=True):
                whole[rows] = _grouped(part[0].transpose(0, 1), whole.shape[1])
        return grads

    def _form(self, query_THW: Tensor, key_TKW: Tensor) -> tuple[Any, ...]:
        """Sizes and the plan, as the compiled function takes them."""
        found = _forest(self.plan)
        _, heads, width = query_THW.shape
        sizes = (heads, key_TKW.shape[1], width, self.scale, self.window or 0)
        return (*sizes, *(array.ctypes.data for array in found.arrays), found.trees)

    def _segments(self) -> Iterator[slice]:
        """Rows of each segment."""
        for start, length in zip(self.plan.starts, self.plan.lengths, strict=True):
            yield slice(start, start + length)


def attention_step(
    query_THW: Tensor, keys_RMKW: Tensor, values_RMKW: Tensor, row_T: Tensor, first_T: Tensor,
    last_T: Tensor, scale: float,
) -> Tensor:  # fmt: skip
    """Attention of one query each over positions first..last of a row of a cache: (T, H, W).

    Compiled alone and all of one type; see ``alike``. R rows of the cache, M its positions.
    """
    query_THW, out = query_THW.contiguous(), query_THW.new_empty(query_THW.shape)
    tokens, heads, width = query_THW.shape
    positions, key_heads = keys_RMKW.shape[1:3]
    scores = query_THW.new_empty(torch.get_num_threads(), positions, dtype=torch.float32)
    where = (row_T.contiguous(), first_T.contiguous(), last_T.contiguous())
    sizes = (tokens, heads, key_heads, width, positions, scale)
    given = (query_THW, keys_RMKW, values_RMKW, out, TYPES.index(out.dtype))
    call("attention_step", *given, *where, scores, *sizes)
    return out


@dataclass(frozen=True, slots=True)
class _Forest:
    """A plan as the arrays that the compiled loop reads; a tree is a root and what continues it."""

    arrays: tuple[np.ndarray, ...]
    trees: int


@lru_cache(maxsize=64)
def _forest(plan: Plan) -> _Forest:
    """Starts, lengths, paths and trees of a plan."""
    paths = [plan.path(s) for s in range(len(plan.lengths))]
    trees: dict[int, list[int]] = {}
    for segment, path in enumerate(paths):
        trees.setdefault(path[0], []).append(segment)
    # the longest first, so that no thread is left alone with one at the end
    ordered = sorted(trees.values(), key=lambda tree: -sum(plan.lengths[s] for s in tree))

    def joined(parts: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        ends = np.cumsum([0, *map(len, parts)])
        return np.array([s for part in parts for s in part], np.int64), ends.astype(np.int64)

    starts, lengths = np.array(plan.starts, np.int64), np.array(plan.lengths, np.int64)
    return _Forest((starts, lengths, *joined(paths), *joined(ordered)), len(ordered))


def _one_segment(
    query: Tensor, key: Tensor, value: Tensor, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one segment as (1, H, L, W), fp32, in which CPUs attend faster; keys and values
    repeated for groups of queries.
    """
    groups = query.shape[1] // key.shape[1]
    parts = [query[rows].float(), key[rows].float(), value[rows].float()]
    if groups > 1:
        parts[1:] = (p.repeat_interleave(groups, dim=1) for p in parts[1:])
    first, second, third = (p.transpose(0, 1)[None] for p in parts)
    return first, second, third


def _grouped(grad_LHW: Tensor, heads: int) -> Tensor:
    """Gradients of repeated heads added up: (L, heads, W)."""
    length, repeated, width = grad_LHW.shape
    if repeated == heads:
        return grad_LHW
    return grad_LHW.reshape(length, heads, repeated // heads, width).sum(2)
