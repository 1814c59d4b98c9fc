"""What the studies of one job share: a generalist for each seed, the job's rows, who is asked what.

Every cell is asked by files of items: those of the job, and those of a generalist's build, which
are the same for every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from regimen.evaluation.statistics import MIN_CLUSTERS
from regimen.studies.cells import LINE, Cell, Outcome
from regimen.studies.design import (
    Question,
    changed,
    contrast,
    first_model,
    pipeline_cell,
)
from regimen.studies.scores import Grid, Level

JOB, ELSEWHERE = "job", "elsewhere"
"""Suites that every cell is asked: the job's rows that are kept from training, and what the
generalist's build holds out."""

ITEMS = f"{LINE}/build/items.parquet"


def job_cell(plain: Mapping[str, Any], asked: Question, items: int) -> Cell:
    """The cell that makes the job's items, so many of each of its tasks."""
    return pipeline_cell(
        {"made": "items"},
        asked.seed,
        changed(job_build(plain, asked, items), {"build.rows": items}),
        asked,
        stages=("build",),
        keep=("items",),
    )


def job_build(plain: Mapping[str, Any], asked: Question, items: int) -> dict[str, Any]:
    """Settings whose raw material is the job's: its held-out rows are those of every cell."""
    build = plain["build"]
    kept = {name: build[name] for name in ("formatting", "curation", "workers") if name in build}
    # one row of each task is validated on
    held_out = {"seed": asked.seed, "rows_per_task": items + 1, "items_per_task": items}
    source = {k: v for k, v in asked.options["target"].items() if v not in (None, "", [], {})}
    return {**plain, "build": {**kept, "lints": False, "sources": [source], "held_out": held_out}}


def asked_files(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that ask the items of the generalist and of the job, the first two needed cells."""
    files = [
        {"format": "items", "name": ELSEWHERE, "path": f"{{place:0}}/{ITEMS}"},
        {"format": "items", "name": JOB, "path": f"{{place:1}}/{ITEMS}"},
    ]
    return changed(settings, {"evaluate.suites": files})


def generalist(
    plain: Mapping[str, Any], asked: Question, seed: int, tokens: int | None = None
) -> Cell:
    """The generalist of a seed; it trains on the study's tokens, or on a number of its own."""
    settings = plain if tokens is None else changed(plain, {"tune.max_tokens": tokens})
    return pipeline_cell(
        {"made": "generalist"},
        seed,
        settings,
        asked,
        stages=("build", "tune"),
        keep=("model", "items"),
        tokens=tokens,
    )


def asked_generalist(
    factors: Mapping[str, Any],
    plain: Mapping[str, Any],
    asked: Question,
    seed: int,
    general: Cell,
    job: Cell,
) -> Cell:
    """The generalist itself, asked what those are asked that start from it."""
    models = {"evaluate.base": first_model(plain), "evaluate.tuned": generalist_model(plain)}
    settings = changed(asked_files(plain), models)
    settings = {name: value for name, value in settings.items() if name == "evaluate"}
    needs = (general.name, job.name)
    return pipeline_cell(factors, seed, settings, asked, stages=("evaluate",), needs=needs)


def generalist_model(plain: Mapping[str, Any]) -> str:
    """The model that the generalist's last tuning made."""
    tune = plain["tune"]
    last = f"tune-{len(tune) - 1}" if isinstance(tune, list) else "tune"
    return f"{{place:0}}/{LINE}/{last}/final"


def by_row(grid: Grid) -> Grid:
    """A job of few tasks is sampled by its rows: each is a cluster of its own."""
    if len(set(grid.clusters)) >= MIN_CLUSTERS:
        return grid
    return replace(grid, rows=tuple(replace(row, cluster=row.item_id) for row in grid.rows))


def bits_per_byte(
    outcomes: Sequence[Outcome], level: Level, level_of: Callable[[Cell], Level | None]
) -> float | None:
    """Mean bits per byte of the retention text over the seeds, where it was measured."""
    found = [
        one.result["retention"]["systems"]["tuned"]["bits_per_byte"]
        for one in outcomes
        if one.state == "done" and level_of(one.cell) == level and one.result.get("retention")
    ]
    return sum(found) / len(found) if found else None


def against(job: Grid, elsewhere: Grid, level: Level, general: Level) -> dict[str, float | None]:
    """Change elsewhere (x) and gain on the job (y) over the generalist, with their intervals."""
    weights = {level: 1.0, general: -1.0}
    gain, change = contrast(job, weights), contrast(elsewhere, weights)
    return {
        "x": change.difference,
        "x_low": change.low,
        "x_high": change.high,
        "y": gain.difference,
        "y_low": gain.low,
        "y_high": gain.high,
    }
