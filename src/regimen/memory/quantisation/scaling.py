"""Scales of input channels that make weights or inputs easier to round, and where they go.

A channel of a layer's input is divided by s and the weights that read it are multiplied by it; the
division is folded into what makes the input, a norm or a linear layer, so that it costs nothing and
any reader of the files can run it.

Shape letters: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regimen.memory.quantisation.gptq import output_error_O
from regimen.memory.quantisation.grid import Grid, round_to_nearest
from regimen.memory.quantisation.seen import Seen
from regimen.memory.quantisation.spec import Awq, SmoothQuant

LEAST = 1e-5
"""Below this a channel's size counts as this."""
SAME = 1e-3
"""How far a layer's output may be from before, relative to its largest, after scales are folded."""

PLACES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    ("pre_feedforward_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    ("self_attn.v_proj", ("self_attn.o_proj",)),
    ("mlp.up_proj", ("mlp.down_proj",)),
)
"""What makes an input, and the linear layers that read it and nothing else does."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where scales may be folded, by the names of modules in a decoder layer."""

    source: str
    readers: tuple[str, ...]

    @property
    def after_norm(self) -> bool:
        """Whether the source is a norm."""
        return "norm" in self.source


def places(layer: nn.Module, linears: Mapping[str, nn.Linear]) -> list[Place]:
    """The places of a decoder layer, by name and shape; ``folded`` tests each."""
    modules = dict(layer.named_modules())
    found: list[Place] = []
    taken: set[str] = set()
    for source, readers in PLACES:
        made = getattr(modules.get(source), "weight", None)
        if made is None or taken & set(readers) or not set(readers) <= linears.keys():
            continue
        if all(linears[name].in_features == len(made) for name in readers):
            found.append(Place(source, readers))
            taken |= set(readers)
    return found


def folded(layer: nn.Module, place: Place, scale_I: Tensor, same: Callable[[], bool]) -> bool:
    """Divide what the source makes and multiply the readers; undone where ``same`` says no.

    Norms that keep their weight minus 1 are tried as well.
    """
    modules = dict(layer.named_modules())
    source, readers = modules[place.source], [modules[name] for name in place.readers]
    touched: list[Any] = [source.weight, *(reader.weight for reader in readers)]
    touched += [source.bias] if getattr(source, "bias", None) is not None else []
    before = [parameter.data.clone() for parameter in touched]
    for shift in (0.0, 1.0) if place.after_norm else (0.0,):
        for parameter, kept in zip(touched, before, strict=True):
            parameter.data.copy_(kept)
        _divide(source, scale_I, shift)
        for reader in readers:
            _data(reader).mul_(scale_I.to(_data(reader)))
        if same():
            return True
    for parameter, kept in zip(touched, before, strict=True):
        parameter.data.copy_(kept)
    return False


def _data(module: Any) -> Tensor:
    data: Tensor = module.weight.data
    return data


def _divide(source: Any, scale_I: Tensor, shift: float) -> None:
    weight = _data(source)
    by = scale_I.to(weight)
    if weight.ndim == 1:
        weight.copy_((weight + shift) / by - shift)
    else:
        weight.div_(by[:, None])
    if getattr(source, "bias", None) is not None:
        source.bias.data.div_(by)


def awq_scale(
    weights: Sequence[Tensor], seen: Seen, spec: Awq, dtype: torch.dtype
) -> tuple[Tensor, float]:
    """The best of s = mean|x|^alpha over a grid of alpha (Lin et al. 2023, eq. 4 and 5).

    The error is that of the readers' outputs on the calibration inputs, together. alpha = 0 is
    rounding to nearest and in the grid, so that the best is never worse than that.

    Returns:
        The scale of each input, and alpha.
    """
    assert seen.gram_II is not None
    best, chosen, alpha_of = float("inf"), torch.ones_like(seen.mean_abs_I), 0.0
    for step in range(spec.steps):
        alpha = step / spec.steps
        scale_I = seen.mean_abs_I.clamp(min=LEAST) ** alpha
        scale_I = scale_I / (scale_I.max() * scale_I.min()).sqrt()
        error = scaled_error(weights, scale_I, seen.gram_II, spec.grid, dtype)
        if error < best:
            best, chosen, alpha_of = error, scale_I, alpha
    return chosen, alpha_of


def scaled_error(
    weights: Sequence[Tensor], scale_I: Tensor, gram_II: Tensor, grid: Grid, dtype: torch.dtype
) -> float:
    """|Q(W s) X/s - W X|^2 of some layers together."""
    total = 0.0
    for weight_OI in weights:
        rough = round_to_nearest(weight_OI * scale_I, grid, dtype).dense() / scale_I
        total += float(output_error_O(weight_OI, rough, gram_II).sum())
    return total


def smooth_scale(
    weights: Sequence[Tensor], seen: Seen, spec: SmoothQuant, dtype: torch.dtype
) -> tuple[Tensor, float]:
    """s_j = max|x_j|^alpha / max|w_j|^(1 - alpha) (Xiao et al. 2022, eq. 4).

    The largest weight is that of all readers, as all read the same input.

    Returns:
        The scale of each input, and alpha.
    """
    largest_I = torch.stack([weight.float().abs().amax(0) for weight in weights]).amax(0)
    scale_I = seen.max_abs_I.clamp(min=LEAST) ** spec.alpha
    scale_I = scale_I / largest_I.clamp(min=LEAST) ** (1 - spec.alpha)
    return scale_I.clamp(min=LEAST), spec.alpha
