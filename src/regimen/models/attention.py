"""Ragged attention through transformers' public attention and mask interfaces.

The plan of segments travels as the object that the registered mask function returns; it arrives in
the attention function as ``attention_mask``. That transport survives activation checkpointing,
backward in another thread, and decoder layers that drop keyword arguments. Where no plan is
active, both functions hand over to transformers' own SDPA path.

Shape letters: T tokens, H query heads, K key heads, D width of a head, L tokens of a segment,
P tokens of a path (the segment and its ancestors), R rows of a cache, M its positions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from regimen.errors import ModelError
from regimen.models.virtual import Prefix
from regimen.tokens.ragged import Plan

NAME = "regimen_ragged"

# Keyword arguments that models pass and that need nothing from this function.
_HARMLESS = {
    "position_ids",
    "use_cache",
    "output_router_logits",
    "is_causal",
    "dropout",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "cache_position",
    "cache",
}


class KeyValueSink(Protocol):
    """Where a generation engine keeps keys and values; the training path has none."""

    def attend(
        self, layer: int, query_THD: Tensor, key_TKD: Tensor, value_TKD: Tensor, call: Call
    ) -> Tensor:
        """Store the new keys and values and return the attention output (T, H, D)."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one attention call asks for besides queries, keys and values."""

    scaling: float | None = None
    window: int | None = None
    softcap: float | None = None
    sinks_H: Tensor | None = None


@dataclass(frozen=True, slots=True)
class MaskPlan:
    """What the mask function returns: the plan, and the window of this kind of layer.

    ``prefix`` has keys and values by layer that stand before every path.
    """

    plan: Plan | None
    sink: KeyValueSink | None
    window: int | None
    prefix: Prefix | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a module handed to its attention: queries (T, H, D), keys and values (T, K, D)."""

    query_THD: Tensor
    key_TKD: Tensor
    value_TKD: Tensor
    call: Call


class _Active(threading.local):
    plan: Plan | None = None
    sink: KeyValueSink | None = None
    prefix: Prefix | None = None
    heard: dict[int, Heard] | None = None


_ACTIVE = _Active()


@contextmanager
def active_plan(
    plan: Plan | None, sink: KeyValueSink | None = None, prefix: Prefix | None = None
) -> Iterator[None]:
    """Use ``plan`` (or a generation cache) for every forward of this thread inside the block."""
    before = (_ACTIVE.plan, _ACTIVE.sink, _ACTIVE.prefix)
    _ACTIVE.plan, _ACTIVE.sink, _ACTIVE.prefix = plan, sink, prefix
    try:
        yield
    finally:
        _ACTIVE.plan, _ACTIVE.sink, _ACTIVE.prefix = before


@contextmanager
def listening() -> Iterator[dict[int, Heard]]:
    """Collects what each module, by its ``id``, hands to ragged attention inside the block."""
    before, _ACTIVE.heard = _ACTIVE.heard, {}
    try:
        yield _ACTIVE.heard
    finally:
        _ACTIVE.heard = before


def _mask(*args: Any, **kwargs: Any) -> MaskPlan | Tensor | None:
    if _ACTIVE.plan is None and _ACTIVE.sink is None:
        return sdpa_mask(*args, **kwargs)
    return MaskPlan(_ACTIVE.plan, _ACTIVE.sink, kwargs.get("local_size"), _ACTIVE.prefix)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: MaskPlan | Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention signature: (1, H, T, D) in, (1, T, H, D) out."""
    if not isinstance(attention_mask, MaskPlan):
        if _ACTIVE.plan is not None or _ACTIVE.sink is not None:
            raise ModelError(
                "The model does not build its masks through transformers' mask interface.",
                slug="ragged-unsupported",
                fix="Use padded batches for this model.",
            )
        return _without_plan(module, query, key, value, attention_mask, scaling, dropout, kwargs)
    window = kwargs.pop("sliding_window", None) or attention_mask.window
    softcap, sinks = kwargs.pop("softcap", None), kwargs.pop("s_aux", None)
    unknown = sorted(k for k, v in kwargs.items() if v is not None and k not in _HARMLESS)
    if unknown:
        raise ModelError(
            "The model's attention uses arguments that ragged attention does not know.",
            slug="ragged-unsupported",
            got=", ".join(unknown),
            fix="Use padded batches for this model.",
        )
    call = Call(scaling, window, softcap, sinks)
    # On CPUs the fused kernel is 2 to 5 times slower in bf16 than in fp32 at the lengths of
    # instructions; elsewhere, rotary embeddings in fp32 under autocast go back to the value's type.
    # What comes out has the value's type: the product behind it may know no other.
    kind = value.dtype
    dtype = torch.float32 if query.device.type == "cpu" else value.dtype
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    if _ACTIVE.heard is not None:
        asked, keys, values = (x[0].transpose(0, 1).detach() for x in (query, key, value))
        _ACTIVE.heard[id(module)] = Heard(asked, keys, values, call)
    with torch.autocast(query.device.type, enabled=False):
        if attention_mask.sink is not None:
            layer = int(getattr(module, "layer_idx", 0))
            out = attention_mask.sink.attend(
                layer,
                query[0].transpose(0, 1),
                key[0].transpose(0, 1),
                value[0].transpose(0, 1),
                call,
            )
            return out[None].to(kind), None
        plan, prefix = attention_mask.plan, None
        assert plan is not None
        if attention_mask.prefix is not None:
            prefix = attention_mask.prefix[int(getattr(module, "layer_idx", 0))]
        return segment_attention(query, key, value, plan, call, dropout, prefix).to(kind), None


def _without_plan(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None,
    dropout: float,
    kwargs: dict[str, Any],
) -> tuple[Tensor, None]:
    """Ordinary calls of the model: transformers' SDPA path, or written out where that cannot."""
    softcap, sinks = kwargs.get("softcap"), kwargs.get("s_aux")
    if softcap is None and sinks is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    mask = attention_mask
    if mask is None:
        mask = causal_mask(query.shape[2], key.shape[2], None, query.device)
    call = Call(scaling, None, softcap, sinks)
    out = explicit_attention(query, key, value, mask[..., : key.shape[2]], call, dropout)
    return out.transpose(1, 2), None


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


def register() -> None:
    """Make the implementation known to transformers under ``NAME``; calling twice is harmless."""
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
