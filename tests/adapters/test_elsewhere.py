"""Every method of adaptation on an accelerator that computes as the CPU does."""

import copy

import pytest
import torch

from adapters.test_methods import BATCH, SPECS, base
from helpers import pretended
from regimen.adapters.methods import add_adapter
from regimen.models import mixers
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.training.gradients import step_gradients
from regimen.training.options import LoopOptions
from regimen.verifying.subject import wake_adapter, without_noise

OPTIONS = LoopOptions(learning_rate=1e-2)


@pytest.fixture
def there(monkeypatch):
    """Inside a test there is an accelerator; its kernels take no tensors of the CPU."""
    monkeypatch.setattr(mixers, "MIXERS", {})
    with pretended.pretended():
        yield


def step(network):
    losses, gradients = step_gradients(prepare(network), Supervised(), [BATCH], OPTIONS)
    return losses["loss"], {name: gradient.cpu() for name, gradient in gradients.items()}


@pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN")
@pytest.mark.parametrize("name", SPECS)
def test_a_step_has_the_cpus_loss_and_gradients(name, there):
    here = add_adapter(base(), SPECS[name], seed=3)
    wake_adapter(here), without_noise(here)
    away = pretended.move(copy.deepcopy(here))
    expected_loss, expected = step(here)
    loss, found = step(away)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-3, atol=2e-5)
