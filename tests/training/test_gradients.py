"""The gradients of a step, as others may ask for them."""

import torch

from helpers.small_models import MODELS, make
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.training.gradients import step_gradients
from regimen.training.options import LoopOptions

IDS = [4, 5, 6, 7, 8, 9]


def test_they_are_those_of_the_mean_and_stay_nowhere():
    network = make("llama tied", MODELS["llama tied"])
    logits = network(input_ids=torch.tensor([IDS])).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(IDS[1:]))
    names = [name for name, _ in network.named_parameters()]
    expected = dict(zip(names, torch.autograd.grad(loss, list(network.parameters())), strict=True))
    model = prepare(network)
    # one sequence as two micro-batches: the first three targets, then the others
    cut = [[0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]
    batches = [ragged_batch([Segment(IDS, weights)]) for weights in cut]
    options = LoopOptions(learning_rate=1.0)
    losses, first = step_gradients(model, Supervised(), batches, options)
    again = step_gradients(model, Supervised(), batches, options)[1]
    assert abs(losses["loss"] - float(loss.detach())) < 1e-5
    assert first.keys() == expected.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)
        assert torch.equal(gradient, again[name])
    assert all(parameter.grad is None for parameter in network.parameters())
