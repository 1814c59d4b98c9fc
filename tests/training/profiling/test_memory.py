"""pytest tests/training/profiling/test_memory.py"""

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.models.native import pool
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.profiling.memory import (
    allocated,
    bytes_of,
    follow,
    gradients,
    optimizer_states,
    reset_peak,
    resident,
    resident_peak,
    weights,
)
from regimen.training.profiling.profile import memory_profiler


def stepped(name, model):
    optimizer = OPTIMIZERS[name](parameter_groups(model, 0.0))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return optimizer


def test_weights_are_counted_once_where_they_are_tied():
    model = make("llama tied", MODELS["llama tied"])
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    numbers = sum(p.numel() for p in model.parameters())
    assert numbers == sum(p.numel() for p in model.model.parameters())
    assert weights(model) == 4 * numbers + buffers


@pytest.mark.parametrize(("name", "moments"), [("adamw", 2), ("sgd", 1)])
def test_optimizer_states_and_gradients_are_what_the_formulas_say(name, moments):
    model = make("llama", MODELS["llama"])
    parameters = list(model.parameters())
    numbers = sum(p.numel() for p in parameters)
    optimizer = stepped(name, model)
    counts = 4 * len(parameters) if name == "adamw" else 0  # a step count for each tensor
    assert optimizer_states(optimizer) == 4 * moments * numbers + counts
    assert gradients(parameters) == 4 * numbers


def test_muon_has_one_moment_for_matrices_and_two_for_the_rest():
    model = make("llama", MODELS["llama"])
    embedding = model.get_input_embeddings().weight
    matrices = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
    rest = [p for p in model.parameters() if p.ndim < 2 or p is embedding]
    expected = 4 * sum(p.numel() for p in matrices)
    expected += 8 * sum(p.numel() for p in rest) + 4 * len(rest)
    assert optimizer_states(stepped("muon", model)) == expected


def test_views_share_their_memory():
    whole = torch.zeros(10)
    assert bytes_of([whole, whole[:5], whole.view(2, 5)]) == 40
    assert bytes_of([]) == 0


def test_allocations_are_followed_through_two_micro_batches():
    changes = [
        *((11, 100), (19, 20), (22, 50), (24, -50), (40, -110)),  # the first: 120 to go back
        *((61, 200), (72, 5), (85, 30), (90, -200)),
    ]
    spans = {"forward": [(10, 30), (60, 80)], "head": [(20, 30), (70, 80)]}
    found = follow(reversed(changes), spans)
    assert (found.activations, found.head) == (200, 50)
    assert found.peak == found.early == 10 + 200 + 5 + 30
    late = follow(changes, spans | {"head gradient": [(88, 95)]})
    assert (late.early, late.late, late.peak) == (found.early, 45, found.peak)
    stepped = [*changes, (100, 400), (105, -400)]
    last = follow(stepped, spans | {"head gradient": [(88, 95)], "optimizer": [(99, 110)]})
    assert (last.early, last.late, last.stepping) == (found.early, 45, 445)
    assert last.peak == 445


def test_a_resident_peak_is_at_least_what_is_resident():
    reset_peak()
    assert resident_peak() >= resident() * 0.99 > 0


def test_blocks_of_the_pool_are_seen_as_torchs_own():
    pool.use(returns=True)
    try:
        with memory_profiler() as profiler:
            block = pool.empty((1 << 20,), torch.float32, torch.device("cpu"))
            del block
        assert pool.returns()
    finally:
        pool.stop()
    assert allocated(profiler).peak >= 1 << 22
