"""Sampling of next ids for many rows at once, with noise from each row's own seed and position.

Exponential clocks race, each at the speed of a probability: first those of blocks of ids, then
those within the block that won, so that few numbers are drawn. What falls outside the nucleus is
drawn again, which leaves the nucleus its probabilities.

Shape letters: R rows, V vocabulary, B blocks, W ids of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from regimen.errors import GenerationError

PATIENCE = 8
"""Draws after which the nucleus is sorted out."""
WIDTH = 128
"""Ids of a block: about the root of a vocabulary."""


def sample(
    logits_RV: Tensor,
    temperatures: Sequence[float],
    top_ps: Sequence[float],
    seeds: Sequence[tuple[int, int]],
) -> list[int]:
    """One id for each row, by nucleus sampling (Holtzman et al. 2020).

    Args:
        logits_RV: fp32; log-probabilities do as well.
        temperatures: above 0.
        top_ps: the nucleus holds the most probable ids, and of these the fewest that reach this
            share; of equal ids the lower comes first. 1 is everything.
        seeds: seed and position of each row; nothing else enters the noise.

    Raises:
        GenerationError: logits are no numbers.
    """
    temperature_R = torch.tensor(temperatures, device=logits_RV.device)
    probability_RV = (logits_RV / temperature_R[:, None]).softmax(-1)
    if bool(probability_RV[:, 0].isnan().any()):
        raise GenerationError(
            "The model gives no probabilities.",
            slug="logits-not-finite",
            got="logits that are no numbers",
            fix="The loss was probably not finite: look at metrics.jsonl, and take an earlier "
            "checkpoint.",
        )
    noise = [torch.Generator().manual_seed(_mixed(*pair)) for pair in seeds]
    found = [-1] * len(seeds)
    left = list(range(len(seeds)))
    for attempt in range(PATIENCE + 1):
        among_RV = probability_RV if len(left) == len(found) else probability_RV[left]
        shares = [top_ps[row] for row in left]
        if attempt == PATIENCE:
            among_RV = _nucleus(among_RV, shares)
        ids_R = _race(among_RV, [noise[row] for row in left])
        inside = _in_nucleus(among_RV, ids_R, shares) if attempt < PATIENCE else [True] * len(left)
        for row, chosen, kept in zip(left, ids_R.tolist(), inside, strict=True):
            if kept:
                found[row] = chosen
        left = [row for row, kept in zip(left, inside, strict=True) if not kept]
        if not left:
            break
    return found


def _mixed(seed: int, position: int) -> int:
    return (seed * 1_000_003 + position) % (1 << 63)


def _race(probability_RV: Tensor, noise: Sequence[torch.Generator]) -> Tensor:
    """Ids with these probabilities: (R,)."""
    rows, vocabulary = probability_RV.shape
    blocks_RBW = F.pad(probability_RV, (0, -vocabulary % WIDTH)).view(rows, -1, WIDTH)
    count = blocks_RBW.shape[1]
    clocks = torch.empty(rows, count + WIDTH)
    for row, generator in enumerate(noise):
        clocks[row].exponential_(generator=generator)
    clocks = clocks.to(probability_RV.device)
    block_R = (blocks_RBW.sum(-1) / clocks[:, :count]).argmax(-1)
    within_RW = blocks_RBW[torch.arange(rows, device=block_R.device), block_R]
    return block_R * WIDTH + (within_RW / clocks[:, count:]).argmax(-1)


def _in_nucleus(probability_RV: Tensor, ids_R: Tensor, top_ps: Sequence[float]) -> list[bool]:
    """Whether what comes before each id, in order of probability, leaves room for it."""
    inside = [True] * len(top_ps)
    for row, share in enumerate(top_ps):
        if share >= 1.0:
            continue
        probability_V, chosen = probability_RV[row], int(ids_R[row])
        own = probability_V[chosen]
        below = float(torch.nextafter(own, torch.zeros_like(own)))
        with_equals = F.threshold(probability_V, below, 0.0).sum()
        inside[row] = bool(with_equals < share)
        if not inside[row]:
            before = F.threshold(probability_V, float(own), 0.0).sum()
            equals = (probability_V[:chosen] == own).sum()
            before = before + equals * own
            inside[row] = bool((before < share) | (before == 0))  # the first is always inside
    return inside


def _nucleus(probability_RV: Tensor, top_ps: Sequence[float]) -> Tensor:
    """The probabilities, 0 outside the nucleus: slow, where it is so small that draws miss it."""
    kept_RV = probability_RV.clone()
    for row, share in enumerate(top_ps):
        ordered, order = probability_RV[row].sort(descending=True, stable=True)
        before = ordered.cumsum(0) - ordered
        kept_RV[row, order[(before >= share) & (before > 0)]] = 0.0
    return kept_RV
