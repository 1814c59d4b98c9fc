"""Linear layers that share an input, with or without LoRA, as matrix products with known gradients.

A group of layers over one input (queries, keys and values; gate and up) reads it once for all its
adapters: their matrices A stand on top of each other. A frozen weight gets no gradient, and the
gradient of a trained one is added where it stands.

DoRA (Liu et al. 2024, equation 5) sets the length of each row of the weight that LoRA has added to.
Here the outputs are scaled in place of the rows, so no second weight is kept; as in section 4.3
there, the length that the row has by itself is a constant to the gradient.

Dropout before an adapter draws as torch's own layer does, layer after layer, so a seed gives the
masks that PEFT's modules would draw. On accelerators the masks are others, of the same shares.

Shape letters: T tokens, I inputs, O outputs, R ranks of a group together, P layers of a group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regimen.models.buffers import weight_gradient
from regimen.models.native.masks import add_thinned, draw_kept, thinned
from regimen.models.native.pool import converted, empty, empty_like
from regimen.models.native.products import Factor, Input, add_outer, back, forth, multiply
from regimen.models.quantised import is_plain

PIECE, PIECE_THERE = 1 << 20, 1 << 26
"""Numbers of the sum of a weight and its adapter that are there at a time; on an accelerator."""


@dataclass(frozen=True, slots=True)
class Part:
    """One layer: x W^T + b + scale (x A^T) B^T (Hu et al. 2021, equation 3).

    ``dropout`` is that before A, now: 0 in evaluation. ``magnitude_O``: the lengths that rows of
    W + scale B A are given (DoRA).
    """

    weight_OI: Tensor
    bias_O: Tensor | None = None
    a_RI: Tensor | None = None
    b_OR: Tensor | None = None
    scale: float = 0.0
    dropout: float = 0.0
    magnitude_O: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """What autograd has to know, in the order in which gradients come back."""
        return self.weight_OI, self.bias_O, self.a_RI, self.b_OR, self.magnitude_O

    @property
    def rank(self) -> int:
        """Of the adapter; 0 without one."""
        return 0 if self.a_RI is None else len(self.a_RI)

    @property
    def kept_scale(self) -> float:
        """What makes up for the dropped part of the input."""
        return 1.0 / (1.0 - self.dropout)


def part_of(module: nn.Module) -> Part | None:
    """What a layer computes, if that is no more than a ``Part``: torch's own, or PEFT's LoRA."""
    if type(module) is nn.Linear:
        special = _is_hooked(module) or not is_plain(module.weight)
        return None if special else Part(module.weight, module.bias)
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
    if not is_plain(base.weight):
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
        or type(a) is not nn.Linear
        or type(b) is not nn.Linear
        or a.bias is not None
        or b.bias is not None
        or any(_is_hooked(m) for m in (a, b))
        or not isinstance(module.lora_dropout[name], nn.Dropout | nn.Identity)
    )
    if others:
        return None
    scale, dropout = float(module.scaling[name]), _share(module.lora_dropout[name])
    magnitude = None
    if name in getattr(module, "lora_variant", {}):
        magnitude = _magnitude(module, name)
        if magnitude is None or dropout:  # PEFT drops of the whole input then, not before A alone
            return None
    return Part(base.weight, base.bias, a.weight, b.weight, scale, dropout, magnitude)


def _magnitude(module: Any, name: str) -> Tensor | None:
    """DoRA's lengths of rows; None where an adapter is another kin of LoRA."""
    kind = type(module.lora_variant[name])
    if (kind.__module__, kind.__name__) != ("peft.tuners.lora.variants", "DoraLinearVariant"):
        return None
    layer = module.lora_magnitude_vector[name]
    found: Tensor = layer.weight
    return None if _is_hooked(layer) or not is_plain(found) else found


def _share(dropout: nn.Module) -> float:
    """The share of its input that a layer drops now."""
    return float(dropout.p) if isinstance(dropout, nn.Dropout) and dropout.training else 0.0


def flat(parts: Sequence[Part]) -> tuple[Tensor | None, ...]:
    """The tensors of some parts, one after another."""
    return tuple(tensor for part in parts for tensor in part.tensors)


class Inner(NamedTuple):
    """What the adapters of a group made of its input (T, R), what of it they saw (P, T, I), and the
    lengths of all rows of layers with DoRA, one layer after another, fp32.

    None without adapters, where nothing is dropped, and without DoRA.
    """

    inner_TR: Tensor | None = None
    kept_PTI: Tensor | None = None
    length_O: Tensor | None = None


class Inward(NamedTuple):
    """Gradients of what adapters made of a group's input (T, R), and of its layers' products,
    before scales and biases: (T, O) each.
    """

    inner_TR: Tensor | None
    products: Sequence[Tensor]


def project(
    low_TI: Tensor, parts: Sequence[Part], dtype: torch.dtype | None = None
) -> tuple[list[Tensor], Inner]:
    """The outputs (T, O) of a group over one input, in ``dtype`` or its type, and what its adapters
    made of it.
    """
    inner = inner_of(low_TI, parts)
    outs = []
    each = zip(parts, _columns(parts), _factors(parts, inner), strict=True)
    for part, columns, factor_O in each:
        terms = _terms(low_TI, part, columns, inner)
        if factor_O is None:
            outs.append(multiply(terms, bias_N=part.bias_O, dtype=dtype))
            continue
        out_TO = multiply(terms, dtype=_exact(low_TI)).mul_(factor_O)
        if part.bias_O is not None:
            out_TO += part.bias_O.to(out_TO.dtype)
        outs.append(converted(out_TO, dtype or low_TI.dtype))
    return outs, inner


def _terms(low_TI: Tensor, part: Part, columns: slice, inner: Inner) -> list[tuple[Tensor, Factor]]:
    """What a layer's product is the sum of; ``columns`` are its ranks in ``inner``."""
    terms = [(low_TI, forth(part.weight_OI))]
    if part.b_OR is not None and inner.inner_TR is not None:
        terms.append((inner.inner_TR[:, columns], forth(part.b_OR, scale=part.scale)))
    return terms


def inner_of(low_TI: Tensor, parts: Sequence[Part]) -> Inner:
    """What the adapters of a group make of its input."""
    stacked, kept_PTI = _stacked(parts), _kept(low_TI, parts)
    inner_TR = None
    if kept_PTI is not None:
        inner_TR = low_TI.new_empty(len(low_TI), sum(part.rank for part in parts))
        for part, columns, seen_TI in _seen(low_TI, parts, kept_PTI):
            assert part.a_RI is not None
            multiply([(seen_TI, forth(part.a_RI))], out=inner_TR[:, columns])
    elif stacked:
        inner_TR = multiply([(low_TI, forth(*stacked))])
    lengths = [row_lengths(part) for part in parts if part.magnitude_O is not None]
    return Inner(inner_TR, kept_PTI, torch.cat(lengths) if lengths else None)


@torch.no_grad()
def row_lengths(part: Part) -> Tensor:
    """The lengths of the rows of W + scale B A, in fp32 at least; 1 of a row of zeros.

    The sum is formed a piece at a time: taken from products of its parts, lengths of rows that A
    and B nearly undo would be noise.
    """
    weight_OI, kind = part.weight_OI.detach(), _exact(part.weight_OI)
    assert part.a_RI is not None
    assert part.b_OR is not None
    a_RI, b_OR = part.a_RI.to(kind), part.b_OR.to(kind)
    size = PIECE if weight_OI.device.type == "cpu" else PIECE_THERE
    step = min(len(weight_OI), max(1, size // weight_OI.shape[1]))
    memory = empty((step, weight_OI.shape[1]), kind, weight_OI.device)
    length_O = a_RI.new_empty(len(weight_OI))
    for start in range(0, len(weight_OI), step):
        rows = slice(start, min(start + step, len(weight_OI)))
        sum_SI = memory[: rows.stop - start].copy_(weight_OI[rows])
        sum_SI.addmm_(b_OR[rows], a_RI, alpha=part.scale)
        torch.linalg.vector_norm(sum_SI, dim=1, out=length_O[rows])
    return length_O.masked_fill_(length_O == 0, 1.0)


def _exact(x: Tensor) -> torch.dtype:
    """The type in which lengths are taken, and outputs scaled."""
    return torch.promote_types(x.dtype, torch.float32)


def _factors(parts: Sequence[Part], inner: Inner) -> Iterator[Tensor | None]:
    """What each layer's product is scaled by (DoRA): magnitudes over lengths; None for others."""
    for part, length_O in zip(parts, _lengths(parts, inner), strict=True):
        if part.magnitude_O is None or length_O is None:
            yield None
        else:
            yield part.magnitude_O.detach().to(length_O.dtype) / length_O


def _scaled(x_TO: Tensor, factor_O: Tensor) -> Tensor:
    """Columns times factors. torch's operators for two types would make copies in the heap."""
    exact_TO = converted(x_TO, factor_O.dtype)
    out = empty_like(exact_TO) if exact_TO is x_TO else exact_TO
    return converted(torch.mul(exact_TO, factor_O, out=out), x_TO.dtype)


def _lengths(parts: Sequence[Part], inner: Inner) -> Iterator[Tensor | None]:
    start = 0
    for part in parts:
        if part.magnitude_O is None or inner.length_O is None:
            yield None
        else:
            yield inner.length_O[start : start + len(part.magnitude_O)]
            start += len(part.magnitude_O)


def _kept(low_TI: Tensor, parts: Sequence[Part]) -> Tensor | None:
    """What dropout leaves of the input of each layer: (P, T, I); None where nothing is dropped."""
    if not any(part.dropout for part in parts):
        return None
    kept_PTI = low_TI.new_empty((len(parts), *low_TI.shape), dtype=torch.bool)
    for part, kept_TI in zip(parts, kept_PTI, strict=True):
        if part.dropout:
            draw_kept(kept_TI, 1.0 - part.dropout)
        else:
            kept_TI.fill_(True)
    return kept_PTI


def _seen(
    low_TI: Tensor, parts: Sequence[Part], kept_PTI: Tensor
) -> Iterator[tuple[Part, slice, Tensor]]:
    """Each layer with an adapter, its ranks' columns, and the input that its adapter sees."""
    for part, columns, kept_TI in zip(parts, _columns(parts), kept_PTI, strict=True):
        if part.rank:
            whole = not part.dropout
            yield part, columns, low_TI if whole else thinned(low_TI, kept_TI, part.kept_scale)


def input_gradient(
    grads: Sequence[Tensor], parts: Sequence[Part], inner: Inner, *, wanted: bool = True,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor | None, Inward]:  # fmt: skip
    """The gradient of a group's input (T, I), in ``dtype`` or the gradients' type, and those within
    that ``part_gradients`` needs.
    """
    grads = [
        grad if factor_O is None else _scaled(grad, factor_O)
        for grad, factor_O in zip(grads, _factors(parts, inner), strict=True)
    ]
    stacked = _stacked(parts)
    grad_inner = None
    if stacked:
        grad_inner = grads[0].new_empty(len(grads[0]), sum(part.rank for part in parts))
        for grad, part, columns in zip(grads, parts, _columns(parts), strict=True):
            if part.b_OR is not None:
                factor = back(part.b_OR, scale=part.scale)
                multiply([(grad, factor)], out=grad_inner[:, columns])
    within = Inward(grad_inner, grads)
    if not wanted:
        return None, within
    terms = [(grad, back(part.weight_OI)) for grad, part in zip(grads, parts, strict=True)]
    if grad_inner is not None and inner.kept_PTI is None:
        terms.append((grad_inner, back(*stacked)))
    if grad_inner is None or inner.kept_PTI is None:
        total_TI = multiply(terms, dtype=dtype)
    else:
        total_TI = multiply(terms)
        for part, columns, kept_TI in zip(parts, _columns(parts), inner.kept_PTI, strict=True):
            if part.a_RI is not None:
                seen_TI = multiply([(grad_inner[:, columns], back(part.a_RI))])
                add_thinned(total_TI, seen_TI, kept_TI, part.kept_scale)
        total_TI = converted(total_TI, dtype or total_TI.dtype)
    return total_TI, within


def part_gradients(
    grads: Sequence[Tensor],
    low_TI: Tensor,
    inner: Inner,
    within: Inward,
    parts: Sequence[Part],
) -> Iterator[Tensor | None]:
    """The gradients of ``flat(parts)``; None where there is none, or it has been added already."""
    given, of_a, grad_inner_TR = Input(low_TI), None, within.inner_TR
    learnt = [part.a_RI for part in parts if part.a_RI is not None and part.a_RI.requires_grad]
    if grad_inner_TR is not None and learnt:
        of_a = learnt[0].new_empty(grad_inner_TR.shape[1], low_TI.shape[1])
        if inner.kept_PTI is None:
            add_outer(of_a, grad_inner_TR, given, add=False)
        else:
            for _, columns, seen_TI in _seen(low_TI, parts, inner.kept_PTI):
                add_outer(of_a[columns], grad_inner_TR[:, columns], Input(seen_TI), add=False)
    lengths = _lengths(parts, inner)
    each = zip(grads, within.products, parts, _columns(parts), lengths, strict=True)
    for outer, grad, part, columns, length_O in each:
        yield weight_gradient(part.weight_OI, grad, given)
        bias, a, b = part.bias_O, part.a_RI, part.b_OR
        yield outer.sum(0).to(bias.dtype) if bias is not None and bias.requires_grad else None
        yield of_a[columns] if of_a is not None and a is not None and a.requires_grad else None
        if b is None or inner.inner_TR is None:
            yield None
        else:
            yield weight_gradient(b, grad, Input(inner.inner_TR[:, columns]), part.scale)
        magnitude_O = part.magnitude_O
        if magnitude_O is None or length_O is None or not magnitude_O.requires_grad:
            yield None
        else:  # formed again: kept, it would take as much as the outputs
            terms = _terms(low_TI, part, columns, inner)
            product_TO = multiply(terms, dtype=_exact(outer))
            product_TO *= converted(outer, product_TO.dtype)
            yield product_TO.sum(0).div_(length_O).to(magnitude_O.dtype)


def _columns(parts: Sequence[Part]) -> Iterator[slice]:
    """Where each part's ranks stand in what its group shares."""
    start = 0
    for part in parts:
        yield slice(start, start + part.rank)
        start += part.rank


def _stacked(parts: Sequence[Part]) -> tuple[Tensor, ...]:
    """The matrices A of a group, which stand on top of each other: (R, I)."""
    return tuple(part.a_RI for part in parts if part.a_RI is not None)
