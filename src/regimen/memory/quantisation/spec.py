"""What is to be done to a model: method, grid of the weights, numbers of the activations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regimen.memory.quantisation.grid import Grid

Granularity = Literal["tensor", "token", "group"]


@dataclass(frozen=True, slots=True)
class Activations:
    """How the inputs of the linear layers are rounded, symmetric.

    Args:
        bits: of a number.
        granularity: what shares a scale: all inputs of a layer, a token's, a group of a token's.
        group_size: of ``group``.
        dynamic: scales of the numbers as they come; else, for ``tensor`` alone, of the largest that
            the calibration saw.
    """

    bits: int = 8
    granularity: Granularity = "token"
    group_size: int = 128
    dynamic: bool = True


@dataclass(frozen=True, slots=True)
class Rtn:
    """Round to nearest."""

    grid: Grid = field(default_factory=Grid)
    activations: Activations | None = None


@dataclass(frozen=True, slots=True)
class Gptq:
    """GPTQ (Frantar et al. 2022, arXiv 2210.17323); see ``gptq.gptq`` for the fields."""

    grid: Grid = field(default_factory=Grid)
    activations: Activations | None = None
    damping: float = 0.01
    act_order: bool = False


@dataclass(frozen=True, slots=True)
class Awq:
    """AWQ (Lin et al. 2023, arXiv 2306.00978): ``steps`` values of alpha from 0 to below 1."""

    grid: Grid = field(default_factory=Grid)
    activations: Activations | None = None
    steps: int = 20


@dataclass(frozen=True, slots=True)
class SmoothQuant:
    """SmoothQuant (Xiao et al. 2022, arXiv 2211.10438) with its ``alpha``, then rounding."""

    grid: Grid = field(default_factory=lambda: Grid(8, 0, True))
    activations: Activations | None = field(default_factory=Activations)
    alpha: float = 0.5


Spec = Rtn | Gptq | Awq | SmoothQuant
