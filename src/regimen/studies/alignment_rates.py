"""The learning rate of every method of study ``alignment``: the best of its grid on a seed apart.

What decides is right conduct on requests of their own: harmful ones refused, harmless ones helped
with. For learning from own answers it is the score on every other item of unseen tasks. Neither
these items nor that seed have a part in the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.studies.adapters_rates import Choice, choices_by, deciding
from regimen.studies.alignment_seen import CHOICE_SUITES, ELSEWHERE, OWN, REQUESTS
from regimen.studies.cells import SCORES, Cell, Outcome
from regimen.studies.design import Question
from regimen.studies.scores import Level, read_grid


def rates_of(asked: Question, name: str) -> list[float]:
    """The grid of a method."""
    return sorted(asked.options["methods"][name]["learning_rates"])


def choices(outcomes: Sequence[Outcome]) -> list[Choice]:
    """The grid of everything that was learnt from and every method, in the order of the cells."""
    return choices_by(outcomes, _tried, _right)


def rate_table(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Every rate that was tried; none where no method has a choice."""
    rows = [
        [*choice.arm, f"{tried.rate:g}", tried.score, choice.note(tried)]
        for choice in choices(outcomes)
        for tried in choice.grid
    ]
    title = "Learning rates on a seed apart, by right conduct or right answers on choosing items"
    columns = ["learnt from", "method", "rate", "right", "note"]
    return [{"title": title, "columns": columns, "rows": rows}] if rows else []


def chosen_rates(asked: Question, outcomes: Sequence[Outcome]) -> Mapping[Level, float]:
    """The rate of every arm that has one to learn with.

    Without outcomes, for the cost, that is the middle of the grid.
    """
    arms = arms_of(asked)
    if not outcomes:
        return {arm: rates[len(rates) // 2] for arm, rates in arms.items()}
    single = {arm: rates[0] for arm, rates in arms.items() if len(rates) == 1}
    found = {one.arm: one.best.rate for one in choices(outcomes) if one.best is not None}
    return {arm: (single | found)[arm] for arm in arms if arm in single or arm in found}


def arms_of(asked: Question) -> dict[Level, list[float]]:
    """What is learnt from, and by which method: the rates to choose from."""
    methods = asked.options["methods"]
    arms = [(REQUESTS, name) for name in methods]
    arms += [(OWN, name) for name in methods if name in asked.options["own_methods"]]
    return {arm: rates_of(asked, arm[1]) for arm in arms}


def _tried(cell: Cell) -> Level | None:
    factors = cell.factors
    return (factors["data"], factors["tried"]) if "tried" in factors else None


def _right(arm: Level, done: Sequence[Outcome]) -> float:
    suites = (ELSEWHERE,) if arm[0] == OWN else CHOICE_SUITES
    places = {((), one.cell.seed): one.directory / SCORES for one in done}
    grid = read_grid(places, suites=suites)
    grid = deciding(grid) if arm[0] == OWN else grid
    return float(grid.scores[()].mean())
