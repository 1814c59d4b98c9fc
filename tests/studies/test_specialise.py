"""From a generalist to one job: pytest tests/studies/test_specialise.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.study_cells import check_cells, items, outcomes, question, verdicts
from regimen.errors import EvaluationError
from regimen.settings.study import SpecialiseStudy as Section
from regimen.studies.cells import Cell
from regimen.studies.specialise import SpecialiseStudy

STUDY = SpecialiseStudy()
TEXT = {"path": "domain.txt"}


def asked_about(domain: bool = True, rows: tuple[int, ...] = (50, 500), **more: Any) -> Any:
    section = Section(
        target={"starter": "tasks", "families": ["calendar"]},
        rows=rows,
        items=3,
        domain_text=TEXT if domain else None,
        domain_tokens=700,
    )
    return question(section.model_dump(mode="json"), **more)


def test_generalists_come_first_and_specialists_start_from_that_of_their_seed() -> None:
    asked = asked_about()
    cells = STUDY.cells(asked)
    check_cells(cells, asked.tokens)
    assert len(cells) == 1 + 3 * (2 + 4)
    by_name = {cell.name: cell for cell in cells}
    for cell in cells:
        if "rows" in cell.factors:
            general, job = (by_name[name] for name in cell.needs)
            assert (general.factors["made"], general.seed) == ("generalist", cell.seed)
            assert job.factors["made"] == "items"
            suites = cell.work["settings"]["evaluate"]["suites"]
            assert [suite["name"] for suite in suites] == ["elsewhere", "job"]


def test_rows_of_the_job_that_are_asked_are_the_same_in_every_cell() -> None:
    cells = STUDY.cells(asked_about())
    builds = [
        cell.work["settings"]["build"]
        for cell in cells
        if cell.factors.get("made") == "items" or cell.factors.get("rows")
    ]
    held_out = [build["held_out"] for build in builds]
    assert all(one == held_out[0] for one in held_out)
    assert held_out[0] == {"seed": 1, "rows_per_task": 4, "items_per_task": 3}
    for build in builds:
        (source,) = build["sources"]
        assert (source["starter"], source["families"]) == ("tasks", ["calendar"])
        assert build["sources"] == builds[0]["sources"]


def test_domain_text_is_read_first_and_costs_tokens_of_its_own() -> None:
    asked = asked_about()
    cells = [cell for cell in STUDY.cells(asked) if cell.factors.get("rows") == 50]
    alone, read = cells[0], cells[1]
    assert (alone.factors["domain"], read.factors["domain"]) == (False, True)
    assert (alone.tokens, read.tokens) == (1000, 1700)
    tune = alone.work["settings"]["tune"]
    assert tune["model"] == {"path": "{place:0}/run/tune/final"}
    reading, answering = read.work["settings"]["tune"]
    assert (reading["objective"], reading["max_tokens"]) == ("language_modelling", 700)
    assert (reading["model"], reading["text"]) == (tune["model"], TEXT)
    assert answering == {name: value for name, value in tune.items() if name != "model"}


def test_the_generalist_of_several_tunings_is_the_last_ones() -> None:
    tune = [{"model": {"path": "base"}}, {"max_steps": 2}]
    asked = asked_about(False)
    asked = replace(asked, settings={**asked.settings, "tune": tune})
    cells = [cell for cell in STUDY.cells(asked) if cell.factors.get("rows") == 50]
    assert cells[0].work["settings"]["tune"]["model"]["path"] == "{place:0}/run/tune-1/final"


ROWS = [
    *items(tasks=1, each=14, suite="job"),
    *items(tasks=14, each=1, suite="elsewhere"),
]


def forgetting(cell: Cell, item: Mapping[str, Any]) -> float | None:
    """More rows gain more on the job and lose more elsewhere; domain text does nothing."""
    rows = cell.factors.get("rows", 0)
    step = {0: 0, 50: 1, 500: 2}[rows]
    return 0.2 + 0.2 * step if item["suite"] == "job" else 0.7 - 0.1 * step


def test_gain_on_the_job_stands_against_loss_elsewhere(tmp_path: Path) -> None:
    asked = asked_about()
    made = outcomes(STUDY.cells(asked), tmp_path, ROWS, forgetting)
    retention = {"retention": {"systems": {"tuned": {"bits_per_byte": 1.5}}}}
    made = [replace(one, result=retention if one.cell.factors.get("rows") else {}) for one in made]
    found = STUDY.findings(asked, made)
    assert verdicts(found) == {
        "tuning on the job helps": "reproduced",
        "more rows help": "reproduced",
        "it costs elsewhere": "reproduced",
        "domain text first helps": "cannot tell",
    }
    # one task has too few clusters, so that its rows are what is sampled
    assert found.claims[0].measured.clusters == 14
    (figure,) = found.figures
    points = {(point["label"], point["series"]): point for point in figure["points"]}
    assert set(points) == {
        (rows, series)
        for rows in ("50 rows", "500 rows")
        for series in ("rows alone", "domain text first")
    }
    most = points["500 rows", "rows alone"]
    assert (most["y"], most["x"]) == pytest.approx((0.4, -0.2), abs=0.02)
    assert most["y_low"] < most["y"] < most["y_high"]
    assert most["bits_per_byte"] == 1.5
    assert found.tables[0]["rows"][0][:2] == [0, "no"]
    assert found.tables[0]["rows"][0][-1] is None
    assert "The largest gain on the job is +4" in found.verdict
    assert "with 500 rows" in found.verdict


def test_levels_that_failed_cost_their_claims_alone(tmp_path: Path) -> None:
    asked = asked_about(seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        if (cell.factors.get("rows"), cell.factors.get("domain")) == (500, False):
            return None
        return forgetting(cell, item)

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, ROWS, score))
    assert set(verdicts(found)) == {"domain text first helps"}
    assert len(found.figures[0]["points"]) == 3
    assert "with 500 rows (domain text first)" in found.verdict


def test_without_the_generalist_nothing_can_be_said(tmp_path: Path) -> None:
    asked = asked_about(seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if cell.factors.get("rows") == 0 else forgetting(cell, item)

    made = outcomes(STUDY.cells(asked), tmp_path, ROWS, score)
    with pytest.raises(EvaluationError, match="compared with its generalist") as caught:
        STUDY.findings(asked, made)
    assert caught.value.slug == "study-no-cells"
