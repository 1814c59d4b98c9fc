"""pytest tests/training/profiling/test_rates.py"""

import pytest
import torch

from regimen.models.arithmetic import KINDS
from regimen.training.profiling import rates
from regimen.training.profiling.rates import product_rate


@pytest.mark.parametrize("kind", KINDS)
def test_operands_have_the_shapes_of_a_layer(kind):
    first, second, _ = rates._operands((kind, 3, 5, 7), torch.float32)
    expected = {"forward": (3, 7), "input gradient": (3, 5), "weight gradient": (7, 5)}
    assert tuple((first @ second).shape) == expected[kind]


def test_a_rate_is_all_operations_over_all_seconds(monkeypatch):
    took = {("forward", 2, 3, 4): 1.0, ("input gradient", 2, 3, 4): 3.0}
    monkeypatch.setattr(rates, "_time", lambda product, _: took[product])
    found = product_rate(dict.fromkeys(took, 2), torch.float32)
    assert found.seconds == 8.0
    assert found.flop_per_second == 4 * (2 * 2 * 3 * 4) / 8.0
    assert product_rate({}, torch.float32).flop_per_second == 0.0
