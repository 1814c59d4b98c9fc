"""One block of parameters at a time: BAdam (Luo et al. 2024, arXiv 2404.02827)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from regimen.models.buffers import kept_now
from regimen.training.optimizers.kinds import ByTensor, Groups, adam_direction, decay

_IN_TURNS = "trained_in_turns"


def is_trained(parameter: Tensor) -> bool:
    """Whether a training changes a parameter, now or when its turn comes."""
    return parameter.requires_grad or getattr(parameter, _IN_TURNS, False)


class BAdam(ByTensor):
    """AdamW on one decoder layer at a time, algorithm 1; what is in no layer is one block more.

    After ``block_steps`` steps the next block is trained, with moments that begin at 0; those of
    the block before are dropped, and so are its gradients. Blocks come in an order that is drawn
    anew for each pass over them and depends on the number of the pass alone.
    """

    def __init__(
        self, groups: Groups, *, betas: tuple[float, float], eps: float, block_steps: int
    ) -> None:
        super().__init__(groups, betas=betas, eps=eps)
        self.block_steps, self.steps = block_steps, 0
        self._blocks: dict[int, list[Tensor]] = {}
        for group in self.param_groups:
            numbers = group.get("blocks", range(len(group["params"])))
            for number, parameter in zip(numbers, group["params"], strict=True):
                self._blocks.setdefault(number, []).append(parameter)
                setattr(parameter, _IN_TURNS, True)
        self._switch()

    @property
    def active(self) -> int:
        """The number of the block that is trained now."""
        turn = self.steps // self.block_steps
        passes, place = divmod(turn, len(self._blocks))
        order = sorted(self._blocks)
        random.Random(f"blocks {passes}").shuffle(order)
        return order[place]

    def _switch(self) -> None:
        """Freeze all blocks but the active one, and drop what was kept for the others."""
        active, buffers = self.active, kept_now()
        for number, parameters in self._blocks.items():
            for parameter in parameters:
                parameter.requires_grad_(number == active)
                if number != active:
                    self.state.pop(parameter, None)
                    parameter.grad = None
            if buffers is not None and number != active:
                buffers.drop(parameters)

    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """As ``ByTensor``."""
        decay(group, parameter)
        step = adam_direction(self.state[parameter], grad, group["betas"], group["eps"])
        parameter.add_(step.to(parameter.dtype), alpha=-group["lr"])

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of the active block; the last of its steps makes the next one active."""
        super().step()
        self.steps += 1
        if self.steps % self.block_steps == 0:
            active = self._blocks[self.active]
            for parameter in active:  # also where it is the same: there is one block alone
                self.state.pop(parameter, None)
            self._switch()

    def state_dict(self) -> dict[str, Any]:
        """The state of the active block, and how many steps were done."""
        return {**super().state_dict(), "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state back, and make its block the active one."""
        super().load_state_dict(state_dict)
        self.steps = state_dict["steps"]
        self._switch()
