"""Optimizers by name, as a visible table of constructors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from regimen.adapters.spec import spec_of
from regimen.errors import MissingExtraError
from regimen.models.hardware import bf16_is_fast


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in groups: matrices decay, vectors and embeddings do not.

    Where the adapter wants another learning rate for some (LoRA+), these have groups of their own.
    """
    spec = spec_of(model)
    rates = {} if spec is None else dict(spec.rates())
    embeddings = {
        id(p)
        for m in model.modules()
        if isinstance(m, torch.nn.Embedding)
        for p in m.parameters(recurse=False)
    }
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and id(parameter) not in embeddings
            rate = next((factor for part, factor in rates.items() if part in name), 1.0)
            group: dict[str, Any] = {
                "params": [],
                "weight_decay": weight_decay if decays else 0.0,
                "weight_decay_applies": decays,
                **({} if rate == 1.0 else {"lr_scale": rate}),
            }
            groups.setdefault((not decays, rate), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _adamw(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8, fused=True)


def _adamw_8bit(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    try:
        from bitsandbytes.optim.adamw import AdamW8bit
    except ImportError as error:
        raise MissingExtraError(
            "8-bit AdamW needs bitsandbytes.",
            slug="missing-bitsandbytes",
            fix="pip install bitsandbytes",
        ) from error
    optimizer: torch.optim.Optimizer = AdamW8bit(  # type: ignore[no-untyped-call]
        groups, lr=1e-9, betas=(0.9, 0.95)
    )
    return optimizer


NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


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
    matrices of a shape go together, and in fp32 where that is faster.
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
                self._step(group, shape, parameters)

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

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
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
                    if (parameter.ndim == 2 and group["weight_decay_applies"]) == hidden
                ]
                if some:
                    into.append({"params": some, **settings})
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices))
        if rest:
            self.parts.append(torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), fused=True))
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


def _sgd(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9)


OPTIMIZERS: dict[str, Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw_8bit": _adamw_8bit,
    "muon": lambda groups: MuonAdamW(list(groups)),
    "sgd": _sgd,
}
