"""Quantise a model, layer after layer: scales, rounding, and an account of what it cost.

Every layer sees the inputs that the rounded layers before it make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regimen.errors import ModelError
from regimen.memory.quantisation.gptq import gptq_or_nearest, output_error_O
from regimen.memory.quantisation.grid import Codes, round_to_nearest
from regimen.memory.quantisation.layers import Stream, linears_of
from regimen.memory.quantisation.linear import QuantLinear, input_scale
from regimen.memory.quantisation.scaling import (
    SAME,
    Place,
    awq_scale,
    folded,
    places,
    smooth_scale,
)
from regimen.memory.quantisation.seen import Seen
from regimen.memory.quantisation.spec import Activations, Awq, Gptq, Rtn, SmoothQuant, Spec
from regimen.models.differences import relative_difference

Scale = Callable[[Sequence[Tensor], Seen, Any, torch.dtype], tuple[Tensor, float]]
Round = Callable[[Tensor, Seen | None, Any, torch.dtype], tuple[Codes, int]]


@dataclass(frozen=True, slots=True)
class Method:
    """What a method is made of.

    Args:
        spec: its settings.
        round: weights, what their layer read, settings and type of the scales to codes, and how
            many rows were rounded plainly though the method has another way.
        scale: weights of some layers with one input, what they read, settings and type to the
            scales of the input, and their exponent; None for a method without.
        norms_only: scales go into norms alone, as the paper has it.
        sums: whether it needs X^T X.
    """

    spec: type[Any]
    round: Round
    scale: Scale | None = None
    norms_only: bool = False
    sums: bool = False


def _plain(weight: Tensor, _seen: Seen | None, spec: Spec, dtype: torch.dtype) -> tuple[Codes, int]:
    return round_to_nearest(weight, spec.grid, dtype), 0


def _gptq(weight: Tensor, seen: Seen | None, spec: Gptq, dtype: torch.dtype) -> tuple[Codes, int]:
    if seen is None or seen.gram_II is None:
        return round_to_nearest(weight, spec.grid, dtype), len(weight)
    return gptq_or_nearest(
        weight,
        seen.gram_II,
        spec.grid,
        damping=spec.damping,
        act_order=spec.act_order,
        dtype=dtype,
    )


QUANTIZERS: dict[str, Method] = {
    "rtn": Method(Rtn, _plain),
    "gptq": Method(Gptq, _gptq, sums=True),
    "awq": Method(Awq, _plain, awq_scale, sums=True),
    "smoothquant": Method(SmoothQuant, _plain, smooth_scale, norms_only=True),
}
"""The methods by name."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """What rounding did to one linear layer.

    ``weight_error`` is |Q - W| / |W| (Frobenius), with scales of inputs taken out again;
    ``output_error`` is |(Q - W) X| / |W X| on the calibration inputs, rounding of inputs not
    counted, None where nothing was seen; ``plain_rows`` were rounded plainly by GPTQ.
    """

    name: str
    weights: int
    weight_error: float
    output_error: float | None
    group_size: int
    plain_rows: int = 0
    alpha: float | None = None


@dataclass(frozen=True, slots=True)
class Quantised:
    """What was done to a model."""

    layers: tuple[LayerError, ...]
    block_errors: tuple[float, ...]
    """By decoder layer: |f(x) - g(x)| / |f(x)| of its output on one batch, inputs rounded too."""
    notes: tuple[str, ...]

    @property
    def weight_error(self) -> float:
        """The relative Frobenius error, averaged by number of weights."""
        return _mean([(each.weight_error, each.weights) for each in self.layers])

    @property
    def output_error(self) -> float | None:
        """The same of the outputs."""
        known = [(e.output_error, e.weights) for e in self.layers if e.output_error is not None]
        return _mean(known) if known else None


def _mean(pairs: Sequence[tuple[float, int]]) -> float:
    return sum(value * count for value, count in pairs) / sum(count for _, count in pairs)


@torch.no_grad()
def quantise(
    network: Any,
    windows_NL: Tensor,
    spec: Spec,
    *,
    batch: int = 8,
    dtype: torch.dtype = torch.float32,
    advance: Callable[[int], None] | None = None,
) -> Quantised:
    """Replace the linear layers in the decoder layers by rounded ones, in place.

    The vocabulary projection and the embedding stay as they are.

    Args:
        network: a model as transformers makes it, in fp32, not yet prepared for flat batches.
        windows_NL: ids of the calibration text, N windows of L tokens.
        spec: method and settings.
        batch: windows that go through a layer at once.
        dtype: the type that scales are stored in.
        advance: called with 1 after each decoder layer.

    Raises:
        ModelError: ``quantise-no-layers``, ``quantise-no-linear``, ``calibration-singular``.
    """
    method = next(each for each in QUANTIZERS.values() if each.spec is type(spec))
    network.eval()
    stream = Stream.begin(network, windows_NL, batch)
    found: list[LayerError] = []
    blocks: list[float] = []
    unfolded = 0
    for number, (name, layer) in enumerate(stream.layers):
        linears = linears_of(layer)
        seen = stream.see(number, list(linears), gram=True)
        before = stream.run(number, stream.states[0])
        scales, alphas, refused = _scaled(
            method, spec, stream, number, linears, seen, before, dtype
        )
        unfolded += refused
        for own, linear in linears.items():
            found.append(
                _round_one(
                    (name, own), layer, linear, seen.get(own), method, spec, dtype,
                    scales.get(own), alphas.get(own),
                )
            )  # fmt: skip
        after = stream.run(number, stream.states[0])
        blocks.append(float((after - before).norm() / before.norm().clamp(min=1e-12)))
        stream.advance(number)
        if advance is not None:
            advance(1)
    if not found:
        raise ModelError(
            "No linear layer of this model can be quantised.",
            slug="quantise-no-linear",
            got=type(network).__name__,
            expected="decoder layers with torch.nn.Linear",
        )
    return Quantised(tuple(found), tuple(blocks), tuple(_notes(found, spec, unfolded)))


def _scaled(
    method: Method,
    spec: Spec,
    stream: Stream,
    number: int,
    linears: Mapping[str, nn.Linear],
    seen: dict[str, Seen],
    before: Tensor,
    dtype: torch.dtype,
) -> tuple[dict[str, Tensor], dict[str, float], int]:
    """Fold the method's scales in; ``seen`` is of the scaled inputs then.

    Returns:
        Scales and exponents by linear layer, and how many places did not take theirs.
    """
    scales: dict[str, Tensor] = {}
    alphas: dict[str, float] = {}
    refused = 0
    if method.scale is None:
        return scales, alphas, refused
    layer = stream.layers[number][1]

    def same() -> bool:
        again = stream.run(number, stream.states[0])
        return relative_difference(again, before) <= SAME

    for place in _places(layer, linears, method, seen):
        weights = [linears[name].weight.data for name in place.readers]
        scale_I, alpha = method.scale(weights, seen[place.readers[0]], spec, dtype)
        if not folded(layer, place, scale_I, same):
            refused += 1
            continue
        for name in place.readers:
            seen[name] = seen[name].divided(scale_I)
            scales[name], alphas[name] = scale_I, alpha
    return scales, alphas, refused


def _places(
    layer: nn.Module, linears: Mapping[str, nn.Linear], method: Method, seen: Mapping[str, Seen]
) -> list[Place]:
    return [
        place
        for place in places(layer, linears)
        if (place.after_norm or not method.norms_only) and set(place.readers) <= seen.keys()
    ]


def _round_one(
    name: tuple[str, str],
    layer: nn.Module,
    linear: nn.Linear,
    seen: Seen | None,
    method: Method,
    spec: Spec,
    dtype: torch.dtype,
    scale_I: Tensor | None,
    alpha: float | None,
) -> LayerError:
    """Put the rounded layer in the place of a linear one."""
    weight = linear.weight.data
    codes, plain = method.round(weight, seen, spec, dtype)
    dense = codes.dense()
    undone = 1.0 if scale_I is None else scale_I
    weight_error = float(((dense - weight) / undone).norm() / (weight / undone).norm())
    output_error = None
    if seen is not None and seen.gram_II is not None:
        zero = torch.zeros_like(weight)
        own = output_error_O(weight, zero, seen.gram_II).sum().clamp(min=1e-30)
        lost = output_error_O(weight, dense, seen.gram_II).sum().clamp(min=0.0)
        output_error = float((lost / own).sqrt())
    bias = None if linear.bias is None else linear.bias.data
    given = _fixed_scale(spec.activations, seen, dtype)
    layer.set_submodule(name[1], QuantLinear(codes, bias, spec.activations, given))
    return LayerError(
        ".".join(name), weight.numel(), weight_error, output_error, codes.grid.group_size, plain,
        alpha,
    )  # fmt: skip


def _fixed_scale(how: Activations | None, seen: Seen | None, dtype: torch.dtype) -> Tensor | None:
    """The scale of a layer's inputs where it does not follow them."""
    if how is None or how.dynamic:
        return None
    largest = torch.ones(()) if seen is None else seen.max_abs_I.max()
    return input_scale(largest, how.bits).to(dtype).float()


def _notes(found: Sequence[LayerError], spec: Spec, unfolded: int) -> list[str]:
    notes = []
    smaller = [each for each in found if 0 < each.group_size < spec.grid.group_size]
    if smaller:
        sizes = ", ".join(str(size) for size in sorted({each.group_size for each in smaller}))
        notes.append(
            f"{len(smaller)} layers in groups of {sizes}: {spec.grid.group_size} does not divide "
            "their inputs"
        )
    plain = sum(each.plain_rows for each in found)
    if plain:
        notes.append(f"{plain} rows rounded to nearest, where that costs their outputs less")
    if unfolded:
        notes.append(f"{unfolded} places did not take scales without changing the model")
    unseen = sum(each.output_error is None for each in found)
    if unseen:
        notes.append(f"{unseen} layers read nothing of the calibration text")
    return notes
