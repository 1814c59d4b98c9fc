"""pytest tests/models/test_compiling.py -m slow"""

import shutil
from collections import Counter

import pytest
import torch

from helpers.objective_cases import case, network
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.errors import ModelError
from regimen.models import attention, compiling
from regimen.models.forward import backbone_of, prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.training.gradients import step_gradients
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
def test_compiled_layers_have_the_gradients_of_plain_ones_and_are_compiled_twice(monkeypatch):
    torch._dynamo.reset()
    seen = Counter()

    def backend(graph, _inputs):
        seen.update(["graphs"])
        return graph.forward

    plain = compiling.compile_layers
    monkeypatch.setattr(
        "regimen.models.forward.compile_layers", lambda backbone: plain(backbone, backend=backend)
    )
    rows, objective, _ = case("supervised")
    model = prepare(network(), compiled=True)
    counts = []
    try:
        for part in ([0, 1], [2, 3, 4], [5, 6, 7, 0], [1, 3], [4, 5, 6, 1, 2], [7, 0]):
            batch = ragged_batch(rows.segments(part))
            found = step_gradients(model, objective, [batch], LoopOptions(learning_rate=1.0))
            expected = step_gradients(
                prepare(network()), objective, [batch], LoopOptions(learning_rate=1.0)
            )
            assert found[0] == pytest.approx(expected[0], rel=1e-5)
            for name, gradient in found[1].items():
                torch.testing.assert_close(gradient, expected[1][name], rtol=1e-4, atol=1e-6)
            counts.append(seen["graphs"])
    finally:
        attention.register()
        torch._dynamo.reset()
    assert counts[0] > 0
    assert counts[-1] == counts[-2] <= 2 * counts[0], counts  # for one length, then for all
    shared = ragged_batch([Segment([1, 2, 3], [0.0] * 3), Segment([4, 5], [1.0, 1.0], parent=0)])
    assert model.hidden(shared).shape == (5, 64)


@pytest.fixture
def untouched():
    torch._dynamo.reset()
    yield
    attention.register()
    torch._dynamo.reset()


def trained(model, rows, compiled):
    """The losses and the weights of a few steps."""
    model, losses = prepare(model, compiled=compiled), []
    options = LoopOptions(
        learning_rate=3e-3, tokens_per_batch=24, num_train_epochs=3.0, log_every=1
    )
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    hooks = Hooks(log=lambda _state, told: losses.append(told["loss"]))
    train(model, rows, Supervised(), optimizer, options, hooks)
    return losses, {n: p.detach() for n, p in model.model.named_parameters() if p.requires_grad}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("way", ["full", "lora"])
def test_a_training_with_layers_compiled_by_inductor_is_that_of_plain_ones(way, untouched):
    def fresh():
        model = network()
        if way == "lora":
            model = add_adapter(model, Lora(r=4, dropout=0.0), seed=0)
        return model

    rows, _, _ = case("supervised")
    (expected, weights), (losses, ours) = (trained(fresh(), rows, c) for c in (False, True))
    assert len(losses) > 5
    assert losses == pytest.approx(expected, rel=1e-4)
    for name, weight in weights.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-2, atol=1e-4)


def test_what_cannot_be_compiled_is_refused(monkeypatch, untouched):
    monkeypatch.setattr("regimen.models.forward._refused", lambda base: "it is odd")
    with pytest.raises(ModelError, match="its batches are padded"):
        prepare(network(), compiled=True)
    monkeypatch.undo()
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match=r"no .*, which torch's compiler needs for cpu"):
        prepare(network(), compiled=True)


def test_a_model_without_layers_of_that_name_is_refused():
    with pytest.raises(ModelError, match="layers-not-compiled"):
        compiling.compile_layers(torch.nn.Linear(2, 2))
    assert backbone_of(network()).layers
