"""The two halves of a common decoder layer as one autograd function each.

Self-attention with rotary positions, and the gated network. What is cheap is computed again in the
backward pass; gradients of weights are added where they stand. Projections may have a bias and may
carry LoRA; queries and keys may be normalised. Only forward passes of a flat batch go this way;
everything else, generation among it, runs through the modules of transformers.

On accelerators attention has kernels of its own: there self-attention goes this way for the sake of
its LoRA alone, as a function for the projections of its input, one for rotations, one for the
output.

Shape letters: T tokens, D width, F inner width, H query heads, K key heads, W width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regimen.models.attention import Heard, MaskPlan, attend
from regimen.models.differences import relative_difference
from regimen.models.native import ops
from regimen.models.native.mixing import Attention, attends
from regimen.models.native.pool import converted, empty
from regimen.models.norms import HeadNorm, Kept, Normed, source_of
from regimen.models.projections import (
    Inner,
    Part,
    flat,
    inner_of,
    input_gradient,
    part_gradients,
    parts_of,
    project,
)
from regimen.models.segments import Call
from regimen.models.sums import summand
from regimen.models.tiles import is_again
from regimen.tokens.ragged import Plan


def product_type(x: Tensor) -> torch.dtype:
    """The type in which autocast would multiply ``x``."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def gated_network(x: Tensor, gate: Part, up: Part, down: Part) -> Tensor:
    """down(silu(gate(x)) * up(x)): (.., D) in and out."""
    parts = (gate, up, down)
    out: Tensor = _GatedNetwork.apply(  # type: ignore[no-untyped-call]
        x.flatten(0, -2), parts, product_type(x), source_of(x), *flat(parts)
    )
    return summand(out.view(*x.shape[:-1], -1))


def _kept_graph() -> bool:
    """Whether the graph of this backward pass may be gone through once more."""
    asked = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)
    return bool(asked())


def _sum_type(x_TD: Tensor) -> torch.dtype | None:
    """The type of a layer's output as the sum with its input takes it: torch's CPU operator would
    make a copy of another; on accelerators the sum converts as it reads.
    """
    return x_TD.dtype if x_TD.device.type == "cpu" else None


class _GatedNetwork(torch.autograd.Function):
    """Keeps input, gate and up; the activation is computed again."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, parts: Sequence[Part], dtype: torch.dtype, source: Normed | None,
        *_tensors: Tensor | None,
    ) -> Tensor:  # fmt: skip
        with torch.autocast(x_TD.device.type, enabled=False):
            low_TD = converted(x_TD, dtype)
            (gate_TF, up_TF), inner = project(low_TD, parts[:2])
            out, inner_down = _down(gate_TF, up_TF, parts[2], _sum_type(x_TD))
        ctx.save_for_backward(*Kept.of(ctx, low_TD, source), gate_TF, up_TF, *inner, *inner_down)
        ctx.parts, ctx.dtype = parts, x_TD.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, weight_D, gate_TF, up_TF, *rest = ctx.saved_tensors
        inner, inner_down = Inner(*rest[:3]), Inner(*rest[3:])
        first, last = ctx.parts[:2], ctx.parts[2:]
        grad_TD = converted(grad_TD.contiguous(), gate_TF.dtype)
        grad_TF, within = input_gradient([grad_TD], last, inner_down)
        assert grad_TF is not None
        # nobody else reads gate and up, and nobody here a second time
        given, once = (gate_TF, up_TF, grad_TF), not _kept_graph()
        active_TF, grad_gate, grad_up = ops.swiglu_back(*given, in_place=once)
        of_down = list(part_gradients([grad_TD], active_TF, inner_down, within, last))
        del given, gate_TF, up_TF, grad_TF, active_TF, grad_TD, within
        grads = [grad_gate, grad_up]
        grad_x, within = input_gradient(
            grads, first, inner, wanted=ctx.needs_input_grad[0], dtype=ctx.dtype
        )
        low_TD = Kept(x_TD, weight_D).again(ctx, grads[0].dtype)
        of_first = part_gradients(grads, low_TD, inner, within, first)
        return (grad_x, None, None, None, *of_first, *of_down)


def joint(x_TD: Tensor, parts: Sequence[Part]) -> tuple[Tensor, ...]:
    """The outputs (T, O) of layers over one input, whose adapters read it once."""
    found: tuple[Tensor, ...] = _Joint.apply(  # type: ignore[no-untyped-call]
        x_TD, parts, product_type(x_TD), *flat(parts)
    )
    return found


class _Joint(torch.autograd.Function):
    """Keeps the input, and what the adapters made of it."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, parts: Sequence[Part], dtype: torch.dtype, *_tensors: Tensor | None
    ) -> tuple[Tensor, ...]:
        with torch.autocast(x_TD.device.type, enabled=False):
            low_TD = converted(x_TD, dtype)
            outs, inner = project(low_TD, parts)
        ctx.save_for_backward(low_TD, *inner)
        ctx.parts, ctx.dtype = parts, x_TD.dtype
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        low_TD, *rest = ctx.saved_tensors
        inner, whole = Inner(*rest), [grad.contiguous() for grad in grads]
        wanted = ctx.needs_input_grad[0]
        grad_x, within = input_gradient(whole, ctx.parts, inner, wanted=wanted, dtype=ctx.dtype)
        of_parts = part_gradients(whole, low_TD, inner, within, ctx.parts)
        return (grad_x, None, None, *of_parts)


class _Rotated(torch.autograd.Function):
    """Rotary positions (Su et al. 2021), whose gradient needs the angles alone."""

    @staticmethod
    def forward(ctx: Any, x_THW: Tensor, cos_TW: Tensor, sin_TW: Tensor) -> Tensor:
        ctx.save_for_backward(cos_TW, sin_TW)
        return ops.rotate(x_THW.clone(memory_format=torch.contiguous_format), cos_TW, sin_TW)

    @staticmethod
    def backward(ctx: Any, grad_THW: Tensor) -> tuple[Tensor, None, None]:
        copy = grad_THW.clone(memory_format=torch.contiguous_format)
        return ops.rotate(copy, *ctx.saved_tensors, back=True), None, None


def _down(
    gate_TF: Tensor, up_TF: Tensor, part: Part, dtype: torch.dtype | None
) -> tuple[Tensor, Inner]:
    """The last product, and what its adapter made of its input; where nobody reads the product
    because all is computed again for the gradient, anything of its shape.
    """
    if not is_again():
        (out,), inner = project(ops.swiglu(gate_TF, up_TF), (part,), dtype)
        return out, inner
    inner = inner_of(ops.swiglu(gate_TF, up_TF), (part,)) if part.rank else Inner()
    shape = (len(gate_TF), len(part.weight_OI))
    return empty(shape, dtype or gate_TF.dtype, gate_TF.device), inner


@dataclass(frozen=True, slots=True)
class _Form:
    """What self-attention has to know besides its input: of queries, keys, values and the output.

    ``norms`` has one entry for the queries and one for the keys.
    """

    width: int
    parts: tuple[Part, ...]
    norms: tuple[HeadNorm | None, HeadNorm | None]
    mix: Attention
    dtype: torch.dtype

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """What autograd has to know."""
        norms = (None if norm is None else norm.weight for norm in self.norms)
        return (*flat(self.parts), *norms)


class _SelfAttention(torch.autograd.Function):
    """Projections, rotary positions (Su et al. 2021), attention along paths, and the output."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, cos_TW: Tensor, sin_TW: Tensor, form: _Form,
        source: Normed | None, *_tensors: Tensor | None,
    ) -> Tensor:  # fmt: skip
        with torch.autocast(x_TD.device.type, enabled=False):
            low_TD = converted(x_TD, form.dtype)
            heads, inner, raw, rstds = _heads(low_TD, form, cos_TW, sin_TW)
            mixed_THW, lse = form.mix.forward(*heads)
            (out,), inner_out = project(mixed_THW.flatten(1), form.parts[3:], _sum_type(x_TD))
        kept = (*heads, mixed_THW, lse, cos_TW, sin_TW, *inner, *inner_out, *raw, *rstds)
        ctx.save_for_backward(*Kept.of(ctx, low_TD, source), *kept)
        ctx.form, ctx.dtype = form, x_TD.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad_TD: Tensor) -> tuple[Tensor | None, ...]:
        x_TD, weight_D, query, key, value, mixed_THW, lse, cos, sin, *rest = ctx.saved_tensors
        inner, inner_out, rest = Inner(*rest[:3]), Inner(*rest[3:6]), rest[6:]
        form: _Form = ctx.form
        first, last = form.parts[:3], form.parts[3:]
        grad_TD = converted(grad_TD.contiguous(), form.dtype)
        grad_mixed, within = input_gradient([grad_TD], last, inner_out)
        assert grad_mixed is not None
        mixed_TD = mixed_THW.flatten(1)
        of_out = list(part_gradients([grad_TD], mixed_TD, inner_out, within, last))
        grad_THW = grad_mixed.view_as(mixed_THW)
        grads = list(form.mix.gradients(query, key, value, mixed_THW, lse, grad_THW))
        of_norms: list[Tensor | None] = [None, None]
        for i, norm in enumerate(form.norms):
            kind = form.dtype if norm is None else torch.float32
            grads[i] = ops.rotate(grads[i], cos, sin, back=True, dtype=kind)
            if norm is not None:
                grads[i], of_norms[i] = norm.gradients(grads[i], rest[i], rest[2 + i])
        low = [converted(g.flatten(1), form.dtype) for g in grads]
        del grad_TD, grad_mixed, grad_THW, grads, within
        grad_x, within = input_gradient(
            low, first, inner, wanted=ctx.needs_input_grad[0], dtype=ctx.dtype
        )
        low_TD = Kept(x_TD, weight_D).again(ctx, form.dtype)
        of_first = part_gradients(low, low_TD, inner, within, first)
        return (grad_x, None, None, None, None, *of_first, *of_out, *of_norms)


Optional = tuple[Tensor | None, ...]


def _heads(
    low_TD: Tensor, form: _Form, cos_TW: Tensor, sin_TW: Tensor
) -> tuple[tuple[Tensor, Tensor, Tensor], Inner, Optional, Optional]:
    """Queries and keys, normalised and rotated, and values: (T, H or K, W). Then what adapters made
    of the input, and, where queries and keys are normalised, what they were before and 1 / rms.
    """
    outs, inner = project(low_TD, form.parts[:3])
    query, key, value = (out.view(len(low_TD), -1, form.width) for out in outs)
    heads, raw, rstds = [query, key], [None, None], [None, None]
    for i, norm in enumerate(form.norms):
        if norm is not None:
            raw[i] = heads[i]  # type: ignore[call-overload]
            heads[i], rstds[i] = norm.forward(heads[i])  # type: ignore[call-overload]
        heads[i] = ops.rotate(heads[i], cos_TW, sin_TW, dtype=form.dtype)
    return (heads[0], heads[1], value), inner, tuple(raw), tuple(rstds)


class SelfAttention(nn.Module):
    """In the place of a module with ``q_proj``, ``k_proj``, ``v_proj`` and ``o_proj``.

    Flat batches go through one function; every other call goes to the module that was there before.
    """

    NAMES = ("q_proj", "k_proj", "v_proj", "o_proj")
    NORMS = ("q_norm", "k_norm")

    def __init__(self, module: nn.Module, head_width: int, call: Call) -> None:
        super().__init__()
        for name, child in module.named_children():
            setattr(self, name, child)
        self.head_width, self.window = head_width, call.window
        self.scaling = head_width**-0.5 if call.scaling is None else call.scaling
        self.dropout = float(getattr(module, "attention_dropout", 0.0))
        # in a tuple, so that its parameters are not counted twice
        self.before = (module,)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        """transformers' signature: (1, T, D) in and out."""
        angles, mask = kwargs.get("position_embeddings"), kwargs.get("attention_mask")
        parts = None
        if not args and self._is_flat(hidden_states, angles, mask, kwargs):
            parts = parts_of([getattr(self, name) for name in self.NAMES])
        if parts is not None and hidden_states.device.type != "cpu":
            # without adapters, transformers' own module is as good there
            parts = parts if any(part.rank for part in parts) else None
        if parts is None:
            out: tuple[Tensor, Any] = self._earlier()(hidden_states, *args, **kwargs)
            return out
        assert isinstance(mask, MaskPlan)
        assert mask.plan is not None
        assert angles is not None
        if hidden_states.device.type != "cpu":
            return self._there(hidden_states[0], angles, mask, parts)
        mix = Attention(mask.plan, self.scaling, mask.window or self.window)
        form = self.form(parts, mix, product_type(hidden_states))
        cos, sin = (angle[0].float() for angle in angles)
        mixed: Tensor = _SelfAttention.apply(  # type: ignore[no-untyped-call]
            hidden_states.squeeze(0), cos, sin, form, source_of(hidden_states), *form.tensors
        )
        return summand(mixed[None]), None

    def _there(
        self, x_TD: Tensor, angles: tuple[Tensor, Tensor], mask: MaskPlan, parts: tuple[Part, ...]
    ) -> tuple[Tensor, None]:
        """On an accelerator: projections by function, attention by its own kernels."""
        outs = [out.view(len(x_TD), -1, self.head_width) for out in joint(x_TD, parts[:3])]
        cos, sin = (angle[0].float() for angle in angles)
        for i, name in enumerate(self.NORMS):
            norm = getattr(self, name, None)
            if norm is not None:
                rows = outs[i].view(-1, len(norm.weight))
                outs[i] = norm(rows).view_as(outs[i])
            outs[i] = _Rotated.apply(outs[i], cos, sin)  # type: ignore[no-untyped-call]
        query, key, value = (out.transpose(0, 1)[None] for out in outs)
        window = self.window
        mixed, _ = attend(self, query, key, value, mask, self.scaling, sliding_window=window)
        (out,) = joint(mixed[0].flatten(1), parts[3:])
        return out[None], None

    def form(self, parts: tuple[Part, ...], mix: Attention, dtype: torch.dtype) -> _Form:
        """What the function has to know."""
        query, key = (
            HeadNorm.of(norm) if (norm := getattr(self, name, None)) is not None else None
            for name in self.NORMS
        )
        return _Form(self.head_width, parts, (query, key), mix, dtype)

    def _earlier(self) -> nn.Module:
        """The module that was there before, brought up to date only where something changed."""
        (module,) = self.before
        for name, mine in self.named_children():
            if getattr(module, name) is not mine:  # adapters may have come since
                module.add_module(name, mine)
        if module.training != self.training:
            module.train(self.training)
        return module

    def _is_flat(self, x: Tensor, angles: Any, mask: Any, kwargs: dict[str, Any]) -> bool:
        if not isinstance(mask, MaskPlan) or mask.plan is None or mask.sink is not None:
            return False
        if mask.prefix is not None:
            return False
        if kwargs.get("past_key_values") is not None or len(x) != 1:
            return False
        if self.training and self.dropout:
            return False
        if angles is None or angles[0].shape[0] != 1 or angles[0].shape[-1] != self.head_width:
            return False
        return x.device.type != "cpu" or attends(mask.plan, mask.window or self.window)


SAME, SAME_LOW = 1e-4, 2e-2
"""Relative to the largest query, key or value: in fp32, and in types of 16 bits, to which
transformers rounds between its operators."""


@torch.no_grad()
def self_attention(
    module: nn.Module, x_TD: Tensor, cos_TW: Tensor, sin_TW: Tensor, heard: Heard
) -> SelfAttention | None:
    """The module that does the same, if queries, keys, values and the rest show that one does.

    Args:
        module: of transformers, with projections of these names and, perhaps, norms.
        x_TD: an input of it.
        cos_TW, sin_TW: the angles that came with it.
        heard: what it made of them.
    """
    call, width = heard.call, heard.query_THD.shape[-1]
    if call.softcap is not None or call.sinks_H is not None or cos_TW.shape[-1] != width:
        return None
    made = SelfAttention(module, width, call)
    parts = parts_of([getattr(made, name) for name in made.NAMES])
    if parts is None or not _norms_fit(made, heard):
        return None
    mix = Attention(Plan((len(x_TD),), (-1,)), made.scaling, call.window)
    same = SAME if x_TD.dtype == torch.float32 else SAME_LOW
    found, *_ = _heads(x_TD, made.form(parts, mix, x_TD.dtype), cos_TW.float(), sin_TW.float())
    for ours, theirs in zip(found, (heard.query_THD, heard.key_TKD, heard.value_TKD), strict=True):
        if ours.shape != theirs.shape or not relative_difference(ours, theirs) <= same:
            return None
    return made.train(module.training)


def _norms_fit(module: SelfAttention, heard: Heard) -> bool:
    """Whether the norms are fused ones over a head, or over all heads of queries or keys."""
    names = set(dict(module.named_children())) - set(module.NAMES)
    if names and names != set(module.NORMS):
        return False
    for name, heads in zip(module.NORMS, (heard.query_THD, heard.key_TKD), strict=True):
        norm = getattr(module, name, None)
        if norm is None:
            continue
        sizes = (heads.shape[2], heads.shape[1] * heads.shape[2])
        if not hasattr(norm, "shift") or len(norm.weight) not in sizes:
            return False
    return True
