"""The learning rate of every method of study ``adapters``: the best of its grid.

What decides is the share of right answers, over seeds and items that the results have no part in.
The loss on validation rows chooses badly: with little data it rises long before answers get worse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from regimen.studies.cells import SCORES, USE, Cell, Outcome
from regimen.studies.one_job import JOB
from regimen.studies.scores import Grid, Level, read_grid

HALVES = 2
"""Items: half of each task's for the choice of rates, half for the results."""

APART = 1_000_003
"""From the file's seed to the first of those that choose: far from those of the study."""

GENERAL: Mapping[str, Any] = {"rows": 0}
"""Factors of the generalist itself, when it is asked."""

GENERALIST: Level = ("generalist", 0)


def arm_of(cell: Cell) -> Level | None:
    """Method and training rows of a cell of the results; those of the generalist are 0."""
    if cell.factors == GENERAL:
        return GENERALIST
    return _arm(cell, "method")


def _arm(cell: Cell, factor: str) -> Level | None:
    factors = cell.factors
    return (factors[factor], factors["rows"]) if factor in factors else None


def deciding(job: Grid) -> Grid:
    """Every other item of each task: those that a rate is chosen by."""
    return job.only_places(_halves(job)[0])


def reported(job: Grid) -> Grid:
    """The items that are left: those of the results."""
    return job.only_places(_halves(job)[1])


def _halves(job: Grid) -> tuple[list[int], list[int]]:
    halves: tuple[list[int], list[int]] = ([], [])
    seen: dict[str, int] = {}
    for place, row in enumerate(job.rows):
        number = seen.get(row.task, 0)
        halves[number % 2].append(place)
        seen[row.task] = number + 1
    return halves


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One learning rate of one method: its cells, and the score where every seed has one."""

    rate: float
    done: tuple[Outcome, ...]
    wanted: int
    score: float | None


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
            if one is not tried and one.score is not None and one.score == tried.score:
                yield one


def choices(outcomes: Sequence[Outcome]) -> list[Choice]:
    """The grid of every method and number of rows, in the order of the cells."""
    return choices_by(outcomes, lambda cell: _arm(cell, "tried"), _right)


def _right(arm: Level, done: Sequence[Outcome]) -> float:
    return float(deciding(job_of(done)).scores[()].mean())


def choices_by(
    outcomes: Sequence[Outcome],
    arm_of: Callable[[Cell], Level | None],
    score: Callable[[Level, Sequence[Outcome]], float],
) -> list[Choice]:
    """The grid of every arm that tries rates, in the order of the cells.

    A rate can be chosen where each seed on which any rate has a result has one; the lower of two
    whose scores are alike is.

    Args:
        outcomes: of all cells; those that try a rate have the factor ``rate``.
        arm_of: the arm that a cell tries a rate of; None for other cells.
        score: of an arm's cells at one rate, one for each seed.
    """
    tried = [one for one in outcomes if arm_of(one.cell) is not None]
    seeds = {one.cell.seed for one in tried if one.state == "done"}
    grids: dict[Level, dict[float, list[Outcome]]] = {}
    for one in tried:
        arm = arm_of(one.cell)
        assert arm is not None
        grids.setdefault(arm, {}).setdefault(one.cell.factors["rate"], []).append(one)
    return [
        _choice(arm, [_tried(arm, rate, rates[rate], seeds, score) for rate in sorted(rates)])
        for arm, rates in grids.items()
    ]


def job_of(done: Sequence[Outcome]) -> Grid:
    """Scores on the job of cells of one method at one rate, by seed."""
    places = {((), one.cell.seed): one.directory / SCORES for one in done}
    return read_grid(places, suites=(JOB,))


def _tried(
    arm: Level,
    rate: float,
    cells: Sequence[Outcome],
    seeds: set[int],
    score: Callable[[Level, Sequence[Outcome]], float],
) -> Tried:
    done = tuple(one for one in cells if one.state == "done")
    whole = bool(seeds) and {one.cell.seed for one in done} == seeds
    found = score(arm, done) if whole else None
    return Tried(rate=rate, done=done, wanted=len(cells), score=found)


def _choice(arm: Level, grid: Sequence[Tried]) -> Choice:
    best = max(
        (one for one in grid if one.score is not None),
        key=lambda one: (one.score, -one.rate),
        default=None,
    )
    return Choice(arm=arm, grid=tuple(grid), best=best)


def results(outcomes: Sequence[Outcome]) -> dict[Level, Tried]:
    """Every method at its rate, on the seeds of the study, where it has a result."""
    found: dict[Level, list[Outcome]] = {}
    for one in outcomes:
        arm = _arm(one.cell, "method")
        if arm is not None:
            found.setdefault(arm, []).append(one)
    return {
        arm: Tried(rate=some[0].cell.factors["rate"], done=done, wanted=len(some), score=None)
        for arm, some in found.items()
        if (done := tuple(one for one in some if one.state == "done"))
    }


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
