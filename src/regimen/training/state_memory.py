"""What a training keeps in memory from step to step: weights, gradients, the optimizer's state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMemory:
    """Bytes of what lasts from step to step; activations come on top.

    Args:
        weights: of the model that no step changes, with buffers and what a quantisation keeps
            beside its codes.
        trained: weights that the optimizer steps.
        gradients: one for each weight that is trained now, in the weight's own type.
        optimizer: moments and whatever else the optimizer keeps.
    """

    weights: int
    trained: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.trained + self.gradients + self.optimizer


def state_memory(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> StateMemory:
    """Measure the tensors of a training; after its last step, so that the moments are there.

    Tensors that lie at one place count once.
    """
    stepped = [p for group in optimizer.param_groups for p in group["params"]]
    own = {_place(parameter) for parameter in stepped}
    others = [t for t in _weights(model) if _place(t) not in own]
    return StateMemory(
        weights=_bytes(others),
        trained=_bytes(stepped),
        gradients=sum(p.numel() * p.element_size() for p in stepped if p.requires_grad),
        optimizer=_bytes(_tensors(_state(optimizer))),
    )


def _weights(model: torch.nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers, and the scales of quantised ones."""
    for tensor in (*model.parameters(), *model.buffers()):
        yield tensor
        # bitsandbytes keeps the scales of 4-bit weights in an object beside them
        yield from _tensors(getattr(tensor, "quant_state", None))


def _state(optimizer: torch.optim.Optimizer) -> list[Any]:
    """The states of an optimizer, or of the parts that it is made of."""
    parts = getattr(optimizer, "parts", None) or [optimizer]
    return [dict(part.state) for part in parts]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers and plain objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)
    elif hasattr(value, "__dict__"):
        yield from _tensors(vars(value))


def _place(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of some tensors, each place in memory once."""
    sizes: dict[int, int] = {}
    for tensor in tensors:
        if tensor.numel():
            size = tensor.numel() * tensor.element_size()
            sizes[_place(tensor)] = max(size, sizes.get(_place(tensor), 0))
    return sum(sizes.values())
