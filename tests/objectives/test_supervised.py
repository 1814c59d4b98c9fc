"""The supervised loss against torch's own cross entropy."""

import pytest
import torch
from torch.nn import functional as F

from regimen.models.head import Head, reduce
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Segment, ragged_batch


@pytest.fixture
def given():
    draw = torch.Generator().manual_seed(0)
    weights = [0.0, 1.0, 0.5, 2.0, 0.0, 0.25]
    batch = ragged_batch([Segment([3, 1, 4, 1, 5, 9], weights), Segment([2, 6, 5], [0, 1, 1])])
    hidden = torch.randn(batch.num_tokens, 8, generator=draw).requires_grad_()
    weight = torch.randn(11, 8, generator=draw).requires_grad_()
    return batch, hidden, weight


def ours(objective, batch, hidden, weight):
    reduced = reduce(
        hidden,
        Head(weight),
        batch.source_row_N,
        batch.target_N,
        objective.needs,
        weight_N=batch.weight_N,
    )
    return objective(batch, reduced)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("z_loss", [0.0, 1e-2])
def test_loss_and_gradients_equal_cross_entropy_of_all_logits(given, smoothing, z_loss):
    batch, hidden, weight = given
    objective = Supervised(smoothing, z_loss)
    out = ours(objective, batch, hidden, weight)
    total = out.components["nll"] / objective.weights(batch)["nll"]
    got = torch.autograd.grad(total, (hidden, weight))
    logits = (hidden @ weight.t())[batch.source_row_N]
    rows = F.cross_entropy(logits, batch.target_N, reduction="none", label_smoothing=smoothing)
    rows = rows + z_loss * logits.logsumexp(-1).square()
    expected = (rows * batch.weight_N).sum() / batch.weight_N.sum()
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(got, torch.autograd.grad(expected, (hidden, weight)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", [Supervised(), Supervised(0.3, 1e-2)])
def test_the_logged_nll_is_without_smoothing_and_z_loss(given, objective):
    batch, hidden, weight = given
    logits = (hidden @ weight.t())[batch.source_row_N]
    plain = (F.cross_entropy(logits, batch.target_N, reduction="none") * batch.weight_N).sum()
    assert ours(objective, *given).metrics["nll"] == pytest.approx(float(plain.detach()), rel=1e-5)
