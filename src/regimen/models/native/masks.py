"""Dropout whose masks are known: drawn as torch draws them, and laid over an input.

Compiled where torch's generator is the one that the compiled loop goes on with; torch's own
operators elsewhere, with the same masks.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from regimen.models.native.ops import TYPES, alike, call, compiled


def draw_kept(kept: Tensor, share: float) -> None:
    """Fill a mask on the CPU: True with probability ``share``, from torch's default generator.

    The generator goes on as after ``bernoulli_`` of as many numbers.
    """
    here = kept.device.type == "cpu" and kept.dtype == torch.bool and kept.is_contiguous()
    if here and compiled() and _as_torch():
        _draw(kept, share)
    else:
        kept.bernoulli_(share)


def _draw(kept: Tensor, share: float) -> None:
    state = torch.get_rng_state()
    call("bernoulli", state, share, kept, kept.numel())
    torch.set_rng_state(state)


@cache
def _as_torch() -> bool:
    """Whether the compiled loop draws what torch draws here.

    Builds of torch may draw Bernoulli numbers with another generator. Blocks have 624 words and a
    number takes two, so the sizes end within a block and at an odd place.
    """
    before = torch.get_rng_state()
    try:
        for size in (1, 311, 1000):
            start = torch.get_rng_state()
            ours, theirs = torch.empty(size, dtype=torch.bool), torch.empty(size, dtype=torch.bool)
            _draw(ours, 0.7)
            after = torch.get_rng_state()
            torch.set_rng_state(start)
            theirs.bernoulli_(0.7)
            if not (ours.equal(theirs) and after.equal(torch.get_rng_state())):
                return False
            torch.rand(1)  # one word
        return True
    finally:
        torch.set_rng_state(before)


def thinned(x: Tensor, kept: Tensor, scale: float) -> Tensor:
    """x * kept * scale, in the type of x. ``kept`` is a mask of its shape."""
    return _thin(x, kept, scale, torch.empty_like(x, memory_format=torch.contiguous_format), False)


def add_thinned(total: Tensor, x: Tensor, kept: Tensor, scale: float) -> None:
    """``total`` grows by x * kept * scale."""
    _thin(x, kept, scale, total, True)


def _thin(x: Tensor, kept: Tensor, scale: float, out: Tensor, add: bool) -> Tensor:
    plain = x.is_contiguous() and kept.is_contiguous() and out.is_contiguous()
    if plain and kept.dtype == torch.bool and alike(x, out):
        call("thin", x, TYPES.index(x.dtype), kept, scale, out, int(add), x.numel())
    elif add:
        out.add_(x * kept, alpha=scale)
    else:
        torch.mul(x, kept, out=out).mul_(scale)
    return out
