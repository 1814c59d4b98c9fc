"""Tasks against instances: pytest tests/studies/test_tasks.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.study_cells import check_cells, items, outcomes, question, verdicts
from regimen.settings.study import TasksStudy as Section
from regimen.studies.cells import Cell
from regimen.studies.tasks import TasksStudy

STUDY = TasksStudy()
COUNTS = (4, 16, 64, 256)


def asked_about(counts: tuple[int, ...] = COUNTS, instances: tuple[int, ...] = (8,), **more: Any):
    options = Section(counts=counts, instances=instances).model_dump(mode="json")
    return question(options, **more)


def test_every_combination_is_a_cell_and_the_baselines_are_asked_once() -> None:
    asked = asked_about(instances=(2, 8))
    cells = STUDY.cells(asked)
    check_cells(cells, asked.tokens)
    assert len(cells) == 1 + 4 * 2 * 3
    assert dict(cells[0].factors) == {}
    for cell in cells[1:]:
        build = cell.work["settings"]["build"]
        assert build["tasks"] == cell.factors["tasks"]
        assert build["instances_per_task"] == cell.factors["instances"]
        assert build["held_out"]["seed"] == asked.seed


def saturating(cell: Cell, item: Mapping[str, Any]) -> float:
    """A power law in the tasks with its knee inside the levels; instances do nothing."""
    if not cell.factors:
        return 0.05
    return 0.8 - 1.5 * cell.factors["tasks"] ** -0.8


def test_a_saturating_curve_reproduces_what_was_published(tmp_path: Path) -> None:
    asked = asked_about(instances=(2, 8))
    rows = [*items(tasks=15, each=1), *items(tasks=12, each=1, suite="families")]
    made = outcomes(STUDY.cells(asked), tmp_path, rows, saturating)
    found = STUDY.findings(asked, made)
    assert verdicts(found) == {
        "more tasks help": "reproduced",
        "then plateau": "reproduced",
        "more instances do not": "reproduced",
        "tasks before instances": "reproduced",
    }
    gain = next(one for one in found.claims if one.name == "more tasks help").measured
    assert gain.difference == pytest.approx(1.5 * (4**-0.8 - 256**-0.8), abs=0.02)
    knee = found.more["knee"]
    # a doubling from x on gains 1.5 x^-0.8 (1 - 2^-0.8), which is 0.02 at x = 76
    true = (1.5 * (1 - 2**-0.8) / 0.02) ** (1 / 0.8)
    assert knee["low"] <= true <= knee["high"]
    assert found.more["curve"]["kind"] == "power"
    assert "reproduced" in found.verdict
    titles = [figure["title"] for figure in found.figures]
    assert len(titles) == 3
    assert titles[-1].endswith("all suites")
    lines = found.figures[-1]["lines"]
    assert list(lines) == ["2 instances", "8 instances"]
    assert [point["x"] for point in lines["8 instances"]] == list(COUNTS)
    assert found.figures[-1]["fitted"] == "8 instances"


def test_a_straight_line_has_no_plateau_and_instances_that_help_are_told(tmp_path: Path) -> None:
    asked = asked_about(instances=(2, 8))

    def score(cell: Cell, item: Mapping[str, Any]) -> float:
        if not cell.factors:
            return 0.1
        return (
            0.1 + 0.06 * math.log2(cell.factors["tasks"]) + 0.1 * (cell.factors["instances"] == 8)
        )

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(15, 1), score))
    said = verdicts(found)
    assert said["more tasks help"] == "reproduced"
    assert said["then plateau"] == "cannot tell"
    assert said["more instances do not"] == "not reproduced"
    assert said["tasks before instances"] == "reproduced"
    assert found.more["knee"]["reached"] < 0.5
    assert "no plateau" in found.verdict
    assert len(found.figures) == 1


def test_the_table_ends_with_the_baselines(tmp_path: Path) -> None:
    asked = asked_about(counts=(4, 16), seeds=(2,))
    rows = items(tasks=12, each=1)
    made = outcomes(
        STUDY.cells(asked), tmp_path, rows, saturating, 0.0, ("tuned", "base", "base_prompted")
    )
    found = STUDY.findings(asked, made)
    (table,) = found.tables
    assert [row[:2] for row in table["rows"]] == [
        [4, 8],
        [16, 8],
        ["base", ""],
        ["base_prompted", ""],
    ]
    assert table["rows"][2][2] == pytest.approx(0.05)
    assert found.more == {"knee": None, "curve": None}


@pytest.mark.parametrize("failed", [(256, 8), (4, 8), (256, 2)])
def test_a_level_that_failed_is_left_out_of_the_curve(
    tmp_path: Path, failed: tuple[int, int]
) -> None:
    asked = asked_about(instances=(2, 8), seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if tuple(cell.factors.values()) == failed else saturating(cell, item)

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(12, 1), score))
    gain = next(one for one in found.claims if one.name == "more tasks help")
    assert gain.verdict == "reproduced"
    left = {tuple(row[:2]) for row in found.tables[0]["rows"]}
    assert failed not in left
    assert len(left) == 7


def test_one_level_that_is_left_is_compared_with_nothing(tmp_path: Path) -> None:
    asked = asked_about(counts=(4, 16), seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if cell.factors.get("tasks") == 16 else 0.4

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(12, 1), score))
    assert found.claims == ()
    assert found.verdict.startswith("Only 4 tasks have a result")
