"""Study ``specialise``: from a generalist to one job, and what that costs elsewhere.

A generalist is tuned by the file's ``build`` and ``tune``. From it, a specialist is tuned on a
number of the job's rows, with or without reading plain text of the domain first; every tuning
trains on equally many tokens. Gain on unseen rows of the job stands against loss on the
generalist's own unseen tasks, and against bits per byte of the retention text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.errors import EvaluationError
from regimen.settings.training import LIMITS
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Claim, Expected, in_words, summary
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    changed,
    claim_on,
    grid_of,
    last_tuning,
    lean,
    mean_json,
    pipeline_cell,
)
from regimen.studies.one_job import (
    ELSEWHERE,
    JOB,
    against,
    asked_files,
    asked_generalist,
    bits_per_byte,
    by_row,
    generalist,
    generalist_model,
    job_build,
    job_cell,
)
from regimen.studies.scores import Grid, Level

SOURCE = "this study"


class SpecialiseStudy(AllAtOnce):
    """Cells: the job's items, a generalist for each seed, rows x domain text x seeds.

    Who is asked what: :mod:`regimen.studies.one_job`.
    """

    question = "From a generalist to one job: what is gained, and what is lost elsewhere?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The job's items, the generalists, the specialists."""
        plain = lean(asked.settings, asked)
        job = job_cell(plain, asked, asked.options["items"])
        made = [job]
        for seed in asked.seeds:
            general = generalist(plain, asked, seed)
            factors = {"rows": 0, "domain": False}
            made += [general, asked_generalist(factors, plain, asked, seed, general, job)]
            made += [
                _specialist(plain, asked, seed, general, job, rows, domain)
                for domain in _domains(asked)
                for rows in sorted(asked.options["rows"])
            ]
        return tuple(made)

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Gain on the job against loss elsewhere, by rows and domain text."""
        whole = grid_of(outcomes, replace(asked, suites=(JOB, ELSEWHERE)), _level)
        _check(whole)
        job, elsewhere = by_row(whole.suite(JOB)), whole.suite(ELSEWHERE)
        claims = _claims(job, elsewhere)
        points = [
            _point(job, elsewhere, level, outcomes) for level in sorted(job.scores) if level[0]
        ]
        return Findings(
            verdict=_verdict(points, claims),
            claims=tuple(claims),
            figures=(
                {
                    "kind": "frontier",
                    "title": "Gain on the job against change elsewhere",
                    "x": "change on other unseen tasks (points)",
                    "y": "gain on the job (points)",
                    "origin": "generalist",
                    "points": points,
                },
            ),
            tables=(_table(job, elsewhere, outcomes),),
        )


def _check(whole: Grid) -> None:
    """There is a generalist to compare with, and something to compare."""
    if (0, False) in whole.scores and len(whole.scores) > 1:
        return
    raise EvaluationError(
        "A specialist is compared with its generalist, and one of the two has no result.",
        slug="study-no-cells",
        got=f"{len(whole.scores)} levels with a result",
        expected="the generalist and one specialist or more, with the same seeds",
        fix="Read the errors of the cells that failed; the same command goes on.",
    )


def _domains(asked: Question) -> tuple[bool, ...]:
    return (False, True) if asked.options["domain_text"] is not None else (False,)


def _specialist(
    plain: Mapping[str, Any],
    asked: Question,
    seed: int,
    general: Cell,
    job: Cell,
    rows: int,
    domain: bool,
) -> Cell:
    settings = changed(
        asked_files(job_build(plain, asked, asked.options["items"])), {"build.rows": rows}
    )
    tune = {**last_tuning(settings), "model": {"path": generalist_model(plain)}}
    tokens = asked.tokens
    if domain:
        text = asked.options["domain_text"]
        reading = {
            **{name: value for name, value in tune.items() if name not in (*LIMITS, "mask")},
            "objective": "language_modelling",
            "text": {name: value for name, value in text.items() if value is not None},
            "max_tokens": asked.options["domain_tokens"],
        }
        answering = {name: value for name, value in tune.items() if name != "model"}
        settings = changed(settings, {"tune": [reading, answering]})
        tokens += asked.options["domain_tokens"]
    else:
        settings = changed(settings, {"tune": tune})
    return pipeline_cell(
        {"rows": rows, "domain": domain},
        seed,
        settings,
        asked,
        needs=(general.name, job.name),
        tokens=tokens,
    )


def _level(cell: Cell) -> Level | None:
    factors = cell.factors
    return (factors["rows"], factors["domain"]) if "rows" in factors else None


def _claims(job: Grid, elsewhere: Grid) -> list[Claim]:
    rows = sorted({rows for rows, _ in job.scores if rows})
    general, most, least = (0, False), (rows[-1], False), (rows[0], False)

    def claim(name: str, text: str, expected: Expected, grid: Grid, weights: Any) -> list[Claim]:
        return claim_on(grid, weights, name=name, text=text, source=SOURCE, expected=expected)

    claims = [
        *claim(
            "tuning on the job helps",
            f"{rows[-1]} rows of the job against the generalist, on the job's unseen rows",
            "more",
            job,
            {most: 1.0, general: -1.0},
        ),
        *claim(
            "more rows help",
            f"{rows[-1]} rows against {rows[0]}, for the same tokens",
            "more",
            job,
            {most: 1.0, least: -1.0} if most != least else {},
        ),
        *claim(
            "it costs elsewhere",
            f"{rows[-1]} rows of the job against the generalist, on other unseen tasks",
            "less",
            elsewhere,
            {most: 1.0, general: -1.0},
        ),
    ]
    both = [count for count in rows if {(count, True), (count, False)} <= job.scores.keys()]
    if both:
        weights = {(count, True): 1 / len(both) for count in both}
        weights |= {(count, False): -1 / len(both) for count in both}
        text = "on the job, mean over the numbers of rows"
        claims += claim("domain text first helps", text, "more", job, weights)
    return claims


def _point(job: Grid, elsewhere: Grid, level: Level, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Gain on the job and change elsewhere against the generalist of the same seed."""
    return {
        "label": f"{level[0]:,} rows",
        "series": "domain text first" if level[1] else "rows alone",
        "rows": level[0],
        **against(job, elsewhere, level, (0, False)),
        "bits_per_byte": bits_per_byte(outcomes, level, _level),
    }


def _verdict(points: Sequence[Mapping[str, Any]], claims: Sequence[Claim]) -> str:
    best = max(points, key=lambda point: (point["y"], point["x"]))
    gains = [claim for claim in claims if claim.name == "tuning on the job helps"]
    alone = [
        f"; {in_words(one.measured)} with the most rows alone ({one.verdict})" for one in gains
    ]
    return (
        f"The largest gain on the job is {100 * best['y']:+.1f} points, with {best['label']} "
        f"({best['series']}), for {100 * best['x']:+.1f} points elsewhere{''.join(alone)}. "
        f"{summary(claims)}."
    )


def _table(job: Grid, elsewhere: Grid, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    rows = []
    for level in sorted(job.scores):
        own = mean_json(job.scores[level], job.clusters)
        other = mean_json(elsewhere.scores[level], elsewhere.clusters)
        rows.append(
            [
                level[0],
                "yes" if level[1] else "no",
                *(own[name] for name in ("score", "low", "high")),
                *(other[name] for name in ("score", "low", "high")),
                bits_per_byte(outcomes, level, _level),
            ]
        )
    return {
        "title": "The job and everything else",
        "columns": [
            *("rows", "domain text", "job", "low", "high"),
            *("elsewhere", "low", "high", "bits per byte"),
        ],
        "rows": rows,
    }
