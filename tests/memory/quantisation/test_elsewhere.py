"""Models quantised on an accelerator that computes as the CPU does."""

import copy

import pytest
import torch

from helpers import pretended
from regimen.memory.quantisation.apply import quantise
from regimen.memory.quantisation.grid import Grid
from regimen.memory.quantisation.linear import QuantLinear
from regimen.memory.quantisation.spec import Activations, Awq, Gptq, Rtn, SmoothQuant

FOUR = Grid(4, 16, False)


@pytest.fixture
def there():
    """Inside a test there is an accelerator."""
    with pretended.pretended():
        yield


@pytest.mark.parametrize(
    "spec",
    [
        Rtn(FOUR),
        Gptq(FOUR),
        Gptq(FOUR, act_order=True),
        Awq(FOUR, steps=3),
        SmoothQuant(activations=Activations(8, "tensor", dynamic=False)),
    ],
    ids=lambda spec: type(spec).__name__,
)
def test_codes_and_errors_are_the_cpus(model, windows, spec, there) -> None:
    away = pretended.move(copy.deepcopy(model))
    expected, found = (
        quantise(model, windows, spec, batch=4),
        quantise(away, windows, spec, batch=4),
    )
    assert found.weight_error == pytest.approx(expected.weight_error, rel=1e-4)
    assert found.output_error == pytest.approx(expected.output_error, rel=1e-3)
    layers = {n: m for n, m in away.named_modules() if isinstance(m, QuantLinear)}
    assert layers
    for name, layer in layers.items():
        assert {p.device.type for p in layer.parameters()} == {"cuda"}, name
        torch.testing.assert_close(layer.dense().cpu(), model.get_submodule(name).dense())
