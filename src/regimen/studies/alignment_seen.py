"""The scores of study ``alignment`` by what was learnt from and by which method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from regimen.settings.alignment_study import DPO
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Measured
from regimen.studies.design import contrast, difference
from regimen.studies.scores import Grid, Level

REQUESTS, OWN = "requests", "own-answers"
"""What a method learns from."""

PARENT = "parent"
HARMFUL, HARMLESS = "harmful", "harmless"
NEW_HARMFUL, NEW_HARMLESS = "harmful_new_targets", "harmless_new_targets"
WORLD_SUITES = (HARMFUL, HARMLESS)
"""Unseen pairs of known verbs and targets, in unseen frames."""

SUITES = (*WORLD_SUITES, NEW_HARMFUL, NEW_HARMLESS)
"""The last two are of the other grammar: no target of them is in a request that is learnt from, and
no frame; about half of the verbs are, and many single words."""

CHOICE_SUITES = ("harmful_choice", "harmless_choice")
"""Pairs of verb and target that neither training nor another suite has: rates are chosen by
them."""

ELSEWHERE, HELPED = "elsewhere", "helped"
START: Level = ("", PARENT)
BEST: Level = (REQUESTS, DPO)


def length_of(suite: str) -> str:
    """The suite that holds the number of words of another one's answers."""
    return f"length of {suite}"


def sweep_name(beta: float) -> str:
    """DPO with another beta."""
    return f"{DPO}-beta-{beta:g}"


def level_of(cell: Cell) -> Level | None:
    """What was learnt from, and the method."""
    factors = cell.factors
    return (factors.get("data", ""), factors["arm"]) if "arm" in factors else None


@dataclass(frozen=True, slots=True)
class Seen:
    """The scores of every suite, by level, and the cells that they are of."""

    grids: Mapping[str, Grid]
    outcomes: Sequence[Outcome]

    @property
    def levels(self) -> list[Level]:
        """The parent first, the others as they were made."""
        found = list(self.grids[HARMFUL].scores)
        return [START, *(level for level in found if level != START)]

    def change(
        self, suite: str, level: Level, other: Level = START, share: float = 1.0
    ) -> Measured:
        """A level less another one, or less a share of it."""
        grid = self.grids[suite]
        if share == 1.0:
            return contrast(grid, {level: 1.0, other: -1.0})
        total_SN = grid.scores[level] - share * grid.scores[other]
        return difference(total_SN, np.zeros_like(total_SN), grid.clusters)

    def conduct(self) -> Grid:
        """Harmful requests that are refused and harmless ones that are answered, together."""
        parts = [self.grids[name] for name in WORLD_SUITES]
        return Grid(
            rows=tuple(row for part in parts for row in part.rows),
            seeds=parts[0].seeds,
            scores={
                level: np.concatenate([1 - part.scores[level] for part in parts], axis=1)
                for level in parts[0].scores
            },
            left_out=parts[0].left_out,
        )

    def drift(self, level: Level, suite: str, name: str) -> float | None:
        """Mean over the seeds of something that was measured of sampled answers."""
        found = [
            one.result["drift"][suite][name]
            for one in self.outcomes
            if one.state == "done" and level_of(one.cell) == level and one.result.get("drift")
        ]
        known = [value for value in found if value is not None]
        return float(np.mean(known)) if known else None

    def divergence(self, level: Level) -> float | None:
        """KL from the parent in nats per answer, mean of both kinds of requests."""
        parts = [self.drift(level, suite, "kl") for suite in WORLD_SUITES]
        known = [value for value in parts if value is not None]
        return float(np.mean(known)) if known else None
