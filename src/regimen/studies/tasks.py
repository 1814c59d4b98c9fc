"""Study ``tasks``: the number of tasks against the number of instances of each.

Super-NaturalInstructions (arXiv 2204.07705) and FLAN (2109.01652) found that more tasks help
unseen tasks while more instances of a task soon do not. Every cell trains on equally many tokens.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Claim, in_words, summary
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    base_cell,
    baseline_scores,
    changed,
    claim_on,
    grid_of,
    lean,
    mean_json,
    pipeline_cell,
)
from regimen.studies.fits import FEWEST_LEVELS, Fit, fit_levels
from regimen.studies.scores import Grid, cluster_sums

SNI = "Super-NaturalInstructions, arXiv 2204.07705"
FLAN = "FLAN, arXiv 2109.01652"


class TasksStudy(AllAtOnce):
    """Cells: tasks x instances x seeds."""

    question = "How many tasks, and how many instances of each, does the model need?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The baselines, then every combination; the largest numbers of tasks last."""
        made = [base_cell(asked)]
        plain = lean(asked.settings, asked)
        for seed in asked.seeds:
            for tasks in sorted(asked.options["counts"]):
                for instances in sorted(asked.options["instances"]):
                    settings = changed(
                        plain, {"build.tasks": tasks, "build.instances_per_task": instances}
                    )
                    factors = {"tasks": tasks, "instances": instances}
                    made.append(pipeline_cell(factors, seed, settings, asked))
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Curves over the number of tasks, the knee, claims on tasks and on instances."""
        grid = grid_of(outcomes, asked, _level)
        reference = _reference(grid)
        counts = sorted({tasks for tasks, instances in grid.scores if instances == reference})
        claims = [*_task_claims(grid, counts, reference), *_instance_claims(grid, counts)]
        whole = _fit(grid, counts, reference, asked)
        apart = [grid.suite(name) for name in grid.suites] if len(grid.suites) > 1 else []
        fits = [(one.suites[0], one, _fit(one, counts, reference, asked)) for one in apart]
        return Findings(
            verdict=_verdict(whole, claims, counts),
            claims=tuple(claims),
            figures=tuple(
                _figure(name, one, fit, reference)
                for name, one, fit in [*fits, ("all suites", grid, whole)]
            ),
            tables=(_table(grid, dict(baseline_scores(outcomes, asked))),),
            more={"knee": _knee(whole), "curve": _curve(whole)},
        )


def _level(cell: Cell) -> tuple[int, int] | None:
    return (cell.factors["tasks"], cell.factors["instances"]) if cell.factors else None


def _reference(grid: Grid) -> int:
    """The instances per task of the curve: those with most levels, 8 or the most among them."""
    by: Counter[int] = Counter(instances for _, instances in grid.scores)
    return max(by, key=lambda n: (by[n], n == 8, n))


def _task_claims(grid: Grid, counts: Sequence[int], instances: int) -> list[Claim]:
    """More tasks help; the last step helps less than the first, per doubling."""
    if len(counts) < 2:
        return []
    levels = [(count, instances) for count in counts]
    made = claim_on(
        grid,
        {levels[-1]: 1.0, levels[0]: -1.0},
        name="more tasks help",
        text=f"{counts[-1]} tasks are better on unseen tasks than {counts[0]}",
        source=SNI,
        expected="more",
    )
    if len(counts) > FEWEST_LEVELS:
        first = 1 / math.log2(counts[1] / counts[0])
        last = 1 / math.log2(counts[-1] / counts[-2])
        weights = dict.fromkeys(levels, 0.0)
        weights[levels[-1]] += last
        weights[levels[-2]] -= last
        weights[levels[1]] -= first
        weights[levels[0]] += first
        made += claim_on(
            grid,
            weights,
            name="then plateau",
            text=f"a doubling of the tasks from {counts[-2]} on gains less than one from "
            f"{counts[0]} on",
            source=FLAN,
            expected="less",
        )
    return made


def _instance_claims(grid: Grid, counts: Sequence[int]) -> list[Claim]:
    """At the largest number of tasks, more instances gain no more than two points."""
    levels = sorted({n for tasks, n in grid.scores if tasks == counts[-1]})
    if len(levels) < 2:
        return []
    few, many = levels[len(levels) // 2 - 1 if len(levels) > 2 else 0], levels[-1]
    claims = claim_on(
        grid,
        {(counts[-1], many): 1.0, (counts[-1], few): -1.0},
        name="more instances do not",
        text=f"{many} instances of each of {counts[-1]} tasks gain no more than 2 points over "
        f"{few}, for the same tokens",
        source=SNI,
        expected="no more",
    )
    if len(counts) > 1:
        weights = _added(
            {(counts[-1], few): 1.0, (counts[0], few): -1.0},
            {(counts[-1], many): -1.0, (counts[-1], levels[0]): 1.0},
        )
        claims += claim_on(
            grid,
            weights,
            name="tasks before instances",
            text=f"the step from {counts[0]} to {counts[-1]} tasks gains more than the step "
            f"from {levels[0]} to {many} instances",
            source=SNI,
            expected="more",
        )
    return claims


def _added(*weights: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    total: dict[tuple[int, int], float] = {}
    for some in weights:
        for level, weight in some.items():
            total[level] = total.get(level, 0.0) + weight
    return total


def _fit(grid: Grid, counts: Sequence[int], instances: int, asked: Question) -> Fit | None:
    if len(counts) < FEWEST_LEVELS or not grid.rows:
        return None
    sums_LSC, sizes_C = cluster_sums(grid, [(count, instances) for count in counts])
    return fit_levels(counts, sums_LSC, sizes_C, gain=asked.gain)


def _knee(fit: Fit | None) -> dict[str, Any] | None:
    return None if fit is None else asdict(fit.knee)


def _curve(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        "kind": fit.choice.curve.kind,
        "formula": fit.choice.curve.formula,
        "left_out_errors": fit.choice.errors,
    }


def _verdict(fit: Fit | None, claims: Sequence[Claim], counts: Sequence[int]) -> str:
    """The sentence of the study."""
    if len(counts) < 2:
        return f"Only {counts[0]} tasks have a result at every seed. {summary(claims)}."
    gain = next(claim for claim in claims if claim.name == "more tasks help")
    words = f"{counts[0]} to {counts[-1]} tasks: {in_words(gain.measured)} ({gain.verdict})"
    if fit is not None:
        knee = fit.knee
        words += (
            f"; beyond {knee.at:,.0f} tasks [{knee.low:,.0f}, {knee.high:,.0f}] a doubling gains "
            f"less than {100 * knee.gain:.0f} points"
            if knee.reached > 0.5
            else f"; no plateau: up to {counts[-1]} tasks a doubling gains {100 * knee.gain:.0f} "
            "points or more"
        )
    return f"{words}. {summary(claims)}."


def _figure(name: str, grid: Grid, fit: Fit | None, reference: int) -> dict[str, Any]:
    """Dots for seeds, a line for each number of instances, the fit's ribbon and its knee."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for (tasks, instances), scores_SN in sorted(grid.scores.items()):
        entry = {"x": tasks, **mean_json(scores_SN, grid.clusters)}
        lines.setdefault(f"{instances} instances", []).append(entry)
    return {
        "kind": "curve",
        "title": f"Unseen tasks by number of training tasks: {name}",
        "x": "training tasks",
        "lines": lines,
        "fitted": f"{reference} instances",
        "ribbon": list(map(list, fit.ribbon)) if fit else [],
        "curve": _curve(fit),
        "knee": _knee(fit),
    }


def _table(grid: Grid, baselines: Mapping[str, float]) -> dict[str, Any]:
    rows: list[list[Any]] = [
        [tasks, instances, *_numbers(mean_json(scores_SN, grid.clusters))]
        for (tasks, instances), scores_SN in sorted(grid.scores.items())
    ]
    rows += [[system, "", score, None, None, None] for system, score in baselines.items()]
    return {
        "title": "Score on unseen tasks",
        "columns": ["tasks", "instances", "score", "low", "high", "sd of seeds"],
        "rows": rows,
    }


def _numbers(entry: Mapping[str, Any]) -> list[Any]:
    return [entry[name] for name in ("score", "low", "high", "sd")]
