"""The two halves of a common decoder layer as one autograd function each, for CPUs.

Self-attention with rotary positions over independent segments, and the gated network. What is
cheap is computed again in the backward pass; gradients of weights are added where they stand. Only
plain projections without bias go this way, and only forward passes of a flat batch; everything
else, generation among it, runs through the modules of transformers.

Shape letters: T tokens, D width, F inner width, H query heads, K key heads, W width of a head,
L tokens of a segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regimen.models.attention import Call, Heard, MaskPlan
from regimen.models.buffers import weight_gradient

aten = torch.ops.aten


def are_plain(projections: Sequence[nn.Module]) -> bool:
    """Whether these are torch's own linear layers, without bias and without hooks."""
    return all(
        type(p) is nn.Linear
        and p.bias is None
        and not p._forward_hooks
        and not p._forward_pre_hooks
        for p in projections
    )


def product_type(x: Tensor) -> torch.dtype:
    """The type in which autocast would multiply ``x``."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def gated_network(x: Tensor, gate: nn.Module, up: nn.Module, down: nn.Module) -> Tensor:
    """down(silu(gate(x)) * up(x)) for plain projections: (.., D) in and out."""
    out: Tensor = _GatedNetwork.apply(  # type: ignore[no-untyped-call]
        x.flatten(0, -2), gate.weight, up.weight, down.weight, product_type(x)
    )
    return out.view(*x.shape[:-1], -1)


class _GatedNetwork(torch.autograd.Function):
    """Keeps input, gate and up; the activation is computed again."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, gate_FD: Tensor, up_FD: Tensor, down_DF: Tensor, dtype: torch.dtype
    ) -> Tensor:
        with torch.autocast(x_TD.device.type, enabled=False):
            low_TD = x_TD.to(dtype)
            gate = low_TD @ gate_FD.to(dtype).t()
            up = low_TD @ up_FD.to(dtype).t()
            ctx.save_for_backward(low_TD, gate, up)
            ctx.weights, ctx.dtype = (gate_FD, up_FD, down_DF), x_TD.dtype
            return F.silu(gate).mul_(up) @ down_DF.to(dtype).t()

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        low_TD, gate, up = ctx.saved_tensors
        gate_FD, up_FD, down_DF = ctx.weights
        dtype = low_TD.dtype
        grad_inner = grad_TD @ down_DF.to(dtype)
        active = F.silu(gate)
        grad_down = weight_gradient(down_DF, grad_TD, active * up)
        grad_up = active.mul_(grad_inner)
        grad_inner.mul_(up)
        grad_gate = aten.silu_backward.grad_input(grad_inner, gate, grad_input=grad_inner)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_gate @ gate_FD.to(dtype)).addmm_(grad_up, up_FD.to(dtype))
            grad_x = grad_x.to(ctx.dtype)
        return (
            grad_x,
            weight_gradient(gate_FD, grad_gate, low_TD),
            weight_gradient(up_FD, grad_up, low_TD),
            grad_down,
            None,
        )


@dataclass(frozen=True, slots=True)
class _Form:
    """What self-attention has to know besides tensors."""

    head_width: int
    scaling: float
    lengths: tuple[int, ...]
    dtype: torch.dtype

    def segments(self) -> Iterator[slice]:
        """Rows of each segment."""
        start = 0
        for length in self.lengths:
            yield slice(start, start + length)
            start += length


class SelfAttention(nn.Module):
    """In the place of a module with ``q_proj``, ``k_proj``, ``v_proj`` and ``o_proj``.

    Flat batches of independent segments go through one function; every other call goes to the
    module that was there before.
    """

    NAMES = ("q_proj", "k_proj", "v_proj", "o_proj")
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    o_proj: nn.Linear

    def __init__(self, module: nn.Module, head_width: int, call: Call) -> None:
        super().__init__()
        for name in self.NAMES:
            setattr(self, name, getattr(module, name))
        self.head_width, self.window = head_width, call.window
        self.scaling = head_width**-0.5 if call.scaling is None else call.scaling
        self.dropout = float(getattr(module, "attention_dropout", 0.0))
        # in a tuple, so that its parameters are not counted twice
        self.before = (module,)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        """transformers' signature: (1, T, D) in and out."""
        angles, mask = kwargs.get("position_embeddings"), kwargs.get("attention_mask")
        if args or not self._is_flat(hidden_states, angles, mask, kwargs):
            out: tuple[Tensor, Any] = self._earlier()(hidden_states, *args, **kwargs)
            return out
        assert isinstance(mask, MaskPlan)
        assert mask.plan is not None
        assert angles is not None
        form = _Form(
            self.head_width, self.scaling, tuple(mask.plan.lengths), product_type(hidden_states)
        )
        cos, sin = (angle[0].float() for angle in angles)
        mixed = _SelfAttention.apply(  # type: ignore[no-untyped-call]
            hidden_states[0], *self.weights(), cos, sin, form
        )
        return self.o_proj(mixed)[None], None

    def _earlier(self) -> nn.Module:
        """The module that was there before, brought up to date only where something changed."""
        (module,) = self.before
        for name in self.NAMES:
            mine = getattr(self, name)
            if getattr(module, name) is not mine:  # adapters may have come since
                module.add_module(name, mine)
        if module.training != self.training:
            module.train(self.training)
        return module

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of queries, keys and values."""
        return self.q_proj.weight, self.k_proj.weight, self.v_proj.weight

    def _is_flat(self, x: Tensor, angles: Any, mask: Any, kwargs: dict[str, Any]) -> bool:
        if not isinstance(mask, MaskPlan) or mask.plan is None or mask.sink is not None:
            return False
        if kwargs.get("past_key_values") is not None or x.device.type != "cpu" or len(x) != 1:
            return False
        window = mask.window or self.window
        if not mask.plan.is_flat or (window is not None and max(mask.plan.lengths) > window):
            return False
        if self.training and self.dropout:
            return False
        if angles is None or angles[0].shape[0] != 1 or angles[0].shape[-1] != self.head_width:
            return False
        return are_plain([getattr(self, name) for name in self.NAMES])


class _SelfAttention(torch.autograd.Function):
    """Projections, rotary positions (Su et al. 2021) and causal attention of each segment."""

    @staticmethod
    def forward(
        ctx: Any,
        x_TD: Tensor,
        query_D: Tensor,
        key_D: Tensor,
        value_D: Tensor,
        cos_TW: Tensor,
        sin_TW: Tensor,
        form: _Form,
    ) -> Tensor:
        weights = (query_D, key_D, value_D)
        with torch.autocast(x_TD.device.type, enabled=False):
            low_TD = x_TD.to(form.dtype)
            query, key, value = _projected(low_TD, weights, cos_TW, sin_TW, form.head_width)
            out_THW = torch.empty_like(query)
            sums = []
            for rows in form.segments():
                out, lse = aten._scaled_dot_product_flash_attention_for_cpu(
                    *_heads(query, key, value, rows), 0.0, True, scale=form.scaling
                )
                out_THW[rows] = out[0].transpose(0, 1)
                sums.append(lse)
        ctx.save_for_backward(low_TD, query, key, value, out_THW, cos_TW, sin_TW, *sums)
        ctx.weights, ctx.form, ctx.dtype = weights, form, x_TD.dtype
        return out_THW.flatten(1).to(form.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        low_TD, query, key, value, out_THW, cos_TW, sin_TW, *sums = ctx.saved_tensors
        form: _Form = ctx.form
        grad_THW = grad.float().view_as(out_THW)
        grads = tuple(torch.empty_like(t) for t in (query, key, value))
        for rows, lse in zip(form.segments(), sums, strict=True):
            done = aten._scaled_dot_product_flash_attention_for_cpu_backward(
                grad_THW[rows].transpose(0, 1)[None],
                *_heads(query, key, value, rows),
                out_THW[rows].transpose(0, 1)[None],
                lse,
                0.0,
                True,
                scale=form.scaling,
            )
            for whole, part in zip(grads, done, strict=True):
                whole[rows] = _grouped(part[0].transpose(0, 1), whole.shape[1])
        _rotate(grads[0], cos_TW, sin_TW, back=True)
        _rotate(grads[1], cos_TW, sin_TW, back=True)
        flat = [g.flatten(1).to(form.dtype) for g in grads]
        grad_x = None
        if ctx.needs_input_grad[0]:
            first, *rest = (w.to(form.dtype) for w in ctx.weights)
            grad_x = flat[0] @ first
            for g, w in zip(flat[1:], rest, strict=True):
                grad_x.addmm_(g, w)
            grad_x = grad_x.to(ctx.dtype)
        weights = (weight_gradient(w, g, low_TD) for w, g in zip(ctx.weights, flat, strict=True))
        return (grad_x, *weights, None, None, None)


def _projected(
    low_TD: Tensor, weights: Sequence[Tensor], cos_TW: Tensor, sin_TW: Tensor, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries and keys, rotated, and values: (T, H or K, W); fp32, in which CPUs attend faster."""
    query, key, value = (
        (low_TD @ w.to(low_TD.dtype).t()).float().view(len(low_TD), -1, width) for w in weights
    )
    _rotate(query, cos_TW, sin_TW)
    _rotate(key, cos_TW, sin_TW)
    return query, key, value


def _heads(query: Tensor, key: Tensor, value: Tensor, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of one segment as (1, H, L, W); keys and values repeated for groups of queries."""
    groups = query.shape[1] // key.shape[1]
    parts = [query[rows], key[rows], value[rows]]
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


def _rotate(x_THW: Tensor, cos_TW: Tensor, sin_TW: Tensor, *, back: bool = False) -> None:
    """x * cos + rotate_half(x) * sin, in place; ``back`` applies the transposed matrix."""
    half = x_THW.shape[-1] // 2
    low, high = x_THW[..., :half], x_THW[..., half:]
    cos, sin = cos_TW[:, None], sin_TW[:, None]
    if back:
        from_high, from_low = high * sin[..., half:], low * sin[..., :half]
    else:
        from_high, from_low = high * sin[..., :half], low * sin[..., half:]
    low.mul_(cos[..., :half])
    high.mul_(cos[..., half:])
    if back:
        low.add_(from_high)
        high.sub_(from_low)
    else:
        low.sub_(from_high)
        high.add_(from_low)


SAME = 1e-4
"""Relative to the largest query, key or value."""


@torch.no_grad()
def self_attention(
    module: nn.Module, x_TD: Tensor, cos_TW: Tensor, sin_TW: Tensor, heard: Heard
) -> SelfAttention | None:
    """The module that does the same, if queries, keys, values and the rest show that one does.

    Args:
        module: of transformers, with plain projections of these names and nothing else.
        x_TD: an input of it.
        cos_TW, sin_TW: the angles that came with it.
        heard: what it made of them.
    """
    call, width = heard.call, heard.query_THD.shape[-1]
    if call.softcap is not None or call.sinks_H is not None or cos_TW.shape[-1] != width:
        return None
    made = SelfAttention(module, width, call)
    if not are_plain([getattr(made, name) for name in made.NAMES]):
        return None
    projected = _projected(x_TD, made.weights(), cos_TW.float(), sin_TW.float(), width)
    for ours, theirs in zip(
        projected, (heard.query_THD, heard.key_TKD, heard.value_TKD), strict=True
    ):
        scale = float(theirs.abs().max()) or 1.0
        if ours.shape != theirs.shape or float((ours - theirs).abs().max()) > SAME * scale:
            return None
    return made.train(module.training)
