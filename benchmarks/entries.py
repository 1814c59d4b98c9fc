"""An entry of a peer's grid, and what entries of all grids have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from work import BETAS, MAX_LENGTH
from works import Work

KEEP_BLOCKS = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
"""glibc gives freed blocks back to the kernel later: what regimen sets from inside."""


@dataclass(frozen=True, slots=True, eq=False)
class Configuration:
    """One way to run a peer: settings for its script, and environment variables.

    ``compared`` says how many of its steps are the same rows in the same arithmetic as regimen's,
    so that the losses must agree: all of them (None), the first, or none.
    """

    name: str
    settings: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    peer: str = "trl"
    script: str = "trl_sft.py"
    compared: int | None = None
    defaults: bool = False

    @property
    def label(self) -> str:
        """The peer and the entry."""
        return f"{self.peer}: {self.name}"


Rows = tuple[str, int, Mapping[str, Any]]
"""A name, rows of a micro-batch, and what else is set."""


def named(name: str, bf16: bool) -> str:
    """An entry's name with the type of its products."""
    return f"{name}, {'bf16' if bf16 else 'fp32'}"


def equal(work: Work) -> dict[str, Any]:
    """The settings of transformers' trainers that make the work equal."""
    return {
        "use_cpu": True,
        "learning_rate": work.learning_rate,
        "lr_scheduler_type": "constant",
        "adam_beta1": BETAS[0],
        "adam_beta2": BETAS[1],
        "max_length": MAX_LENGTH,
        "train_sampling_strategy": "sequential",
    }
