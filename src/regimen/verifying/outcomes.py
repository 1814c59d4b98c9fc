"""What a contract found: measurements with their tolerances, or the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from regimen.models.differences import relative_difference

Verdict = Literal["holds", "broken", "not applicable", "not run"]

LOGITS = 1e-4
"""Largest difference of logits, as a share of the largest logit: fp32 sums in another order."""

GRADIENTS = 1e-3
"""Largest difference of a tensor's gradient, as a share of its norm."""

LOSS = 1e-5
"""Difference of losses, as a share of the loss."""

LOGRATIO = 1e-4
"""Nats per token."""

SMALL = 0.01
"""Gradients below this share of the largest norm are measured against that share of it: what is
zero in exact arithmetic is nothing but rounding."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was compared, how far apart it was, and how far it may be.

    ``where`` names the place of the largest difference, if there is one to name.
    """

    compared: str
    difference: float
    tolerance: float
    where: str = ""

    @property
    def holds(self) -> bool:
        """Whether the difference is within the tolerance; one that is no number is not."""
        return self.difference <= self.tolerance


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contract found. ``reason`` says why there is no measurement, or what was special."""

    measurements: tuple[Measurement, ...] = ()
    reason: str = ""
    missing: Verdict = "not run"

    @property
    def verdict(self) -> Verdict:
        """``broken`` if any measurement is; without any, ``not applicable`` or ``not run``."""
        if not self.measurements:
            return self.missing
        return "holds" if all(m.holds for m in self.measurements) else "broken"


def not_applicable(reason: str) -> Outcome:
    """These settings have nothing that the contract is about."""
    return Outcome(reason=reason, missing="not applicable")


def not_run(reason: str) -> Outcome:
    """The contract is about these settings, and could not be measured."""
    return Outcome(reason=reason, missing="not run")


def logit_difference(ours_KV: Tensor, theirs_KV: Tensor) -> float:
    """Largest difference over the columns that both have, as a share of the largest logit.

    PEFT cuts a vocabulary that was padded for speed down to the tokenizer's; no token is lost.
    """
    columns = min(ours_KV.shape[1], theirs_KV.shape[1])
    return relative_difference(ours_KV[:, :columns], theirs_KV[:, :columns])


def loss_difference(ours: float, theirs: float) -> float:
    """Difference as a share of the loss."""
    return abs(ours - theirs) / max(abs(theirs), 1e-6)


def gradient_difference(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]
) -> tuple[float, str]:
    """Largest norm of a tensor's difference as a share of its norm, and the tensor's name.

    A tensor that only one side has is compared with zero. Where all gradients of ``theirs`` are
    zero there is nothing to compare with, and the difference is infinite.
    """
    norms = {name: float(gradient.norm()) for name, gradient in theirs.items()}
    floor = SMALL * max(norms.values(), default=0.0)
    if not floor:
        return math.inf, "all gradients are zero"
    worst, where = 0.0, ""
    for name in sorted(ours.keys() | theirs.keys()):
        if name in ours and name in theirs:
            apart = float((ours[name] - theirs[name]).norm())
        else:
            apart = float((ours[name] if name in ours else theirs[name]).norm())
        share = apart / max(norms.get(name, 0.0), floor)
        if not share <= worst:  # also where it is no number
            worst, where = share, name
        if math.isnan(share):
            break
    return worst, where
