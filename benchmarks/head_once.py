"""One process of `head.py`: a loss over the vocabulary, forwards and backwards, and its memory.

    python benchmarks/head_once.py WORK OUT '{"side": "regimen", "work": "sft", "vocabulary": 8192}'

What is measured is the peak resident memory above the hidden states, the head and the gradients of
both, over two micro-batches of one step: the second adds its gradients to those of the first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from measure import peak_bytes, reset_peak, resident_bytes
from regimen.models.buffers import kept_buffers
from regimen.models.hardware import set_up
from regimen.models.head import Head, reduce

MICRO_BATCHES = 2
Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def regimen_sft(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, share_N: Tensor) -> Tensor:
    """Weights are known, and what the sum is multiplied with: gradients of the forward pass."""
    found = reduce(
        hidden_ND,
        Head(weight_VD),
        torch.arange(len(hidden_ND)),
        target_N,
        {"nll_sum"},
        weight_N=share_N,
        factor=1.0,
    )
    assert found.nll_sum is not None
    return found.nll_sum


def regimen_logp(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, share_N: Tensor) -> Tensor:
    """Log-probabilities that something else is made of: chunks are computed again backwards."""
    rows = torch.arange(len(hidden_ND))
    found = reduce(hidden_ND, Head(weight_VD), rows, target_N, {"logp"})
    assert found.logp_N is not None
    return -(found.logp_N * share_N).sum()


def plain_sft(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, share_N: Tensor) -> Tensor:
    """All logits at once, torch's own loss."""
    return (F.cross_entropy(hidden_ND @ weight_VD.t(), target_N, reduction="none") * share_N).sum()


def plain_logp(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor, share_N: Tensor) -> Tensor:
    """All logits at once, and the log-probabilities of the targets."""
    logp_NV = (hidden_ND @ weight_VD.t()).log_softmax(-1)
    return -(logp_NV.gather(1, target_N[:, None])[:, 0] * share_N).sum()


LOSSES: dict[tuple[str, str], Loss] = {
    ("regimen", "sft"): regimen_sft,
    ("regimen", "logp"): regimen_logp,
    ("plain", "sft"): plain_sft,
    ("plain", "logp"): plain_logp,
}


def tensors(rows: int, width: int, vocabulary: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden states, head, targets and the weight of each; drawn from seed 0."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, width, generator=draw)
    weight = torch.empty(vocabulary, width).normal_(0, 0.02, generator=draw)
    target = torch.randint(vocabulary, (rows,), generator=draw)
    return hidden.requires_grad_(), weight.requires_grad_(), target, torch.full((rows,), 1 / rows)


def step(loss: Loss, given: tuple[Tensor, Tensor, Tensor, Tensor], *, kept: bool) -> float:
    """Two micro-batches into ``.grad``, under the blocks that training keeps."""
    value = 0.0
    with kept_buffers() if kept else nullcontext():
        for _ in range(MICRO_BATCHES):
            total = loss(*given)
            total.backward()
            value = float(total.detach())
            del total
    return value


def main(out: Path, settings: Mapping[str, Any]) -> None:
    """Measure and write."""
    side = settings["side"]
    loss = LOSSES[side, settings["work"]]
    if side == "regimen":
        set_up()
    # what the libraries load at their first product is no part of the loss
    step(loss, tensors(64, settings["width"], 512), kept=side == "regimen")
    given = tensors(settings["rows"], settings["width"], settings["vocabulary"])
    before = resident_bytes()
    was_reset = reset_peak()
    value = step(loss, given, kept=side == "regimen")
    peak = peak_bytes()
    result = {
        "imported": before + sum(x.numel() * 4 for x in given[:2]),
        "peak": peak,
        "peak_was_reset": was_reset,
        "loss": value,
        "norm": float(given[1].grad.norm()),  # type: ignore[union-attr]
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("regimen", "torch")},
    }
    out.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[2]), json.loads(sys.argv[3]))
