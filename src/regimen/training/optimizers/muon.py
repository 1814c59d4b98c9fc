"""Muon: momentum whose updates are orthogonal matrices, with AdamW for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from regimen.models.hardware import bf16_is_fast
from regimen.training.optimizers.adamw import Betas, adamw
from regimen.training.optimizers.groups import is_hidden_matrix

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
TOGETHER = 1 << 20
"""Numbers of the matrices that go together: several copies of them are there at a time."""


def orthogonalised(matrix_BMN: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix of each, roughly: singular values near 1 (B, M, N).

    A quintic Newton-Schulz iteration (Jordan et al. 2024).
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix_BMN.shape[1] > matrix_BMN.shape[2]
    x = matrix_BMN.mT if tall else matrix_BMN
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are orthogonal matrices (Jordan et al. 2024).

    Does what torch's own does, which works in bf16 everywhere and on one matrix at a time; here
    some matrices of a shape go together, and in fp32 where that is faster.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 0.0,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype or (torch.bfloat16 if bf16_is_fast() else torch.float32)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[torch.nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in shapes.items():
                count = max(1, TOGETHER // shape.numel())
                for start in range(0, len(parameters), count):
                    self._step(group, shape, parameters[start : start + count])

    def _step(
        self, group: dict[str, Any], shape: torch.Size, parameters: list[torch.nn.Parameter]
    ) -> None:
        momentum, updates = group["momentum"], []
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            grad, buffer = parameter.grad, state["momentum_buffer"]
            assert grad is not None
            buffer.lerp_(grad, 1 - momentum)
            updates.append(grad.lerp(buffer, momentum).to(self.dtype))
        rate = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
        for parameter, update in zip(
            parameters, orthogonalised(torch.stack(updates)).unbind(), strict=True
        ):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.to(parameter.dtype), alpha=-rate)


class MuonAdamW(torch.optim.Optimizer):
    """Muon for hidden matrices, AdamW for everything else.

    This class only gives the two one list of groups and one state. Muon's learning rate is
    ``MUON_SCALE`` times the run's, because its updates are orthogonal matrices.
    """

    MUON_SCALE = 10.0

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        momentum: float = 0.95,
        betas: Betas = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        matrices: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for group in groups:
            scale = group.get("lr_scale", 1.0)
            of_muon = {"weight_decay": group["weight_decay"], "lr_scale": scale * self.MUON_SCALE}
            of_adamw = {"weight_decay": 0.0, "lr_scale": scale}
            for hidden, settings, into in ((True, of_muon, matrices), (False, of_adamw, rest)):
                some = [
                    parameter
                    for parameter in group["params"]
                    if is_hidden_matrix(group, parameter) == hidden
                ]
                if some:
                    into.append({"params": some, **settings})
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices, momentum=momentum))
        if rest:
            self.parts.append(adamw(rest, betas=betas, eps=eps))
        super().__init__([g for part in self.parts for g in part.param_groups], {})
        # the parts' own group dictionaries, so that a change of ``lr`` reaches them
        self.param_groups = [g for part in self.parts for g in part.param_groups]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of each part."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts, in order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the states of the parts back."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [g for part in self.parts for g in part.param_groups]
