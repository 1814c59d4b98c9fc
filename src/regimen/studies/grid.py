"""Study ``grid``: any settings of the file, varied; every combination against the first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from regimen.settings.training import LIMITS
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Claim, in_words
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    changed,
    contrast,
    grid_of,
    last_tuning,
    lean,
    mean_json,
    pipeline_cell,
)

BUDGETS = tuple(f"tune.{limit}" for limit in LIMITS)


class GridStudy(AllAtOnce):
    """Cells: every combination of the values x seeds."""

    question = "What do these settings change?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """Every combination; equal tokens, unless the length of training is what is varied."""
        vary = asked.options["vary"]
        plain = lean(asked.settings, asked)
        if set(vary) & set(BUDGETS):
            last_tuning(plain).pop("max_tokens")
        return tuple(
            pipeline_cell(
                dict(zip(vary, values, strict=True)),
                seed,
                changed(plain, dict(zip(vary, values, strict=True))),
                asked,
            )
            for seed in asked.seeds
            for values in product(*vary.values())
        )

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Each combination against the first: is it better?"""
        vary = asked.options["vary"]
        grid = grid_of(outcomes, asked, lambda cell: tuple(map(_key, cell.factors.values())))
        levels = [tuple(map(_key, values)) for values in product(*vary.values())]
        levels = [level for level in levels if level in grid.scores]
        first, *others = levels
        claims = tuple(
            Claim(
                name=_name(vary, level),
                text=f"better than {_name(vary, first)}",
                source="this study",
                expected="more",
                measured=contrast(grid, {level: 1.0, first: -1.0}),
            )
            for level in others
        )
        rows: list[list[Any]] = []
        for level in levels:
            entry = mean_json(grid.scores[level], grid.clusters)
            numbers = [entry[name] for name in ("score", "low", "high", "sd")]
            rows.append([*map(str, level), *numbers])
        table = {
            "title": "Scores by setting",
            "columns": [*vary, "score", "low", "high", "sd of seeds"],
            "rows": rows,
        }
        said = [f"{one.name}: {in_words(one.measured)} ({one.verdict})" for one in claims]
        words = f"Against {_name(vary, first)}: {'; '.join(said)}."
        return Findings(
            verdict=words if said else f"Only {_name(vary, first)} has a result at every seed.",
            claims=claims,
            tables=(table,),
        )


def _key(value: Any) -> Any:
    """A value that can stand in a level: lists and sections as text."""
    return value if isinstance(value, int | float | str | bool | None) else str(value)


def _name(vary: Sequence[str], level: Sequence[Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in zip(vary, level, strict=True))
