"""Any settings, varied: pytest tests/studies/test_grid.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from helpers.study_cells import check_cells, items, outcomes, question, verdicts
from regimen.settings.study import GridStudy as Section
from regimen.studies.cells import Cell
from regimen.studies.grid import BUDGETS, GridStudy

STUDY = GridStudy()


def asked_about(vary: Mapping[str, Any], **more: Any) -> Any:
    return question(Section(vary=vary).model_dump(mode="json"), **more)


def test_every_combination_of_the_values_is_a_cell_for_each_seed() -> None:
    vary = {"tune.learning_rate": [1e-4, 3e-4], "build.formatting.positive": [0, [0, 2], 2]}
    asked = asked_about(vary)
    cells = STUDY.cells(asked)
    check_cells(cells, asked.tokens)
    assert len(cells) == 2 * 3 * 3
    settings = cells[1].work["settings"]
    assert settings["tune"]["learning_rate"] == 1e-4
    assert settings["build"]["formatting"]["positive"] == [0, 2]
    assert cells[1].factors == dict(zip(vary, (1e-4, [0, 2]), strict=True))


@pytest.mark.parametrize("name", BUDGETS)
def test_the_length_of_training_can_be_what_is_varied(name: str) -> None:
    cells = STUDY.cells(asked_about({name: [1, 2]}))
    tune = cells[0].work["settings"]["tune"]
    assert {limit for limit in BUDGETS if limit.removeprefix("tune.") in tune} == {name}


def test_every_combination_is_compared_with_the_first(tmp_path: Path) -> None:
    vary = {"tune.learning_rate": [1e-4, 3e-4, 1e-3], "build.formatting.positive": [0, [0, 2]]}
    asked = asked_about(vary)
    effects = {1e-4: 0.3, 3e-4: 0.5, 1e-3: 0.1}

    def score(cell: Cell, item: Mapping[str, Any]) -> float:
        return effects[cell.factors["tune.learning_rate"]]

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(), score))
    said = verdicts(found)
    assert said == {
        "tune.learning_rate=0.0001, build.formatting.positive=[0, 2]": "cannot tell",
        "tune.learning_rate=0.0003, build.formatting.positive=0": "reproduced",
        "tune.learning_rate=0.0003, build.formatting.positive=[0, 2]": "reproduced",
        "tune.learning_rate=0.001, build.formatting.positive=0": "the opposite",
        "tune.learning_rate=0.001, build.formatting.positive=[0, 2]": "the opposite",
    }
    (table,) = found.tables
    assert table["columns"][:2] == list(vary)
    assert [row[2] for row in table["rows"]] == pytest.approx(
        [0.3] * 2 + [0.5] * 2 + [0.1] * 2, abs=0.02
    )
    assert found.verdict.startswith("Against tune.learning_rate=0.0001")


def test_where_the_first_failed_the_next_is_compared_with_and_named(tmp_path: Path) -> None:
    asked = asked_about({"tune.learning_rate": [1, 2, 3]}, seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        rate = cell.factors["tune.learning_rate"]
        return None if rate == 1 else 0.2 * rate

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(), score))
    (claim,) = found.claims
    assert (claim.name, claim.text) == ("tune.learning_rate=3", "better than tune.learning_rate=2")
    assert claim.verdict == "reproduced"


def test_one_combination_that_is_left_is_compared_with_nothing(tmp_path: Path) -> None:
    asked = asked_about({"tune.learning_rate": [1, 2]}, seeds=(2,))

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if cell.factors["tune.learning_rate"] == 2 else 0.5

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, items(), score))
    assert found.claims == ()
    assert found.verdict == "Only tune.learning_rate=1 has a result at every seed."
