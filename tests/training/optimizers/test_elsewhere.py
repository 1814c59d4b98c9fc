"""Optimizers on an accelerator that computes as the CPU does."""

import copy

import pytest
import torch

from helpers import pretended
from helpers.small_models import SMALL, make
from regimen.training.optimizers import OPTIMIZERS, parameter_groups

DRAWS = ("apollo", "apollo_mini")
"""They draw with the device's generator, which cannot be pretended."""
OWN = [n for n, kind in OPTIMIZERS.items() if kind.library is None and n not in DRAWS]


@pytest.fixture
def there():
    """Inside a test there is an accelerator."""
    with pretended.pretended():
        yield


def stepped(model, name, steps=3):
    options = {"galore": {"rank": 4, "update_gap": 2}}
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.01), **options.get(name, {}))
    for step in range(steps):
        draw = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * group.get("lr_scale", 1.0)
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=draw)
            if parameter.requires_grad:
                parameter.grad = drawn.to(parameter.device)
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach().cpu() for parameter in model.parameters()]


@pytest.mark.parametrize("name", OWN)
def test_steps_are_the_cpus(name, there):
    model = make("llama", SMALL)
    away = pretended.move(copy.deepcopy(model))
    for found, expected in zip(stepped(away, name), stepped(model, name), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
