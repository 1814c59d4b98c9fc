"""Study ``formatting``: what a prompt should hold, when the model is tuned and when it is asked.

``encodings``  a model for each encoding, asked in every encoding (arXiv 2204.07705, table 4)
``shots``      the share of training prompts with demonstrations (arXiv 2301.13688)
``templates``  the number of templates of a task: mean and spread (arXiv 2110.08207)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regimen.errors import EvaluationError
from regimen.evaluation.ratios import Floats
from regimen.studies.cells import Cell, Outcome
from regimen.studies.claims import Claim, Expected, summary
from regimen.studies.design import (
    AllAtOnce,
    Findings,
    Question,
    claim_on,
    difference,
    grid_of,
    lean,
    mean_json,
    pipeline_cell,
)
from regimen.studies.formatting_arms import ARMS
from regimen.studies.scores import Grid, by_asking

SNI = "Super-NaturalInstructions, arXiv 2204.07705"
FLAN22 = "Flan Collection, arXiv 2301.13688"
T0 = "T0, arXiv 2110.08207"


class FormattingStudy(AllAtOnce):
    """Cells: encodings, shares and numbers of templates, each x seeds."""

    question = "What belongs into a prompt: definition, demonstrations, explanations, templates?"

    def cells(self, asked: Question) -> tuple[Cell, ...]:
        """The cells of every part that is wanted."""
        plain = lean(asked.settings, asked)
        arms = [arm for part in asked.options["parts"] for arm in ARMS[part](plain, asked.options)]
        return tuple(
            pipeline_cell(factors, seed, settings, asked)
            for seed in asked.seeds
            for factors, settings in arms
        )

    def findings(self, asked: Question, outcomes: Sequence[Outcome]) -> Findings:
        """Claims, tables and figures of every part that has a result.

        Raises:
            EvaluationError: as :func:`~regimen.studies.scores.read_grid`; that nothing can be
                compared only where it is so in every part.
        """
        found, without = [], []
        for part in asked.options["parts"]:
            try:
                found.append(_FOUND[part](asked, outcomes))
            except EvaluationError as error:
                if error.slug != "study-no-cells":
                    raise
                without.append((part, error))
        if not found:
            raise without[0][1]
        claims = tuple(claim for one in found for claim in one.claims)
        said = summary(claims) if claims else "No claim is about these levels"
        return Findings(
            verdict="".join([said, ".", *(f" Without a result: {part}." for part, _ in without)]),
            claims=claims,
            figures=tuple(figure for one in found for figure in one.figures),
            tables=tuple(table for one in found for table in one.tables),
        )


def _grid(asked: Question, outcomes: Sequence[Outcome], part: str, factor: str) -> Grid:
    return grid_of(
        outcomes,
        asked,
        lambda cell: (cell.factors[factor],) if cell.factors.get("part") == part else None,
    )


Diagonal = tuple[str, str]
"""An encoding to tune on and one to ask in."""

_D, _P, _N, _B = "definition", "definition-positive", "definition-negative", "definition-both"
_E, _A, _S = "definition-both-explained", "positive", "definition-steps"

EXPECTED: tuple[tuple[str, str, str, Expected, Diagonal, Diagonal], ...] = (
    (
        "positive demonstrations help",
        "two positive demonstrations beside the definition, tuned and asked alike",
        SNI,
        "more",
        (_P, _P),
        (_D, _D),
    ),
    (
        "more than negative ones",
        "the gain by two positive demonstrations is larger than that by two negative ones",
        SNI,
        "more",
        (_P, _P),
        (_N, _N),
    ),
    (
        "negative ones add nothing to them",
        "two negative demonstrations beside two positive ones gain no more than 2 points",
        SNI,
        "no more",
        (_B, _B),
        (_P, _P),
    ),
    (
        "explanations do not help",
        "explanations of the demonstrations gain no more than 2 points",
        SNI,
        "no more",
        (_E, _E),
        (_B, _B),
    ),
    (
        "steps before the answer help",
        "tuned and asked with the steps that lead to the answer, where a row has some",
        FLAN22,
        "more",
        (_S, _S),
        (_D, _D),
    ),
    (
        "definitions do not teach reading examples",
        "tuned on definitions and asked by examples alone, against tuned on examples",
        SNI,
        "less",
        (_D, _A),
        (_A, _A),
    ),
    (
        "examples do not teach reading definitions",
        "tuned on examples alone and asked by definition, against tuned on definitions",
        SNI,
        "less",
        (_A, _D),
        (_D, _D),
    ),
)
"""Claims on the matrix: what is expected of the first cell against the second."""


def _encodings(asked: Question, outcomes: Sequence[Outcome]) -> Findings:
    grid = by_asking(_grid(asked, outcomes, "encodings", "train"))
    claims = [
        claim
        for name, text, source, expected, one, other in EXPECTED
        for claim in claim_on(
            grid,
            {one: 1, other: -1},
            name=name,
            text=text,
            source=source,
            expected=expected,
        )
    ]
    cells = [
        {"train": train, "test": test, **mean_json(scores, grid.clusters)}
        for (train, test), scores in grid.scores.items()
    ]
    names = [name for name in asked.options["encodings"] if any(c["train"] == name for c in cells)]
    by = {(cell["train"], cell["test"]): cell for cell in cells}
    figure = {
        "kind": "matrix",
        "title": "Unseen tasks by the encoding of training (rows) and of the question (columns)",
        "names": names,
        "cells": cells,
    }
    table = {
        "title": "tuned on (rows) x asked in (columns, by the number of the row)",
        "columns": ["tuned on", *(str(number) for number in range(1, len(names) + 1))],
        "rows": [
            [
                f"{number} {train}",
                *(by[train, test]["score"] if (train, test) in by else None for test in names),
            ]
            for number, train in enumerate(names, start=1)
        ],
    }
    return Findings(verdict="", claims=tuple(claims), figures=(figure,), tables=(table,))


def _shots(asked: Question, outcomes: Sequence[Outcome]) -> Findings:
    grid = by_asking(_grid(asked, outcomes, "shots", "share"))
    shares = sorted({share for share, _ in grid.scores})
    mixed = [share for share in shares if 0 < share < 1]
    claims: list[Claim] = []
    for pure, name in ((0.0, "zero-shot"), (1.0, "few-shot")):
        if pure not in shares or not mixed:
            continue
        for ways, asked_in in (
            (("zero-shot", "few-shot"), "both"),
            (("zero-shot",), "zero-shot"),
            (("few-shot",), "few-shot"),
        ):
            weights = {(share, way): 1 / len(mixed) / len(ways) for share in mixed for way in ways}
            weights |= {(pure, way): -1 / len(ways) for way in ways}
            claims += claim_on(
                grid,
                weights,
                name=f"mixed beats {name} alone, asked {asked_in}",
                text=f"the mean over mixed shares against {name} prompts alone, asked {asked_in}",
                source=FLAN22,
                expected="more",
            )
    lines = {
        f"asked {way}": [
            {"x": share, **mean_json(grid.scores[share, way], grid.clusters)} for share in shares
        ]
        for way in ("zero-shot", "few-shot")
    }
    figure = {
        "kind": "curve",
        "title": "Unseen tasks by the share of training prompts with demonstrations",
        "x": "share of few-shot prompts",
        "linear": True,
        "lines": lines,
        "ribbon": [],
    }
    table = {
        "title": "share of few-shot prompts",
        "columns": ["share", "asked zero-shot", "asked few-shot"],
        "rows": [
            [
                f"{share:.0%}",
                *(float(grid.scores[share, way].mean()) for way in ("zero-shot", "few-shot")),
            ]
            for share in shares
        ],
    }
    return Findings(verdict="", claims=tuple(claims), figures=(figure,), tables=(table,))


def template_spread(grid: Grid) -> dict[Any, Floats]:
    """Standard deviation over the templates of each task, by level: (S, tasks).

    The score of a template is its mean over the rows of the task.
    """
    tasks: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(grid.rows):
        tasks.setdefault(row.task, {}).setdefault(row.template, []).append(place)
    several = {task: own for task, own in tasks.items() if len(own) > 1}
    spreads: dict[Any, Floats] = {}
    for level, values in grid.scores.items():
        columns = [
            np.stack([values[:, places].mean(axis=1) for places in own.values()]).std(axis=0)
            for own in several.values()
        ]
        spreads[level] = np.stack(columns, axis=1) if columns else np.zeros((len(values), 0))
    return spreads


def _templates(asked: Question, outcomes: Sequence[Outcome]) -> Findings:
    grid = _grid(asked, outcomes, "templates", "templates")
    counts = sorted(count for (count,) in grid.scores)
    few, many = counts[0], counts[-1]
    spreads = template_spread(grid)
    tasks = [str(number) for number in range(spreads[few,].shape[1])]
    claims: list[Claim] = []
    if few != many:
        claims += claim_on(
            grid,
            {(many,): 1, (few,): -1},
            name="templates do not raise the mean",
            text=f"{many} templates of a task gain no more than 2 points over {few}",
            source="FLAN, arXiv 2109.01652",
            expected="no more",
        )
    if tasks and few != many:
        measured = difference(spreads[many,], spreads[few,], tasks)
        claims.append(
            Claim(
                name="templates buy robustness",
                text=f"scores differ less between the templates of a task with {many} than with "
                f"{few}",
                source=T0,
                expected="less",
                measured=measured,
            )
        )
    rows = [
        {
            "x": count,
            **mean_json(grid.scores[count,], grid.clusters),
            "spread": float(spreads[count,].mean()) if tasks else None,
        }
        for count in counts
    ]
    figure = {
        "kind": "curve",
        "title": "Unseen tasks by the number of templates of a training task",
        "x": "templates of a task",
        "linear": True,
        "lines": {
            "mean": rows,
            **({"spread over templates": [_spread(row) for row in rows]} if tasks else {}),
        },
        "ribbon": [],
    }
    table = {
        "title": "templates of a task",
        "columns": ["templates", "score", "low", "high", "spread over templates"],
        "rows": [[row["x"], row["score"], row["low"], row["high"], row["spread"]] for row in rows],
    }
    return Findings(verdict="", claims=tuple(claims), figures=(figure,), tables=(table,))


def _spread(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"x": row["x"], "score": row["spread"], "low": None, "high": None, "per_seed": []}


_FOUND = {"encodings": _encodings, "shots": _shots, "templates": _templates}
