"""The works of align.py: DPO and a reward model beside TRL, and shared prompts beside copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from work import MODEL_135M
from works import Size, Work

_SMALL = Size(10, 5, 3, 4, 1, 3, 2, 1, 240.0)
_QUICK = Size(3, 3, 3, 3, 1, 1, 1, 1, 90.0)


def _pairs(name: str, minutes: int) -> Work:
    """A method that learns from pairs whose prompts are 60% of the tokens."""
    return Work(
        name=name,
        minutes=minutes,
        full=_SMALL,
        quick=_QUICK,
        regimen={"batches_per_step": 2},
        rows_per_step=16,
        learning_rate=1e-3,
        aligns=name,
        prompt_share=0.6,
    )


WORKS: dict[str, Work] = {work.name: work for work in (_pairs("dpo", 9), _pairs("reward", 6))}
"""Beside TRL, on the model of `sft_full`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """Pairs whose answers share one prompt, beside the same with a prompt for each answer.

    Args:
        shares: share of the tokens that are prompts', by the name of the lengths; None as drawn.
        steps: of a process, the first of which is not counted.
    """

    name: str
    minutes: int
    shares: dict[str, float | None]
    steps: int
    quick_steps: int
    batches_per_step: int
    work: Work


PREFIX = Prefix(
    name="dpo_shared_prefix",
    minutes=6,
    shares={"HH": None, "80%": 0.8},
    steps=3,
    quick_steps=2,
    batches_per_step=2,
    work=Work(
        name="dpo_shared_prefix",
        minutes=6,
        full=_SMALL,
        quick=_QUICK,
        regimen={},
        model=MODEL_135M,
        rows_per_step=8,
        learning_rate=1e-5,
        aligns="dpo",
    ),
)

NAMES: tuple[str, ...] = (*WORKS, PREFIX.name)


def told(prefix: Prefix) -> dict[str, Any]:
    """The work itself, for the result."""
    return prefix.work.told() | {"shares": prefix.shares}
