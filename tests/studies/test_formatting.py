"""The study of prompts: pytest tests/studies/test_formatting.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.study_cells import check_cells, items, outcomes, question, verdicts
from regimen.errors import EvaluationError
from regimen.settings.study import ENCODINGS
from regimen.settings.study import FormattingStudy as Section
from regimen.studies.cells import Cell
from regimen.studies.formatting import FormattingStudy, template_spread
from regimen.studies.formatting_arms import PLAIN, drawn_shots
from regimen.studies.scores import Grid, Row

STUDY = FormattingStudy()


def asked_about(**options: Any) -> Any:
    return question(Section(**options).model_dump(mode="json"))


def test_every_arm_is_a_cell_for_each_seed() -> None:
    asked = asked_about()
    cells = STUDY.cells(asked)
    check_cells(cells, asked.tokens)
    assert len(cells) == 3 * (len(ENCODINGS) + 5 + 4)
    assert {cell.seed for cell in cells} == set(asked.seeds)
    assert {cell.factors["part"] for cell in cells} == {"encodings", "shots", "templates"}


def test_an_encoding_is_trained_on_alone_and_all_are_asked_alike() -> None:
    cells = STUDY.cells(asked_about(parts=["encodings"]))
    builds = {cell.factors["train"]: cell.work["settings"]["build"] for cell in cells}
    assert list(builds) == list(ENCODINGS)
    asked = [build["held_out"]["asked"] for build in builds.values()]
    assert all(one == asked[0] for one in asked)
    for name, fields in ENCODINGS.items():
        assert builds[name]["formatting"] == {**PLAIN, **fields} == asked[0][name]
    # what an encoding does not name is off, whatever the settings' own default is
    assert builds["definition"]["formatting"]["positive"] == 0
    assert builds["positive"]["formatting"]["definition"] is False


@pytest.mark.parametrize(
    ("share", "drawn"),
    [
        (0.0, [0]),
        (0.25, [0, 0, 0, 2]),
        (0.5, [0, 2]),
        (0.75, [0, 2, 2, 2]),
        (1.0, [2]),
        (0.2, [0, 0, 0, 0, 2]),
        (1 / 3, [0, 0, 2]),
    ],
)
def test_a_share_of_prompts_is_a_list_to_draw_from(share: float, drawn: list[int]) -> None:
    assert drawn_shots(share, 2) == drawn


def test_shares_differ_in_the_numbers_of_demonstrations_alone() -> None:
    cells = STUDY.cells(asked_about(parts=["shots"], few_shot_shares=[0, 0.1, 1], shots=3))
    builds = [cell.work["settings"]["build"] for cell in cells[:3]]
    formats = [build["formatting"] for build in builds]
    assert [one.pop("positive") for one in formats] == [[0], [0] * 9 + [3], [3]]
    assert formats[0] == formats[1] == formats[2]
    (ways,) = {str(build["held_out"]["asked"]) for build in builds}
    assert "'positive': 3" in ways


def test_numbers_of_templates_are_trained_on_and_all_templates_asked() -> None:
    cells = STUDY.cells(asked_about(parts=["templates"], template_counts=[1, 4]))
    builds = [cell.work["settings"]["build"] for cell in cells[:2]]
    assert [build["formatting"]["template_pool"] for build in builds] == [1, 4]
    for build in builds:
        (way,) = build["held_out"]["asked"].values()
        assert (way["templates"], way["template_pool"]) == ("all", None)


def test_the_spread_over_templates_by_hand() -> None:
    rows = tuple(
        Row(
            item_id=f"{number}",
            suite="s",
            cluster=task,
            task=task,
            family="f",
            language="en",
            row=0,
            template=template,
        )
        for number, (task, template) in enumerate(
            [("a", "x"), ("a", "x"), ("a", "y"), ("a", "y"), ("b", "x"), ("c", "x"), ("c", "y")]
        )
    )
    values = np.asarray([[1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], [0, 0, 0, 0, 0, 1, 1]])
    spreads = template_spread(Grid(rows=rows, seeds=(1, 2), scores={(1,): values}))
    # task a: templates of 0.5 and 1 in the first seed; b has one template and no spread
    assert spreads[1,].tolist() == [[0.25, 0.5], [0.0, 0.0]]


def ways(names: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {**row, "suite": f"unseen@{name}", "item_id": f"{name} {row['item_id']}"}
        for name in names
        for row in items(tasks=14, each=1)
    ]


def test_the_matrix_gives_the_verdicts_that_its_effects_have(tmp_path: Path) -> None:
    asked = asked_about(parts=["encodings"])

    def score(cell: Cell, item: Mapping[str, Any]) -> float:
        trained, way = cell.factors["train"], item["suite"].partition("@")[2]
        value = 0.3 + 0.3 * (trained == way)
        if trained == way == "definition-positive":
            value += 0.2
        if trained == way == "definition-both":
            value += 0.2
        if trained == way == "definition-both-explained":
            value += 0.35
        return value

    found = STUDY.findings(
        asked, outcomes(STUDY.cells(asked), tmp_path, ways(ENCODINGS), score, 0.005)
    )
    assert verdicts(found) == {
        "positive demonstrations help": "reproduced",
        "more than negative ones": "reproduced",
        "negative ones add nothing to them": "reproduced",
        "explanations do not help": "not reproduced",
        "steps before the answer help": "cannot tell",
        "definitions do not teach reading examples": "reproduced",
        "examples do not teach reading definitions": "reproduced",
    }
    (figure,) = found.figures
    assert (figure["kind"], figure["names"]) == ("matrix", list(ENCODINGS))
    assert len(figure["cells"]) == len(ENCODINGS) ** 2
    (table,) = found.tables
    diagonal = [row[number] for number, row in enumerate(table["rows"], start=1)]
    assert diagonal == pytest.approx([0.6, 0.6, 0.8, 0.6, 0.8, 0.95, 0.6, 0.6], abs=0.02)
    assert found.verdict == "5 of 7 claims reproduced, 1 not reproduced, 1 cannot tell."


def test_shares_give_claims_for_each_way_of_asking(tmp_path: Path) -> None:
    asked = asked_about(parts=["shots"], few_shot_shares=[0, 0.5, 1])

    def score(cell: Cell, item: Mapping[str, Any]) -> float:
        share = cell.factors["share"]
        zero = item["suite"].endswith("zero-shot")
        return {0: 0.5 if zero else 0.1, 0.5: 0.5, 1: 0.3 if zero else 0.5}[share]

    rows = ways({"zero-shot": {}, "few-shot": {}})
    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, rows, score))
    said = verdicts(found)
    assert said["mixed beats zero-shot alone, asked both"] == "reproduced"
    assert said["mixed beats zero-shot alone, asked few-shot"] == "reproduced"
    assert said["mixed beats zero-shot alone, asked zero-shot"] == "cannot tell"
    assert said["mixed beats few-shot alone, asked zero-shot"] == "reproduced"
    both = next(one for one in found.claims if one.name.endswith("zero-shot alone, asked both"))
    assert both.measured.difference == pytest.approx(0.2, abs=0.02)
    (figure,) = found.figures
    assert set(figure["lines"]) == {"asked zero-shot", "asked few-shot"}
    assert [point["x"] for point in figure["lines"]["asked few-shot"]] == [0, 0.5, 1]


def test_templates_buy_less_spread_and_no_higher_mean(tmp_path: Path) -> None:
    asked = asked_about(parts=["templates"], template_counts=[1, 4])
    rows = [
        {
            **row,
            "suite": "unseen@templates",
            "item_id": f"{name} {row['item_id']}",
            "template": name,
        }
        for name in "xyz"
        for row in items(tasks=14, each=2)
    ]

    def score(cell: Cell, item: Mapping[str, Any]) -> float:
        wide = 0.3 if cell.factors["templates"] == 1 else 0.05
        return 0.5 + wide * ("xyz".index(item["template"]) - 1)

    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, rows, score, 0.01))
    assert verdicts(found) == {
        "templates do not raise the mean": "reproduced",
        "templates buy robustness": "reproduced",
    }
    spread = found.claims[1].measured
    assert spread.difference == pytest.approx(-0.25 * np.sqrt(2 / 3), abs=0.01)
    assert spread.clusters == 14
    assert set(found.figures[0]["lines"]) == {"mean", "spread over templates"}


def test_levels_that_failed_cost_their_claims_alone(tmp_path: Path) -> None:
    asked = asked_about(parts=["encodings", "templates"], template_counts=[1, 4])
    rows = [*ways(ENCODINGS), *ways({"templates": {}})]

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        failed = cell.factors.get("train") == "definition-steps"
        return None if failed or cell.factors.get("templates") == 4 else 0.5

    encodings = [row for row in rows if "templates" not in row["suite"]]
    made = outcomes(STUDY.cells(asked), tmp_path, encodings, score)
    found = STUDY.findings(asked, made)
    assert "steps before the answer help" not in verdicts(found)
    assert len(found.claims) == 6
    assert "definition-steps" not in found.figures[0]["names"]
    assert len(found.figures[1]["lines"]["mean"]) == 1


def test_a_part_without_any_result_is_an_error(tmp_path: Path) -> None:
    asked = asked_about(parts=["templates"])
    made = outcomes(STUDY.cells(asked), tmp_path, items(), lambda cell, item: None)
    with pytest.raises(EvaluationError, match="nothing can be compared"):
        STUDY.findings(asked, made)


def test_a_part_without_any_result_costs_no_other_part(tmp_path: Path) -> None:
    asked = asked_about(
        parts=["templates", "encodings"], encodings={"mine": {}, "other": {"positive": 1}}
    )

    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if "templates" in cell.factors else 0.5

    rows = ways({"mine": {}, "other": {}})
    found = STUDY.findings(asked, outcomes(STUDY.cells(asked), tmp_path, rows, score))
    assert [figure["kind"] for figure in found.figures] == ["matrix"]
    assert found.verdict == "No claim is about these levels. Without a result: templates."
