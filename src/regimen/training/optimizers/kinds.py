"""What the table says of an optimizer, and the base of those that are written here."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

Groups = Iterable[dict[str, Any]]
"""Parameter groups as ``parameter_groups`` makes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerKind:
    """One optimizer: how it is made, where it comes from, what it keeps, what it cannot take.

    Args:
        make: the optimizer over groups, with the hyper-parameters of ``defaults``.
        about: what it does, in a line.
        source: the paper.
        defaults: hyper-parameters by name, with their usual values.
        state_bytes: bytes of state for each parameter of a large hidden fp32 matrix, from its rows,
            its columns and the hyper-parameters. With ``turns``, of a matrix that is active.
        limits: what it does not take, or treats otherwise.
        library: what it needs beside torch.
        cuda_only: it refuses parameters that are not on a CUDA device.
        fused: it steps inside the backward pass.
        turns: it trains one block of parameters at a time and freezes the others.
    """

    make: Callable[..., torch.optim.Optimizer]
    about: str
    source: str
    state_bytes: Callable[[int, int, Mapping[str, Any]], float]
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    limits: str = ""
    library: str | None = None
    cuda_only: bool = False
    fused: bool = False
    turns: bool = False

    def __call__(self, groups: Groups, **chosen: Any) -> torch.optim.Optimizer:
        """The optimizer, with these hyper-parameters in place of the usual ones.

        Raises:
            MissingExtraError: its library is not installed.
            TrainingError: it does not work where the parameters are.
            ValueError: a hyper-parameter that it does not have.
        """
        unknown = sorted(chosen.keys() - self.defaults.keys())
        if unknown:
            raise ValueError(f"has no {', '.join(unknown)}; it has {', '.join(self.defaults)}")
        return self.make(groups, **{**self.defaults, **chosen})

    def bytes_of_state(self, rows: int, columns: int, **chosen: Any) -> float:
        """``state_bytes`` with these hyper-parameters in place of the usual ones."""
        return self.state_bytes(rows, columns, {**self.defaults, **chosen})


class ByTensor(torch.optim.Optimizer):
    """An optimizer that steps each tensor by itself, with its state in fp32.

    The learning rate of a group is set by the loop before each step.
    """

    def __init__(self, groups: Groups, **defaults: Any) -> None:
        super().__init__(groups, {"lr": 0.0, "weight_decay": 0.0, **defaults})

    @abstractmethod
    def update(self, group: Mapping[str, Any], parameter: Tensor, grad: Tensor) -> None:
        """Step one parameter, whose gradient may be overwritten."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(group, parameter, parameter.grad)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put the state back in the types that it was kept in.

        torch's own gives every state the type of its parameter, which would round fp32 moments of
        bf16 weights.
        """
        super().load_state_dict(state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        for number, kept in state_dict["state"].items():
            there = parameters[number]
            self.state[there] = {
                name: value.detach().to(there.device, copy=True)
                if isinstance(value, Tensor)
                else value
                for name, value in kept.items()
            }


def decay(group: Mapping[str, Any], parameter: Tensor) -> None:
    """Decoupled weight decay (Loshchilov and Hutter 2017)."""
    if group["weight_decay"]:
        parameter.mul_(1 - group["lr"] * group["weight_decay"])


def adam_direction(
    state: dict[str, Any], grad: Tensor, betas: tuple[float, float], eps: float
) -> Tensor:
    """Adam's direction for a gradient, with its moments and count in ``state``.

    Kingma and Ba 2014, algorithm 1, arXiv 1412.6980. Returns a new fp32 tensor of the gradient's
    shape; ``state`` gets ``step``, ``exp_avg`` and ``exp_avg_sq``.
    """
    if "exp_avg" not in state:
        state["step"] = 0
        state["exp_avg"] = torch.zeros_like(grad, dtype=torch.float32)
        state["exp_avg_sq"] = torch.zeros_like(grad, dtype=torch.float32)
    state["step"] += 1
    first, second = betas
    grad = grad.float()
    mean, square = state["exp_avg"], state["exp_avg_sq"]
    mean.lerp_(grad, 1 - first)
    square.mul_(second).addcmul_(grad, grad, value=1 - second)
    bottom = (square / (1 - second ** state["step"])).sqrt_().add_(eps)
    found: Tensor = torch.div(mean, bottom, out=bottom).div_(1 - first ** state["step"])
    return found
