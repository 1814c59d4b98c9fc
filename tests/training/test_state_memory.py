"""Bytes that last from step to step: pytest tests/training/test_state_memory.py."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from regimen.training.optimizers import OPTIMIZERS
from regimen.training.state_memory import state_memory

FP32 = 4


def stepped(model: nn.Module, name: str = "adamw") -> torch.optim.Optimizer:
    """An optimizer after one step of the weights that are trained."""
    some = [p for p in model.parameters() if p.requires_grad]
    optimizer = OPTIMIZERS[name]([{"params": some, "weight_decay": 0.0}])
    for parameter in some:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def layers() -> nn.Sequential:
    """(10 x 6) and (6 x 4) weights, of which the first is frozen."""
    model = nn.Sequential(nn.Linear(10, 6, bias=False), nn.Linear(6, 4, bias=False))
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(("name", "moments"), [("adamw", 2), ("sgd", 1)])
def test_frozen_weights_have_no_gradient_and_no_moments(name: str, moments: int) -> None:
    model = layers()
    found = state_memory(model, stepped(model, name))
    assert (found.weights, found.trained, found.gradients) == (60 * FP32, 24 * FP32, 24 * FP32)
    # AdamW counts steps in one number for each tensor
    assert 0 <= found.optimizer - moments * 24 * FP32 <= FP32
    assert found.total == 108 * FP32 + found.optimizer


def test_both_parts_of_an_optimizer_count() -> None:
    model = nn.Sequential(nn.Linear(6, 4))
    some = list(model.parameters())
    groups = [
        {"params": [p for p in some if (p.ndim == 2) == decays], "weight_decay": 0.0}
        | {"weight_decay_applies": decays}
        for decays in (True, False)
    ]
    optimizer = OPTIMIZERS["muon"](groups)
    for parameter in some:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    # one buffer of the matrix, two moments and a count of the bias
    assert state_memory(model, optimizer).optimizer == (24 + 2 * 4 + 1) * FP32


def test_tied_weights_count_once_and_buffers_count() -> None:
    model = nn.Module()
    model.embedding, model.head = nn.Embedding(8, 4), nn.Linear(4, 8, bias=False)
    model.head.weight = model.embedding.weight
    model.register_buffer("positions", torch.zeros(5), persistent=False)
    found = state_memory(model, stepped(model))
    assert (found.trained, found.weights) == (32 * FP32, 5 * FP32)


def test_what_is_frozen_in_turn_has_moments_and_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(10, 6, bias=False), nn.Linear(6, 4, bias=False))
    optimizer = stepped(model)
    model[0].requires_grad_(False)
    found = state_memory(model, optimizer)
    assert (found.weights, found.trained, found.gradients) == (0, 84 * FP32, 24 * FP32)
    assert found.optimizer >= 2 * 84 * FP32


def test_scales_of_quantised_weights_count() -> None:
    model = layers()
    plain = state_memory(model, stepped(model)).weights
    inner = SimpleNamespace(absmax=torch.zeros(3), code=torch.zeros(2), name="nested")
    scales = SimpleNamespace(absmax=torch.zeros(7, dtype=torch.uint8), state2=inner, blocks=64)
    model[0].weight.quant_state = scales
    assert state_memory(model, stepped(model)).weights == plain + 7 + 5 * FP32
