"""What a training keeps in memory from step to step: weights, gradients, the optimizer's state."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from regimen.models.mapped import mapping_of
from regimen.training.optimizers.fused import FusedBackward
from regimen.training.profiling.memory import bytes_of, optimizer_states, weights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMemory:
    """Bytes of what lasts from step to step; activations come on top.

    Args:
        weights: of the model that no step changes, with buffers and what a quantisation keeps
            beside its codes; without what lies in mapped files.
        trained: weights that the optimizer steps.
        gradients: one for each weight that is trained now, in the weight's own type; where the
            optimizer steps inside the backward pass, those of the largest layer.
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
    own = {parameter.data_ptr() for parameter in stepped}
    return StateMemory(
        weights=bytes_of(
            t for t in weights_of(model) if t.data_ptr() not in own and mapping_of(t) is None
        ),
        trained=bytes_of(stepped),
        gradients=_gradients(optimizer),
        optimizer=optimizer_states(optimizer),
    )


def _gradients(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of the gradients that are there at a time."""
    sizes: dict[int, int] = {}
    for group in optimizer.param_groups:
        numbers = group.get("blocks", range(len(group["params"])))
        if not isinstance(optimizer, FusedBackward):
            numbers = [0] * len(group["params"])
        for number, parameter in zip(numbers, group["params"], strict=True):
            if parameter.requires_grad:
                size = parameter.numel() * parameter.element_size()
                sizes[number] = sizes.get(number, 0) + size
    return max(sizes.values(), default=0)
