"""Muon: torch's own updates, and matrices whose singular values are near 1."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimen.training.optimizers import Muon, MuonAdamW, muon, orthogonalised

SHAPES = [(8, 8), (12, 5), (5, 12), (8, 8)]


def matrices(seed: int = 0) -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]


def test_steps_equal_those_of_torch() -> None:
    ours, theirs = matrices(), matrices()
    mine = Muon(ours, lr=0.02, weight_decay=0.1, dtype=torch.bfloat16)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)
    for step in range(4):
        for a, b in zip(ours, theirs, strict=True):
            gradient = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            a.grad, b.grad = gradient.clone(), gradient.clone()
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)


@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(2, 9))
def test_an_update_keeps_its_directions_and_loses_their_sizes(seed: int, m: int, n: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(2, m, n, generator=draw, dtype=torch.float64)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    if float((values[:, -1] / values[:, 0]).min()) < 0.05:
        return
    update = orthogonalised(matrix)
    turned = u.mT @ update @ v.mT
    off = turned - torch.diag_embed(torch.diagonal(turned, dim1=1, dim2=2))
    assert float(off.abs().max()) < 1e-9
    assert float(torch.linalg.svdvals(update).min()) > 0.5
    assert float(torch.linalg.svdvals(update).max()) < 1.3


def test_a_matrix_without_gradient_stays() -> None:
    parameters = matrices()
    before = [p.detach().clone() for p in parameters]
    parameters[0].grad = torch.ones(SHAPES[0])
    Muon(parameters, lr=0.1).step()
    moved = [not torch.equal(a, b) for a, b in zip(parameters, before, strict=True)]
    assert moved == [True, False, False, False]


@pytest.mark.parametrize("steps", [1, 3])
def test_the_state_comes_back(steps: int) -> None:
    def run(parameters: list[torch.nn.Parameter], optimizer: MuonAdamW, rounds: range) -> None:
        for i in rounds:
            for p in parameters:
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(i))
            optimizer.step()

    def made(parameters: list[torch.nn.Parameter]) -> MuonAdamW:
        decays = {"weight_decay": 0.1, "weight_decay_applies": True}
        rest = {"weight_decay": 0.0, "weight_decay_applies": False}
        optimizer = MuonAdamW(
            [{"params": parameters[:2], **decays}, {"params": parameters[2:], **rest}]
        )
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        return optimizer

    whole, halves = matrices(), matrices()
    run(whole, made(whole), range(2 * steps))
    first = made(halves)
    run(halves, first, range(steps))
    second = made(halves)
    second.load_state_dict(first.state_dict())
    run(halves, second, range(steps, 2 * steps))
    for a, b in zip(whole, halves, strict=True):
        assert torch.equal(a, b)


def test_few_matrices_at_a_time_are_as_good_as_all(monkeypatch) -> None:
    draw = torch.Generator().manual_seed(0)
    drawn = [
        (torch.randn(6, 4, generator=draw), torch.randn(6, 4, generator=draw)) for _ in "abcde"
    ]
    found = []
    for together in (1 << 22, 50, 1):  # all, two, one
        monkeypatch.setattr(muon, "TOGETHER", together)
        own = [torch.nn.Parameter(weight.clone()) for weight, _ in drawn]
        for matrix, (_, grad) in zip(own, drawn, strict=True):
            matrix.grad = grad.clone()
        muon.Muon(own, lr=0.1, dtype=torch.float32).step()
        found.append(torch.stack([matrix.detach() for matrix in own]))
    assert not torch.equal(found[0][0], drawn[0][0])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])
