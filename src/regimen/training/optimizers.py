"""Optimizers by name, as a visible table of constructors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from regimen.errors import MissingExtraError


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay, vectors and embeddings do not."""
    embeddings = {
        id(p)
        for m in model.modules()
        if isinstance(m, torch.nn.Embedding)
        for p in m.parameters(recurse=False)
    }
    decay: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            flat = parameter.ndim < 2 or id(parameter) in embeddings
            (rest if flat else decay).append(parameter)
    groups = [
        {"params": decay, "weight_decay": weight_decay, "weight_decay_applies": True},
        {"params": rest, "weight_decay": 0.0, "weight_decay_applies": False},
    ]
    return [group for group in groups if group["params"]]


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


class MuonAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for hidden matrices, AdamW for everything else.

    Both are torch's own; this class only gives them one list of groups and one state. Muon's
    learning rate is ``MUON_SCALE`` times the run's, because its updates are orthogonal matrices.
    """

    MUON_SCALE = 10.0

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        matrices: list[torch.nn.Parameter] = []
        rest: list[torch.nn.Parameter] = []
        for group in groups:
            for parameter in group["params"]:
                hidden = parameter.ndim == 2 and group["weight_decay_applies"]
                (matrices if hidden else rest).append(parameter)
        decay = max((g["weight_decay"] for g in groups), default=0.0)
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr=0.0, weight_decay=decay))
            self.parts[-1].param_groups[0]["lr_scale"] = self.MUON_SCALE
        if rest:
            self.parts.append(
                torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
            )
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
