"""Tuning that knows of the rounding: gradients go straight through, exports are what was tuned."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from helpers.small_models import SMALL, make
from regimen.memory.quantisation.apply import quantise
from regimen.memory.quantisation.aware import Aware, AwareLinear, exported, make_aware, settle
from regimen.memory.quantisation.files import load_quantised, save_quantised
from regimen.memory.quantisation.grid import ROW, Grid, round_to_nearest
from regimen.memory.quantisation.linear import round_inputs
from regimen.memory.quantisation.spec import Activations, Rtn
from regimen.models.forward import prepare
from regimen.tokens.ragged import Segment, ragged_batch

THREE = Grid(3, 16, True)


class Tokenizer:
    """Writes nothing."""

    def save_pretrained(self, directory):
        """As a tokenizer."""


def hidden(language_model, ids):
    batch = ragged_batch([Segment(row, [0.0] * len(row)) for row in ids.tolist()])
    return language_model.hidden(batch)


def test_the_gradient_is_that_at_the_rounded_weight() -> None:
    draw = torch.Generator().manual_seed(0)
    linear, x = nn.Linear(32, 5), torch.randn(7, 32, generator=draw)
    eight = Activations(8, "token")
    aware = AwareLinear.of(linear, Aware(THREE, eight))
    given = x.clone().requires_grad_(True)
    (aware(given).square().sum()).backward()
    rough = round_to_nearest(linear.weight.detach(), THREE).dense().requires_grad_(True)
    near = round_inputs(x, eight).requires_grad_(True)
    bias = linear.bias.detach()
    torch.nn.functional.linear(near, rough, bias).square().sum().backward()
    torch.testing.assert_close(aware.weight.grad, rough.grad)
    torch.testing.assert_close(given.grad, near.grad)


@pytest.mark.parametrize("grid", [THREE, Grid(2, ROW, False), Grid(4, 16, False)])
def test_flat_batches_compute_as_the_rounded_model(windows, grid) -> None:
    model = make("llama", SMALL)
    rounded = copy.deepcopy(model)
    quantise(rounded, windows, Rtn(grid))
    assert make_aware(model, Aware(grid)) == 14
    ours, theirs = prepare(model), prepare(rounded)
    assert ours.ragged
    assert theirs.ragged
    with torch.no_grad():
        torch.testing.assert_close(
            hidden(ours, windows), hidden(theirs, windows), atol=1e-4, rtol=1e-4
        )


def test_every_weight_learns_and_the_export_is_the_tuned_model(tmp_path, windows) -> None:
    model = make("llama", SMALL)
    make_aware(model, Aware(THREE, dtype=torch.bfloat16))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tuned = prepare(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        out = hidden(tuned, windows)
        loss = (out @ model.lm_head.weight.T).logsumexp(-1).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
    assert moved == before.keys()
    with torch.no_grad():
        expected = hidden(tuned, windows)
    save_quantised(model, Tokenizer(), tmp_path / "a", dtype="float32", layers=exported(model))
    again = prepare(load_quantised(tmp_path / "a"))
    with torch.no_grad():
        torch.testing.assert_close(hidden(again, windows), expected, atol=1e-4, rtol=1e-4)
        # the plain weights of the settled model, too
        assert settle(model) == 14
        torch.testing.assert_close(hidden(tuned, windows), expected)
        plain = make("llama", SMALL)
        plain.load_state_dict(model.state_dict())
        torch.testing.assert_close(hidden(prepare(plain), windows), expected, atol=1e-4, rtol=1e-4)


def test_names_of_the_weights_are_those_of_a_plain_model() -> None:
    model = make("llama", SMALL)
    before = list(model.state_dict())
    make_aware(model, Aware(THREE))
    assert list(model.state_dict()) == before


@pytest.mark.parametrize("grid", [Grid(2, 16, False), Grid(2, 16, True), Grid(3, 16, True)])
def test_at_few_bits_it_beats_rounding_what_was_tuned_plainly(grid) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 16)
    teacher = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 6))
    target = (teacher(x) * 6).argmax(-1)

    def student():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 6))

    def loss(network):
        return nn.functional.cross_entropy(network(x), target)

    def tuned(network):
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.02, 200)
        for _ in range(200):
            optimizer.zero_grad()
            loss(network).backward()
            optimizer.step()
            schedule.step()
        return network

    plain, aware = student(), student()
    for number in (0, 2):
        aware[number] = AwareLinear.of(aware[number], Aware(grid))
    tuned(plain)
    full = float(loss(plain).detach())
    for number in (0, 2):
        weight = plain[number].weight.data
        weight.copy_(round_to_nearest(weight, grid).dense())
    rounded, found = (float(loss(each).detach()) for each in (plain, tuned(aware)))
    assert full < found < 0.95 * rounded
