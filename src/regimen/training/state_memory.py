"""What a training keeps in memory from step to step: weights, gradients, the optimizer's state."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from regimen.training.profiling.memory import bytes_of, optimizer_states, weights_of


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
    own = {parameter.data_ptr() for parameter in stepped}
    return StateMemory(
        weights=bytes_of(t for t in weights_of(model) if t.data_ptr() not in own),
        trained=bytes_of(stepped),
        gradients=sum(p.numel() * p.element_size() for p in stepped if p.requires_grad),
        optimizer=optimizer_states(optimizer),
    )
