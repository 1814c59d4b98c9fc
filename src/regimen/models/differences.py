"""How far results are from those they should equal."""

from __future__ import annotations

from torch import Tensor


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference as a share of the largest of ``theirs``; NaN where either has one."""
    scale = float(theirs.abs().max()) or 1.0
    return float((ours - theirs).abs().max()) / scale
