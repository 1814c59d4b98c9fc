"""Linear layers that share an input, with or without LoRA, as matrix products with known gradients.

A group of layers over one input (queries, keys and values; gate and up) reads it once for all its
adapters: their matrices A stand on top of each other. A frozen weight gets no gradient, and the
gradient of a trained one is added where it stands.

Shape letters: T tokens, I inputs, O outputs, R ranks of a group together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regimen.models.buffers import weight_gradient


@dataclass(frozen=True, slots=True)
class Part:
    """One layer: x W^T + b + scale (x A^T) B^T (Hu et al. 2021, equation 3)."""

    weight_OI: Tensor
    bias_O: Tensor | None = None
    a_RI: Tensor | None = None
    b_OR: Tensor | None = None
    scale: float = 0.0

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """What autograd has to know, in the order in which gradients come back."""
        return self.weight_OI, self.bias_O, self.a_RI, self.b_OR

    @property
    def rank(self) -> int:
        """Of the adapter; 0 without one."""
        return 0 if self.a_RI is None else len(self.a_RI)


def part_of(module: nn.Module) -> Part | None:
    """What a layer computes, if that is no more than a ``Part``: torch's own, or PEFT's LoRA."""
    if type(module) is nn.Linear:
        return None if _is_hooked(module) else Part(module.weight, module.bias)
    kind = type(module)
    if (kind.__module__, kind.__name__) == ("peft.tuners.lora.layer", "Linear"):
        return _lora_part(module)
    return None


def parts_of(modules: Sequence[nn.Module]) -> tuple[Part, ...] | None:
    """The parts of some layers; None if one of them is more than that."""
    found = tuple(part_of(module) for module in modules)
    return None if any(part is None for part in found) else found  # type: ignore[return-value]


def _is_hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def _lora_part(module: Any) -> Part | None:
    """PEFT's LoRA layer as a part, where it does what the paper says and nothing else."""
    base = module.base_layer
    if type(base) is not nn.Linear or _is_hooked(base) or _is_hooked(module):
        return None
    active = [name for name in module.active_adapters if name in module.lora_A]
    if module.merged:  # PEFT takes the adapter out again where it is switched off
        return None if module.disable_adapters else Part(base.weight, base.bias)
    if module.disable_adapters or not active:
        return Part(base.weight, base.bias)
    name, *more = active
    a, b = module.lora_A[name], module.lora_B[name]
    others = (
        more
        or getattr(module, "fan_in_fan_out", False)
        or name in getattr(module, "lora_variant", {})  # DoRA and its like
        or type(a) is not nn.Linear
        or type(b) is not nn.Linear
        or a.bias is not None
        or b.bias is not None
        or any(_is_hooked(m) for m in (a, b))
        or _drops(module.lora_dropout[name])
    )
    if others:
        return None
    return Part(base.weight, base.bias, a.weight, b.weight, float(module.scaling[name]))


def _drops(dropout: nn.Module) -> bool:
    """Whether a layer is anything but the identity."""
    if isinstance(dropout, nn.Dropout):
        return dropout.training and dropout.p > 0
    return not isinstance(dropout, nn.Identity)


def flat(parts: Sequence[Part]) -> tuple[Tensor | None, ...]:
    """The tensors of some parts, one after another."""
    return tuple(tensor for part in parts for tensor in part.tensors)


def project(low_TI: Tensor, parts: Sequence[Part]) -> tuple[list[Tensor], Tensor | None]:
    """The outputs (T, O) of a group over one input, and what its adapters made of it: (T, R)."""
    dtype = low_TI.dtype
    outs = []
    for part in parts:
        weight = part.weight_OI.to(dtype).t()
        bias = part.bias_O
        outs.append(
            low_TI @ weight if bias is None else torch.addmm(bias.to(dtype), low_TI, weight)
        )
    stacked = _stacked(parts, dtype)
    if stacked is None:
        return outs, None
    inner_TR = low_TI @ stacked.t()
    for out, part, columns in zip(outs, parts, _columns(parts), strict=True):
        if part.b_OR is not None:
            out.addmm_(inner_TR[:, columns], part.b_OR.to(dtype).t(), alpha=part.scale)
    return outs, inner_TR


def input_gradient(
    grads: Sequence[Tensor], parts: Sequence[Part], *, wanted: bool = True
) -> tuple[Tensor | None, Tensor | None]:
    """The gradient of a group's input (T, I), and that of ``inner``: (T, R)."""
    dtype = grads[0].dtype
    stacked = _stacked(parts, dtype)
    grad_inner = None
    if stacked is not None:
        grad_inner = grads[0].new_empty(len(grads[0]), len(stacked))
        for grad, part, columns in zip(grads, parts, _columns(parts), strict=True):
            if part.b_OR is not None:
                grad_inner[:, columns] = (grad @ part.b_OR.to(dtype)).mul_(part.scale)
    if not wanted:
        return None, grad_inner
    total = grads[0] @ parts[0].weight_OI.to(dtype)
    for grad, part in zip(grads[1:], parts[1:], strict=True):
        total.addmm_(grad, part.weight_OI.to(dtype))
    if grad_inner is not None:
        assert stacked is not None
        total.addmm_(grad_inner, stacked)
    return total, grad_inner


def part_gradients(
    grads: Sequence[Tensor],
    low_TI: Tensor,
    inner_TR: Tensor | None,
    grad_inner_TR: Tensor | None,
    parts: Sequence[Part],
) -> Iterator[Tensor | None]:
    """The gradients of ``flat(parts)``; None where there is none, or it has been added already."""
    of_a = None
    learnt = any(part.a_RI is not None and part.a_RI.requires_grad for part in parts)
    if grad_inner_TR is not None and learnt:
        of_a = grad_inner_TR.t() @ low_TI
    for grad, part, columns in zip(grads, parts, _columns(parts), strict=True):
        yield weight_gradient(part.weight_OI, grad, low_TI)
        bias, a, b = part.bias_O, part.a_RI, part.b_OR
        yield grad.sum(0).to(bias.dtype) if bias is not None and bias.requires_grad else None
        yield of_a[columns].to(a.dtype) if of_a is not None and a is not None else None
        if b is None or inner_TR is None:
            yield None
        else:
            yield weight_gradient(b, grad, inner_TR[:, columns], part.scale)


def _columns(parts: Sequence[Part]) -> Iterator[slice]:
    """Where each part's ranks stand in what its group shares."""
    start = 0
    for part in parts:
        yield slice(start, start + part.rank)
        start += part.rank


def _stacked(parts: Sequence[Part], dtype: torch.dtype) -> Tensor | None:
    """The matrices A of a group on top of each other: (R, I)."""
    found = [part.a_RI.to(dtype) for part in parts if part.a_RI is not None]
    if not found:
        return None
    return found[0] if len(found) == 1 else torch.cat(found)
