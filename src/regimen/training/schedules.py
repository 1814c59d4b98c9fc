"""Learning-rate schedules as pure functions of progress in 0..1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule: linear warm-up over ``warmup`` of the run, then ``kind``.

    ``decay`` is the share of the run that ``wsd`` spends decaying; ``floor`` is the final factor.
    """

    kind: str = "wsd"
    warmup: float = 0.03
    decay: float = 0.3
    floor: float = 0.0

    def factor(self, progress: float) -> float:
        """The factor of the peak learning rate at ``progress`` of the run."""
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return progress / self.warmup
        rest = (progress - self.warmup) / max(1.0 - self.warmup, 1e-12)
        return self.floor + (1.0 - self.floor) * SCHEDULES[self.kind](rest, self.decay)


def _wsd(rest: float, decay: float) -> float:
    """Warm-up, stable, then linear decay (Hu et al. 2024)."""
    return 1.0 if decay <= 0 or rest < 1.0 - decay else (1.0 - rest) / decay


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": lambda rest, _: 1.0,
    "linear": lambda rest, _: 1.0 - rest,
    "cosine": lambda rest, _: 0.5 * (1.0 + math.cos(math.pi * rest)),
    "wsd": _wsd,
}
