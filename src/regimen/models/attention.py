"""Ragged attention through transformers' public attention and mask interfaces.

The plan of segments travels as the object that the registered mask function returns; it arrives in
the attention function as ``attention_mask``. That transport survives activation checkpointing,
backward in another thread, and decoder layers that drop keyword arguments. Where no plan is
active, both functions hand over to transformers' own SDPA path.

Shape letters: T tokens, H query heads, K key heads, D width of a head.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from regimen.errors import ModelError
from regimen.models.mixers import Asked, mix
from regimen.models.segments import Call, causal_mask, explicit_attention
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


@dataclass(slots=True, eq=False)  # of a frozen one, torch.compile guards every field by its value
class MaskPlan:
    """What the mask function returns: the plan, and the window of this kind of layer.

    ``prefix`` has keys and values by layer that stand before every path. Nobody changes it.
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


def attend(
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
        out = mix(Asked(query, key, value, plan, call, dropout, prefix))
        return out.to(kind), None


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


def register(wrap: Callable[[Any], Any] = lambda function: function) -> None:
    """Make the implementation known to transformers under ``NAME``; calling twice is harmless.

    ``wrap`` is laid around the function, for those who compile what calls it.
    """
    AttentionInterface.register(NAME, wrap(attend))
    AttentionMaskInterface.register(NAME, _mask)
