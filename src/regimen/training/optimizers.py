"""Optimizers by name, as a visible table of constructors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from regimen.errors import MissingExtraError


def parameter_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Trainable parameters in two groups: matrices decay, vectors and embeddings do not."""
    embeddings = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding)
                  for p in m.parameters(recurse=False)}
    decay, rest = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            flat = parameter.ndim < 2 or id(parameter) in embeddings
            (rest if flat else decay).append(parameter)
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _adamw(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), eps=1e-8, fused=True)


def _adamw_8bit(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise MissingExtraError(
            "8-bit AdamW needs bitsandbytes.", slug="missing-bitsandbytes",
            fix="pip install bitsandbytes",
        ) from error
    optimizer: torch.optim.Optimizer = bnb.optim.AdamW8bit(groups, lr=1e-9, betas=(0.9, 0.95))
    return optimizer


def _sgd(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=0.0, momentum=0.9)


OPTIMIZERS: dict[str, Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "adamw_8bit": _adamw_8bit,
    "sgd": _sgd,
}
