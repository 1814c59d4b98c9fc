"""One process of the cell `head`: a loss over a large vocabulary, forwards and backwards.

    python benchmarks/gpu_head.py WORK OUT '{"side": "regimen"}'

What is timed is a whole forward and backward pass; memory is the peak above hidden states, head and
targets, so that the gradients of both are in it. `products` forms the four products of a pass that
computes logits again, and nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpu_process import Meter, device
from work import SEED, facts_of

LIBRARIES = ("triton", "liger-kernel", "cut-cross-entropy", "regimen")
Given = tuple[Tensor, Tensor, Tensor]
"""Hidden states (N, D), the head (V, D), targets (N,)."""


def regimen_logp(given: Given) -> Tensor:
    """Log-probabilities that a loss is made of: chunks are computed again backwards."""
    return -_reduced(given, {"logp"}).logp_N.mean()


def regimen_nll(given: Given) -> Tensor:
    """Weights known beforehand: gradients of the forward pass."""
    total: Tensor = _reduced(given, {"nll_sum"}).nll_sum
    return total


def _reduced(given: Given, needs: set[str]) -> Any:
    from regimen.models.head import Head, reduce

    hidden, weight, target = given
    rows = torch.arange(len(hidden), device=hidden.device)
    share = torch.full((len(hidden),), 1 / len(hidden), device=hidden.device)
    more = {"weight_N": share, "factor": 1.0} if "nll_sum" in needs else {}
    return reduce(hidden, Head(weight), rows, target, needs, **more)


def plain(given: Given) -> Tensor:
    """All logits at once, torch's own loss."""
    hidden, weight, target = given
    return F.cross_entropy((hidden @ weight.t()).float(), target)


def cut(given: Given, **more: Any) -> Tensor:
    """Apple's kernels, which leave out gradients that they expect to be small."""
    from cut_cross_entropy import linear_cross_entropy

    found: Tensor = linear_cross_entropy(*given, **more)
    return found


def cut_exact(given: Given) -> Tensor:
    """The same with all gradients."""
    return cut(given, filter_eps=None)


def liger(given: Given) -> Tensor:
    """Liger's fused linear cross-entropy."""
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    found: Tensor = liger_fused_linear_cross_entropy(*given)
    return found


LOSSES: Mapping[str, Callable[[Given], Tensor]] = {
    "regimen": regimen_logp,
    "regimen, nll": regimen_nll,
    "torch": plain,
    "cut_cross_entropy": cut,
    "cut_cross_entropy, all gradients": cut_exact,
    "liger": liger,
}


def drawn(facts: Mapping[str, Any]) -> Given:
    """Inputs from a fixed seed; a target is the likeliest token of every other row."""
    rows, (vocabulary, width) = facts["length"], _sizes(facts)
    place = device()
    dtype = torch.bfloat16 if place.type == "cuda" else torch.float32
    draw = torch.Generator(place).manual_seed(SEED)
    weight = torch.empty(vocabulary, width, device=place).normal_(0, 0.02, generator=draw)
    target = torch.randint(vocabulary, (rows,), generator=draw, device=place)
    hidden = torch.randn(rows, width, generator=draw, device=place)
    hidden[::2] = weight[target[::2]] * 50  # some predictions are sure, as a trained model's are
    return (
        hidden.to(dtype).requires_grad_(),
        weight.to(dtype).requires_grad_(),
        target,
    )


def _sizes(facts: Mapping[str, Any]) -> tuple[int, int]:
    return int(facts["model"]["vocab_size"]), int(facts["model"]["hidden_size"])


def once(loss: Callable[[Given], Tensor], given: Given) -> float:
    """A forward and a backward pass; the gradients are dropped before the next."""
    given[0].grad = given[1].grad = None
    total = loss(given)
    total.backward()  # type: ignore[no-untyped-call]
    return float(total.detach())


@torch.no_grad()
def products(given: Given) -> float:
    """Logits twice, and the gradients of both inputs from something of the logits' size."""
    hidden, weight, _ = given
    logits = hidden @ weight.t()
    torch.mm(hidden, weight.t(), out=logits)
    first, second = logits @ weight, logits.t() @ hidden
    del first, second
    return 0.0


def main(work: Path, out: Path, settings: Mapping[str, Any]) -> None:
    """Measure and write."""
    meter, facts, side = Meter(), facts_of(work), settings["side"]
    given = drawn(facts)
    inputs = sum(x.numel() * x.element_size() for x in given)
    run = products if side == "products" else (lambda it: once(LOSSES[side], it))
    warm = 2  # compilation and the choice of kernels are no part of a pass
    for _ in range(warm):
        run(given)
    given[0].grad = given[1].grad = None
    meter.begin()
    for _ in range(int(facts["steps"])):
        meter.step(int(facts["length"]), int(facts["length"]), run(given))
    meter.stop()
    vocabulary, width = _sizes(facts)
    norm = None if given[1].grad is None else float(given[1].grad.float().norm())
    meter.tell(
        out,
        LIBRARIES,
        rows=f"seed {SEED}",
        held={"weights": inputs, "gradients": 0, "optimizer": 0},
        gradient_norm=norm,
        flop=[8.0 * facts["length"] * vocabulary * width] * int(facts["steps"]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
