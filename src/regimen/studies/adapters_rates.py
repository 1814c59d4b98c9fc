"""The learning rate of every method of study ``adapters``: the best of its grid.

What decides is the mean over seeds of the loss on validation rows; the scores that the study
reports have no part in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from regimen.studies.cells import USE, Cell, Outcome
from regimen.studies.scores import Level

GENERAL: Mapping[str, Any] = {"rows": 0}
"""Factors of the generalist itself, when it is asked."""

GENERALIST: Level = ("generalist", 0)

DIGITS = 4
"""Decimals of a loss within which two rates are alike: those that the table shows."""


def arm_of(cell: Cell) -> Level | None:
    """Method and training rows of a cell that is asked; those of the generalist are 0."""
    factors = cell.factors
    if factors == GENERAL:
        return GENERALIST
    return (factors["method"], factors["rows"]) if "method" in factors else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One learning rate of one method: its cells, and the mean loss where every seed has one."""

    rate: float
    done: tuple[Outcome, ...]
    wanted: int
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The grid of one method on some rows, and the rate that was chosen; None without a result."""

    arm: Level
    grid: tuple[Tried, ...]
    best: Tried | None

    def note(self, tried: Tried) -> str:
        """What the table says of a rate."""
        said = []
        if tried is self.best:
            said.append("chosen")
            rates = [one.rate for one in self.grid]
            if len(rates) > 1 and tried.rate in (rates[0], rates[-1]):
                said.append(f"{'lowest' if tried.rate == rates[0] else 'highest'} of the grid")
            said += [f"as good as {one.rate:g}" for one in self._alike(tried)]
        if len(tried.done) < tried.wanted:
            said.append(f"{tried.wanted - len(tried.done)} of {tried.wanted} cells without result")
        return ", ".join(said)

    @property
    def at_edge(self) -> bool:
        """Whether the best of several rates has no rate on one side of it."""
        return self.best is not None and "of the grid" in self.note(self.best)

    def _alike(self, tried: Tried) -> Iterator[Tried]:
        for one in self.grid:
            others = one is not tried and one.loss is not None and tried.loss is not None
            if others and _rounded(one) == _rounded(tried):
                yield one


def _rounded(tried: Tried) -> float:
    assert tried.loss is not None
    return round(tried.loss, DIGITS)


def choices(outcomes: Sequence[Outcome]) -> list[Choice]:
    """The grid of every method and number of rows, in the order of the cells.

    A rate can be chosen where each seed whose generalist was asked has a result; the lower of two
    whose losses are alike is.
    """
    seeds = {
        one.cell.seed for one in outcomes if one.state == "done" and arm_of(one.cell) == GENERALIST
    }
    grids: dict[Level, dict[float, list[Outcome]]] = {}
    for one in outcomes:
        arm = arm_of(one.cell)
        if arm is not None and arm != GENERALIST:
            grids.setdefault(arm, {}).setdefault(one.cell.factors["rate"], []).append(one)
    return [
        _choice(arm, [_tried(rate, rates[rate], seeds) for rate in sorted(rates)])
        for arm, rates in grids.items()
    ]


def _tried(rate: float, cells: Sequence[Outcome], seeds: set[int]) -> Tried:
    done = tuple(one for one in cells if one.state == "done")
    counted = [one for one in done if one.cell.seed in seeds]
    losses = [float(one.result["validation_loss"]) for one in counted]
    whole = bool(seeds) and len(counted) == len(seeds)
    return Tried(rate=rate, done=done, wanted=len(cells), loss=mean(losses) if whole else None)


def _choice(arm: Level, grid: Sequence[Tried]) -> Choice:
    whole = [one for one in grid if one.loss is not None]
    best = min(whole, key=lambda one: (_rounded(one), one.rate), default=None)
    return Choice(arm=arm, grid=tuple(grid), best=best)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a method takes at its rate: parameters, bytes that last from step to step, the machine.

    Means over seeds. ``state`` has the bytes by part (weights, trained, gradients, optimizer);
    ``peak_gib`` and ``speed`` (tokens per second) are those of the machine as busy as it was.
    """

    parameters: int
    state: Mapping[str, float]
    peak_gib: float
    speed: float

    @property
    def mib(self) -> float:
        """All bytes of the state, in MiB."""
        return sum(self.state.values()) / 2**20


def cost_of(tried: Tried) -> Cost:
    """The cost of the cells of a rate, from their records."""
    use = [json.loads((one.directory / USE).read_text(encoding="utf-8")) for one in tried.done]
    memories = [one.result["memory"] for one in tried.done]
    return Cost(
        parameters=round(mean(one.result["trainable_parameters"] for one in tried.done)),
        state={part: mean(memory[part] for memory in memories) for part in memories[0]},
        peak_gib=mean(float(one["peak_memory_gib"]) for one in use),
        speed=mean(float(one["tokens_per_second"]) for one in use),
    )
