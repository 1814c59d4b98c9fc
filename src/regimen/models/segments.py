"""Attention of a flat batch segment by segment, on any device: the form that others are held to.

Shape letters: T tokens, H query heads, K key heads, D width of a head, L tokens of a segment,
P tokens of a path (the segment and its ancestors).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.tokens.ragged import Plan


@dataclass(frozen=True, slots=True)
class Call:
    """What one attention call asks for besides queries, keys and values."""

    scaling: float | None = None
    window: int | None = None
    softcap: float | None = None
    sinks_H: Tensor | None = None


def segment_attention(
    query: Tensor, key: Tensor, value: Tensor, plan: Plan, call: Call, dropout: float = 0.0,
    prefix: tuple[Tensor, Tensor] | None = None,
) -> Tensor:  # fmt: skip
    """Attention of each segment over its own path: (1, H, T, D) in, (1, T, H, D) out.

    ``prefix`` has keys and values (1, K, V, D) that stand before every path.

    Splitting once costs one concatenation in the backward pass; slicing would fill a zero gradient
    of the whole batch for every segment.
    """
    sizes = list(plan.lengths)
    queries = torch.split(query, sizes, dim=2)
    keys = torch.split(key, sizes, dim=2)
    values = torch.split(value, sizes, dim=2)
    before = ([], []) if prefix is None else ([prefix[0].to(key)], [prefix[1].to(value)])
    outputs = []
    for segment, query_HLD in enumerate(queries):
        path = plan.path(segment)
        key_P = _joined([*before[0], *(keys[s] for s in path)])
        value_P = _joined([*before[1], *(values[s] for s in path)])
        outputs.append(attend(query_HLD, key_P, value_P, call, dropout).transpose(1, 2))
    return torch.cat(outputs, dim=1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def attend(query: Tensor, key: Tensor, value: Tensor, call: Call, dropout: float = 0.0) -> Tensor:
    """Causal attention of the last L positions of a path over all P of them: (B, H, L, D)."""
    length, path = query.shape[2], key.shape[2]
    windowed = call.window is not None and path > call.window
    gqa = query.shape[1] != key.shape[1]
    window = call.window if windowed else None
    if call.softcap is not None or call.sinks_H is not None:
        allowed = causal_mask(length, path, window, query.device)
        return explicit_attention(query, key, value, allowed, call, dropout)
    plain = length == path and not windowed
    mask: Tensor | None = None
    if not plain and (length > 1 or windowed):
        mask = causal_mask(length, path, window, query.device)
    return F.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask,
        dropout_p=dropout,
        is_causal=plain,
        scale=call.scaling,
        enable_gqa=gqa,
    )


def causal_mask(length: int, path: int, window: int | None, device: torch.device) -> Tensor:
    """Boolean (L, P): query i stands at position P - L + i and sees at most ``window`` keys."""
    query = torch.arange(path - length, path, device=device)[:, None]
    key = torch.arange(path, device=device)[None]
    mask = key <= query
    return mask if window is None else mask & (key > query - window)


def explicit_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, call: Call, dropout: float = 0.0
) -> Tensor:
    """Attention written out, for soft-capped scores and attention sinks.

    ``softcap`` c replaces scores s by c * tanh(s / c) (Gemma 2); a sink adds one score per head
    that takes probability and gives nothing (gpt-oss).
    """
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scale = call.scaling if call.scaling is not None else query.shape[-1] ** -0.5
    scores = (query @ key.transpose(-1, -2)).float() * scale
    if call.softcap is not None:
        scores = call.softcap * torch.tanh(scores / call.softcap)
    scores = scores.masked_fill(~mask, float("-inf"))
    if call.sinks_H is not None:
        sink = call.sinks_H.float().view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
        scores = torch.cat([scores, sink], dim=-1)
    probability = scores.softmax(-1)[..., : key.shape[2]].to(value.dtype)
    return F.dropout(probability, dropout) @ value
