"""pytest tests/training/test_elsewhere.py

A step on an accelerator that computes as the CPU does: everything that meets is on one device, and
losses and gradients are the CPU's.
"""

import pytest
import torch

from helpers import pretended
from helpers.objective_cases import NAMES, case
from regimen.memory.activations import Activations, arrange
from regimen.models import mixers
from regimen.tokens.ragged import ragged_batch
from regimen.training.gradients import step_gradients
from regimen.training.options import LoopOptions


@pytest.fixture
def there(monkeypatch):
    """Inside a test there is an accelerator; its kernels take no tensors of the CPU."""
    monkeypatch.setattr(mixers, "MIXERS", {})
    with pretended.pretended():
        yield


def step(rows, objective, model, **options):
    numbers = range(len(rows))
    batches = [ragged_batch(rows.segments(part)) for part in (numbers[:3], numbers[3:])]
    return step_gradients(model, objective, batches, LoopOptions(learning_rate=1e-3, **options))


@pytest.mark.parametrize("kind", ["keep", "selective", "full", "offload"])
def test_what_is_kept_of_a_forward_pass_does_not_change_the_gradients(kind, there):
    rows, objective, model = case("supervised")
    _, expected = step(rows, objective, model)
    rows, objective, model = case("supervised", pretended.move)
    arrange(model.model, Activations(kind=kind))
    model.model.train()
    _, found = step(rows, objective, model)
    for key, gradient in found.items():
        torch.testing.assert_close(gradient.cpu(), expected[key], rtol=1e-3, atol=1e-5)


@pytest.mark.matrix
@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_of_every_objective_are_the_cpus(name, there):
    expected_losses, expected = step(*case(name))
    losses, found = step(*case(name, pretended.move))
    assert losses == pytest.approx(expected_losses, rel=1e-4, abs=1e-6)
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        assert gradient.device.type == "cuda", key
        torch.testing.assert_close(gradient.cpu(), expected[key], rtol=1e-3, atol=1e-5)
