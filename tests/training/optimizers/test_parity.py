"""Each optimizer against its formula, or the library that has it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from regimen.training.optimizers import OPTIMIZERS, adamw
from regimen.training.optimizers.projections import random_projection

RATE, DECAY, STEPS = 0.01, 0.1, 7
SHAPES = [(12, 20), (20, 12), (16, 16)]
WIDE = [(96, 128), (128, 64)]
"""Large enough for state in codes."""


def gradient(shape: tuple[int, ...], step: int) -> Tensor:
    """Of low rank with some noise, as gradients are."""
    draw = torch.Generator().manual_seed(1000 * step + sum(shape))
    low = torch.randn(shape[0], 3, generator=draw) @ torch.randn(3, shape[1], generator=draw)
    return low + 0.1 * torch.randn(shape, generator=draw)


def weight(shape: tuple[int, ...]) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(3)))


def run(make: Callable[..., torch.optim.Optimizer], shape: tuple[int, int]) -> Tensor:
    """A weight after some steps by an optimizer over its group."""
    matrix = weight(shape)
    group = {"params": [matrix], "weight_decay": DECAY, "weight_decay_applies": True}
    optimizer = make([group])
    for step in range(STEPS):
        matrix.grad = gradient(shape, step)
        optimizer.param_groups[0]["lr"] = RATE
        optimizer.step()
    return matrix.detach()


def by_name(name: str, **chosen: Any) -> Callable[..., torch.optim.Optimizer]:
    return lambda groups: OPTIMIZERS[name](groups, **chosen)


def adam(moments: dict[str, Tensor], g: Tensor, step: int, betas: tuple[float, float]) -> Tensor:
    b1, b2 = betas
    moments["m"] = b1 * moments.get("m", torch.zeros_like(g)) + (1 - b1) * g
    moments["v"] = b2 * moments.get("v", torch.zeros_like(g)) + (1 - b2) * g * g
    m, v = moments["m"] / (1 - b1 ** (step + 1)), moments["v"] / (1 - b2 ** (step + 1))
    return m / (v.sqrt() + 1e-8)


@pytest.mark.parametrize("shape", SHAPES)
def test_lion_is_its_algorithm(shape: tuple[int, int]) -> None:
    w, m = weight(shape).detach().double(), torch.zeros(shape, dtype=torch.float64)
    for step in range(STEPS):
        g = gradient(shape, step).double()
        w = w - RATE * ((0.9 * m + 0.1 * g).sign() + DECAY * w)
        m = 0.99 * m + 0.01 * g
    torch.testing.assert_close(run(by_name("lion"), shape).double(), w, atol=1e-6, rtol=1e-6)


def test_lion_is_that_of_bitsandbytes() -> None:
    library = pytest.importorskip("bitsandbytes.optim")
    theirs = run(lambda g: library.Lion32bit(g, lr=RATE, betas=(0.9, 0.99)), (96, 128))
    torch.testing.assert_close(run(by_name("lion"), (96, 128)), theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_galore_is_its_algorithm(shape: tuple[int, int]) -> None:
    rank, gap, scale = 4, 3, 0.25
    w, moments = weight(shape).detach(), {}
    for step in range(STEPS):
        g = gradient(shape, step)
        w = w - RATE * DECAY * w
        if step % gap == 0:
            u, _, vh = torch.linalg.svd(g, full_matrices=False)
            left = shape[0] <= shape[1]
            p = u[:, :rank] if left else vh[:rank].mT
            p = p * p.gather(0, p.abs().argmax(0, keepdim=True)).sign()
        low = p.mT @ g if left else g @ p
        turned = adam(moments, low, step, (0.9, 0.95))
        w = w - RATE * scale * (p @ turned if left else turned @ p.mT)
    ours = by_name("galore", rank=rank, update_gap=gap, scale=scale)
    if gap < STEPS:
        ours_short = by_name("galore", rank=rank, update_gap=STEPS, scale=scale)
        assert not torch.equal(run(ours, shape), run(ours_short, shape))
    torch.testing.assert_close(run(ours, shape), w, atol=0.02 * RATE, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["apollo", "apollo_mini"])
def test_apollo_is_its_algorithm(name: str, shape: tuple[int, int]) -> None:
    chosen: dict[str, Any] = {"update_gap": 3, "scale": 2.0}
    chosen |= {"rank": 4} if name == "apollo" else {}
    rank, left = chosen.get("rank", 1), shape[0] <= shape[1]
    w, moments, before = weight(shape).detach(), {}, None
    for step in range(STEPS):
        g = gradient(shape, step) if left else gradient(shape, step).mT
        p = random_projection((rank, g.shape[0]), 0, step // 3, torch.device("cpu"))
        low = p @ g
        found = adam(moments, low, step, (0.9, 0.95))
        if name == "apollo":
            factor = found.pow(2).sum(0).sqrt() / low.pow(2).sum(0).sqrt()
        else:
            factor = found.pow(2).sum().sqrt() / low.pow(2).sum().sqrt()
        update = g * factor
        norm = update.pow(2).sum().sqrt()
        if before is not None and norm > 1.01 * before:
            update, norm = update * (1.01 * before / norm), 1.01 * before
        before = norm
        w = w - RATE * DECAY * w - RATE * 2.0 * (update if left else update.mT)
    torch.testing.assert_close(run(by_name(name, **chosen), shape), w, atol=1e-5, rtol=1e-4)


def test_a_projection_keeps_lengths_on_average_and_differs_by_place_and_draw() -> None:
    cpu = torch.device("cpu")
    drawn = random_projection((64, 400), 1, 2, cpu)
    assert torch.equal(drawn, random_projection((64, 400), 1, 2, cpu))
    for place, draw in ((2, 2), (1, 3), (2, 1)):
        assert not torch.equal(drawn, random_projection((64, 400), place, draw, cpu))
    vector = torch.ones(400)
    assert float((drawn @ vector).norm() / vector.norm()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("shape", SHAPES)
def test_adafactor_is_its_algorithm(shape: tuple[int, int]) -> None:
    """Algorithm 4 of the paper, with relative step sizes and clipped updates."""
    w = weight(shape).detach().double()
    r, c = torch.zeros(shape[0], 1).double(), torch.zeros(1, shape[1]).double()
    for step in range(1, STEPS + 1):
        g = gradient(shape, step - 1).double()
        size = max(1e-3, float(w.pow(2).mean().sqrt())) * min(RATE, step**-0.5)
        keep = 1 - step**-0.8
        r = keep * r + (1 - keep) * g.pow(2).mean(1, keepdim=True)
        c = keep * c + (1 - keep) * g.pow(2).mean(0, keepdim=True)
        u = g / (r @ c / r.mean()).sqrt()
        u = u / max(1.0, float(u.pow(2).mean().sqrt()))
        w = w - RATE * DECAY * w - size * u
    torch.testing.assert_close(run(by_name("adafactor"), shape).double(), w, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_adalomo_is_adafactor_where_decay_is_not_relative(shape: tuple[int, int]) -> None:
    def without_decay(name: str) -> Tensor:
        def make(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
            return OPTIMIZERS[name]([{**groups[0], "weight_decay": 0.0}])

        return run(make, shape)

    torch.testing.assert_close(
        without_decay("adalomo"), without_decay("adafactor"), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_lomo_is_sgd_without_momentum(shape: tuple[int, int]) -> None:
    w = weight(shape).detach()
    for step in range(STEPS):
        w = w - RATE * DECAY * w - RATE * gradient(shape, step)
    torch.testing.assert_close(run(by_name("lomo"), shape), w, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", WIDE)
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("badam", 1e-4),
        ("adamw_8bit", 0.05),
        ("adamw_8bit_torchao", 0.05),
        ("adamw_4bit_torchao", 0.35),
        ("galore", 1e-4),
        ("apollo", 1e-4),
    ],
)
def test_kin_of_adamw_go_its_way(name: str, share: float, shape: tuple[int, int]) -> None:
    """The root mean square of what differs, as a share of what was moved.

    GaLore and APOLLO of full rank are AdamW.
    """
    if OPTIMIZERS[name].library is not None:
        pytest.importorskip(str(OPTIMIZERS[name].library))
    chosen = {"rank": 128} if name in ("galore", "apollo") else {}
    moved = run(by_name("adamw"), shape) - weight(shape).detach()
    apart = run(by_name(name, **chosen), shape) - weight(shape).detach() - moved
    assert float(apart.norm() / moved.norm()) < share
    if "bit" in name:  # they do keep their moments in codes
        assert float(apart.norm() / moved.norm()) > 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")
@pytest.mark.parametrize("name", ["adamw_8bit_torchao", "adamw_4bit_torchao"])
def test_a_compiled_step_is_the_step_as_it_is_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchao")
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    plain = run(by_name(name), (96, 128))
    stances: list[str] = []
    stance = torch.compiler.set_stance
    monkeypatch.setattr(adamw, "COMPILED_FROM", 0)
    monkeypatch.setattr(
        torch.compiler, "set_stance", lambda name: stances.append(name) or stance(name)
    )
    compiled = run(by_name(name), (96, 128))
    moved = plain - weight((96, 128)).detach()
    # a rounding that falls the other way moves a code by one
    assert float((compiled - plain).norm() / moved.norm()) < 0.02
    assert stances == ["default"] * STEPS
