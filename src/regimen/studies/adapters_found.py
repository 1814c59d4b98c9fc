"""What study ``adapters`` makes of its cells: claims, frontiers, sensitivity to the rate, costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.errors import EvaluationError
from regimen.settings.adapters_study import FULL, LORA
from regimen.studies.adapters_rates import (
    GENERALIST,
    Choice,
    Cost,
    Tried,
    arm_of,
    choices,
    cost_of,
    job_of,
    reported,
    results,
)
from regimen.studies.cells import Outcome
from regimen.studies.claims import Claim, Expected, in_words, summary
from regimen.studies.design import Findings, Question, claim_on, grid_of, mean_json
from regimen.studies.one_job import ELSEWHERE, JOB, against, bits_per_byte, by_row
from regimen.studies.scores import Grid, Level

NEAR = 0.15
"""Parameters and memory that differ from LoRA's by less than this share are called equal."""

EQUAL, MEMORY, FEWER, MORE = "equal parameters", "equal memory", "fewer parameters", "more of both"

LORA_PAPER = "LoRA, arXiv 2106.09685"
FORGETS = "LoRA Learns Less and Forgets Less, arXiv 2405.09673"
REGRET = "LoRA Without Regret, Schulman et al. 2025"
QLORA = "QLoRA, arXiv 2305.14314"
DORA = "DoRA, arXiv 2402.09353"
PISSA = "PiSSA, arXiv 2404.02948"

EXPECTED: tuple[tuple[str, str, str, Expected, str, str], ...] = (
    (
        "LoRA keeps up with full tuning",
        "full tuning gains no more than 2 points over LoRA on the job",
        LORA_PAPER,
        "no more",
        FULL,
        LORA,
    ),
    ("LoRA learns less", "LoRA against full tuning on the job", FORGETS, "less", LORA, FULL),
    (
        "all linear layers beat attention alone",
        "LoRA of all linear layers against LoRA of attention, with as many parameters",
        REGRET,
        "more",
        LORA,
        "lora-attention",
    ),
    ("DoRA beats LoRA", "with as many parameters", DORA, "more", "dora", LORA),
    ("PiSSA beats LoRA", "with as many parameters", PISSA, "more", "pissa", LORA),
    (
        "a base in 4 bits keeps up",
        "LoRA gains no more than 2 points over LoRA of a larger rank on a base in 4 bits, which "
        "takes as much memory",
        QLORA,
        "no more",
        LORA,
        "lora-nf4",
    ),
)
"""Claims on the job: what is expected of the first method against the second."""


def findings(asked: Question, outcomes: Sequence[Outcome]) -> Findings:
    """Every method at its best learning rate.

    Raises:
        EvaluationError: ``study-no-cells`` where the generalist or every method has no result.
    """
    found, chosen = choices(outcomes), results(outcomes)
    _check(outcomes, chosen)
    job, elsewhere = _grids(asked, outcomes)
    costs = {arm: cost_of(tried) for arm, tried in chosen.items()}
    many = asked.options["rows"]
    groups = {arm: group_of(cost, costs.get((LORA, many))) for arm, cost in costs.items()}
    claims = _claims(asked, job, elsewhere)
    points = [
        {
            "label": arm[0],
            "series": groups[arm],
            "rows": arm[1],
            **against(job, elsewhere, arm, GENERALIST),
        }
        for arm in chosen
        if arm[1] == many
    ]
    bits = {arm: bits_per_byte(outcomes, arm, arm_of) for arm in (GENERALIST, *chosen)}
    figures = (
        _frontier(points),
        _price(points, costs, job, many),
        *_sensitivity(asked, found, groups),
    )
    return Findings(
        verdict=_verdict(points, claims, found, chosen, many),
        claims=tuple(claims),
        figures=tuple(figure for figure in figures if figure),
        tables=(
            _quality(job, elsewhere, chosen, bits),
            _costs(chosen, costs, groups),
            _memory(chosen, costs),
            _rates(found),
        ),
    )


def _check(outcomes: Sequence[Outcome], chosen: Mapping[Level, Tried]) -> None:
    """There is a generalist to compare with, and something to compare."""
    general = any(one.state == "done" and arm_of(one.cell) == GENERALIST for one in outcomes)
    if general and chosen:
        return
    raise EvaluationError(
        "A method is compared with the generalist that it starts from, and one of the two has no "
        "result.",
        slug="study-no-cells",
        got=f"{'a' if general else 'no'} generalist, {len(chosen)} methods with a result",
        expected="the generalist, and a learning rate of one method or more at the same seeds",
        fix="Read the errors of the cells that failed; the same command goes on.",
    )


def _grids(asked: Question, outcomes: Sequence[Outcome]) -> tuple[Grid, Grid]:
    """Scores on the job and elsewhere, of the generalist and of every method at its rate."""
    whole = grid_of(outcomes, replace(asked, suites=(JOB, ELSEWHERE)), arm_of)
    return by_row(reported(whole.suite(JOB))), whole.suite(ELSEWHERE)


def group_of(cost: Cost, lora: Cost | None) -> str:
    """How a method compares with LoRA, by what was measured and not by what was asked for."""
    if lora is None:
        return "methods"
    parameters, memory = cost.parameters / lora.parameters, cost.mib / lora.mib
    if abs(parameters - 1) <= NEAR:
        return EQUAL
    if parameters < 1:
        return FEWER
    return MEMORY if memory <= 1 + NEAR else MORE


def _claims(asked: Question, job: Grid, elsewhere: Grid) -> list[Claim]:
    many, few = asked.options["rows"], asked.options["few_rows"]
    claims = []
    for name, text, source, expected, one, other in EXPECTED:
        weights = {(one, many): 1.0, (other, many): -1.0}
        claims += claim_on(job, weights, name=name, text=text, source=source, expected=expected)
    claims[2:2] = claim_on(
        elsewhere,
        {(LORA, many): 1.0, (FULL, many): -1.0},
        name="LoRA forgets less",
        text="LoRA against full tuning, on the generalist's own unseen tasks",
        source=FORGETS,
        expected="more",
    )
    claims += claim_on(
        job,
        {(LORA, few): 1.0, (FULL, few): -1.0},
        name="LoRA is ahead with few rows",
        text=f"{few} rows of the job, LoRA against full tuning",
        source="this study",
        expected="more",
    )
    return claims


def _frontier(points: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "kind": "frontier",
        "title": "Gain on the job against change elsewhere, by method",
        "x": "change on other unseen tasks (points)",
        "y": "gain on the job (points)",
        "origin": "generalist",
        "apart": True,
        "points": list(points),
    }


def _price(
    points: Sequence[Mapping[str, Any]], costs: Mapping[Level, Cost], job: Grid, many: int
) -> dict[str, Any]:
    """Quality against memory."""
    priced = []
    for point in points:
        arm = (point["label"], many)
        entry = mean_json(job.scores[arm], job.clusters)
        priced.append(
            {
                "label": point["label"],
                "series": point["series"],
                "x": costs[arm].mib,
                **{name: entry[name] for name in ("score", "low", "high")},
            }
        )
    return {
        "kind": "price",
        "title": "Score on the job by memory of weights, gradients and optimizer",
        "x": "MiB, without activations",
        "points": priced,
    }


def _sensitivity(
    asked: Question, found: Sequence[Choice], groups: Mapping[Level, str]
) -> list[dict[str, Any]]:
    """Scores over learning rates: methods with as many parameters, the others, few rows."""
    many = asked.options["rows"]
    parts: dict[str, list[Choice]] = {}
    for choice in found:
        if choice.arm[1] != many:
            part = f"with {choice.arm[1]:,} rows"
        elif groups.get(choice.arm) == EQUAL:
            part = EQUAL
        else:
            part = "other methods"
        parts.setdefault(part, []).append(choice)
    figures = []
    for part, some in parts.items():
        lines = {choice.arm[0]: _line(choice) for choice in some}
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            figures.append(
                {
                    "kind": "curve",
                    "title": f"Score on the job by learning rate: {part}",
                    "x": "learning rate",
                    "x_format": "~e",
                    "lines": lines,
                }
            )
    return figures


def _line(choice: Choice) -> list[dict[str, Any]]:
    return [
        {"x": tried.rate, **entry} for tried in choice.grid if (entry := _score(tried)) is not None
    ]


def _score(tried: Tried) -> dict[str, Any] | None:
    """Score on all of the job's items at a rate, over the seeds that it has."""
    if not tried.done:
        return None
    job = by_row(job_of(tried.done))
    return mean_json(job.scores[()], job.clusters)


def _verdict(
    points: Sequence[Mapping[str, Any]],
    claims: Sequence[Claim],
    found: Sequence[Choice],
    chosen: Mapping[Level, Tried],
    many: int,
) -> str:
    said = []
    if points:
        best = max(points, key=lambda point: (point["y"], point["x"]))
        said.append(
            f"The largest gain on the job is {100 * best['y']:+.1f} points, by {best['label']} "
            f"({best['series']}), for {100 * best['x']:+.1f} points elsewhere"
        )
    alike = [claim for claim in claims if claim.name == "LoRA learns less"]
    said += [f"LoRA against full tuning: {in_words(claim.measured)}" for claim in alike]
    words = f"{'; '.join(said)}. {summary(claims)}." if said else f"{summary(claims)}."
    edge = [_name(one, many) for one in found if one.at_edge]
    lost = [_name(one, many) for one in found if one.arm not in chosen]
    if edge:
        words += f" Best at an edge of the grid of learning rates: {', '.join(edge)}."
    if lost:
        words += f" Without a result: {', '.join(lost)}."
    return words


def _name(choice: Choice, many: int) -> str:
    name, rows = choice.arm
    return str(name) if rows == many else f"{name} with {rows:,} rows"


def _quality(
    job: Grid,
    elsewhere: Grid,
    chosen: Mapping[Level, Tried],
    bits: Mapping[Level, float | None],
) -> dict[str, Any]:
    rows = []
    for arm in (GENERALIST, *chosen):
        own = mean_json(job.scores[arm], job.clusters)
        other = mean_json(elsewhere.scores[arm], elsewhere.clusters)
        rows.append(
            [
                arm[0],
                arm[1],
                f"{chosen[arm].rate:g}" if arm in chosen else "",
                *(own[name] for name in ("score", "low", "high")),
                *(other[name] for name in ("score", "low", "high")),
                bits[arm],
            ]
        )
    return {
        "title": "The job and everything else, each method at its best learning rate",
        "columns": [
            *("method", "rows", "rate", "job", "low", "high"),
            *("elsewhere", "low", "high", "bits per byte"),
        ],
        "rows": rows,
    }


def _costs(
    chosen: Mapping[Level, Tried], costs: Mapping[Level, Cost], groups: Mapping[Level, str]
) -> dict[str, Any]:
    return {
        "title": "What it takes, beside LoRA",
        "columns": ["method", "rows", "group", "parameters", "MiB", "peak GiB", "tokens/s"],
        "rows": [
            [
                *arm,
                groups[arm],
                costs[arm].parameters,
                round(costs[arm].mib, 2),
                round(costs[arm].peak_gib, 3),
                round(costs[arm].speed),
            ]
            for arm in chosen
        ],
    }


def _memory(chosen: Mapping[Level, Tried], costs: Mapping[Level, Cost]) -> dict[str, Any]:
    parts = ("weights", "trained", "gradients", "optimizer")
    return {
        "title": "MiB that last from step to step",
        "columns": ["method", "rows", "frozen", *parts[1:], "all"],
        "rows": [
            [
                *arm,
                *(round(costs[arm].state[part] / 2**20, 2) for part in parts),
                round(costs[arm].mib, 2),
            ]
            for arm in chosen
        ],
    }


def _rates(found: Sequence[Choice]) -> dict[str, Any]:
    rows: list[list[Any]] = []
    for choice in found:
        for tried in choice.grid:
            entry = _score(tried)
            rows.append(
                [
                    *choice.arm,
                    f"{tried.rate:g}",
                    tried.score,
                    None if entry is None else entry["score"],
                    len(tried.done),
                    choice.note(tried),
                ]
            )
    return {
        "title": "Learning rates, on seeds of their own",
        "columns": ["method", "rows", "rate", "choosing items", "all items", "seeds", "note"],
        "rows": rows,
    }
