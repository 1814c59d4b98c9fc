"""Preferences against their parent: pytest tests/studies/test_alignment.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from helpers.study_cells import items, outcomes, question, verdicts
from regimen.errors import EvaluationError
from regimen.reports.study import study_page
from regimen.settings.alignment_study import METHODS
from regimen.settings.alignment_study import AlignmentStudy as Section
from regimen.settings.loading import settings_from
from regimen.stages.study import _body
from regimen.studies.adapters_rates import APART
from regimen.studies.alignment import AlignmentStudy
from regimen.studies.alignment_seen import (
    CHOICE_SUITES,
    SUITES,
    WORLD_SUITES,
    length_of,
    sweep_name,
)
from regimen.studies.cells import Cell, Outcome

STUDY = AlignmentStudy()
ARMS = [*METHODS, *(sweep_name(beta) for beta in (0.03, 0.3, 1.0))]


def asked_about(**more: Any) -> Any:
    return question(Section(**more).model_dump(mode="json"))


def learners(cells: tuple[Cell, ...]) -> list[Cell]:
    return [cell for cell in cells if "data" in cell.factors and "arm" in cell.factors]


def tried(cells: tuple[Cell, ...]) -> list[Cell]:
    return [cell for cell in cells if "tried" in cell.factors]


def every_cell(asked: Any) -> tuple[Cell, ...]:
    """As before anything is made."""
    return (*STUDY.cells(asked), *STUDY.further(asked, ()))


def test_every_method_starts_from_the_parent_of_its_seed() -> None:
    cells = every_cell(asked_about())
    assert len(cells) == 3 * (4 + len(ARMS) + 2) + 3 + 2 * (len(METHODS) + 2)
    by_name = {cell.name: cell for cell in cells}
    assert len(by_name) == len(cells)
    for place, cell in enumerate(cells):
        assert set(cell.needs) <= {one.name for one in cells[:place]}
    of_requests = [c.factors["arm"] for c in learners(cells) if c.factors["data"] == "requests"]
    assert of_requests == 3 * ARMS
    for cell in (*learners(cells), *tried(cells)):
        parent, world, *own = (by_name[name] for name in cell.needs)
        assert [one.seed for one in (parent, world, *own)] == [cell.seed] * (2 + len(own))
        assert (parent.factors["made"], world.factors["made"]) == ("parent", "requests")
        assert [one.factors["made"] for one in own] == (
            ["own-pairs"] if cell.factors["data"] == "own-answers" else []
        )
        align = cell.work["settings"]["align"]
        assert align["model"] == {"path": "{place:0}/run/tune/final"}
        assert align["data"].startswith("{place:2}" if own else "{place:1}")
        assert "tune" not in cell.work["settings"]


def test_a_method_with_replay_reads_what_its_parent_was_tuned_on() -> None:
    wanted = {"share": 0.3, "weight": 2.0, "sources": ["starter"]}
    again = {"method": "dpo", "learning_rates": [1e-4], "replay": wanted}
    cells = every_cell(asked_about(methods={**METHODS, "again": again}))
    for cell in cells:
        replay = cell.work.get("settings", {}).get("align", {}).get("replay")
        if cell.factors.get("arm") == "again":
            assert replay == {**wanted, "data": "{place:0}/run/build"}
        else:
            assert replay is None
        if cell.factors.get("made") == "parent":
            assert cell.work["keep"] == ["model", "items", "instances"]
    (plain,) = {
        tuple(cell.work["keep"])
        for cell in every_cell(asked_about())
        if cell.factors.get("made") == "parent"
    }
    assert plain == ("model", "items")


@pytest.mark.parametrize(
    ("replay", "method"), [({"data": "d"}, "dpo"), ({"share": 0.1}, "quark"), ({"share": 1}, "sft")]
)
def test_a_replay_that_nothing_can_be_done_with_is_refused(replay: Any, method: str) -> None:
    arm = {"method": method, "learning_rates": [1e-4], "replay": replay}
    with pytest.raises(ValidationError, match="replay"):
        asked_about(methods={**METHODS, "again": arm})


def test_methods_train_on_equally_many_tokens_and_the_parent_on_its_own() -> None:
    cells = every_cell(asked_about(parent_tokens=7000))
    assert {cell.tokens for cell in learners(cells)} == {1000}
    for cell in (*learners(cells), *tried(cells)):
        assert cell.work["settings"]["align"]["max_tokens"] == 1000
    parents = [cell for cell in cells if cell.factors.get("made") == "parent"]
    assert [cell.work["settings"]["tune"]["max_tokens"] for cell in parents] == [7000] * 4
    assert all(cell.tokens == 7000 for cell in parents)


def test_a_cell_has_its_method_and_the_optimisation_of_the_file() -> None:
    asked = asked_about()
    align = {"schedule": "linear", "num_train_epochs": 2}
    asked = replace(asked, settings={**asked.settings, "align": align})
    cells = {c.factors["arm"]: c for c in learners(every_cell(asked)) if c.seed == 2}
    made = {name: cells[name].work["settings"]["align"] for name in ARMS}
    assert {one["schedule"] for one in made.values()} == {"linear"}
    assert all("num_train_epochs" not in one for one in made.values())
    assert (made["kto"]["method"], made["kto"]["beta"]) == ("kto", 0.1)
    assert "beta" not in made["sft"]
    swept = [made[name] for name in ("dpo", *ARMS[len(METHODS) :])]
    sums = [{loss["name"]: loss for loss in one["method"]} for one in swept]
    assert [one["dpo"]["beta"] for one in sums] == [0.1, 0.03, 0.3, 1.0]
    assert all(one["sft"] == {"name": "sft", "weight": 1.0} for one in sums)
    assert (made["dpo_alone"]["method"], made["dpo_alone"]["beta"]) == ("dpo", 0.1)
    assert len({one["learning_rate"] for one in swept}) == 1


def test_settings_of_every_cell_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in every_cell(asked_about()):
        if cell.kind == "pipeline":
            settings = settings_from({**cell.work["settings"], "run": "r", "seed": cell.seed})
            assert set(cell.work["stages"]) <= set(settings.stages)


def test_every_cell_is_asked_the_same_and_requests_are_of_the_file_s_seed() -> None:
    cells = every_cell(asked_about())
    measured = [cell for cell in cells if "arm" in cell.factors]
    suites = [cell.work["settings"]["evaluate"]["suites"] for cell in measured]
    assert all(one == suites[0] for one in suites)
    assert [one["name"] for one in suites[0]] == ["elsewhere", *SUITES]
    assert {cell.work["items_seed"] for cell in cells if cell.kind == "requests"} == {1}


ROWS = [
    *(
        row
        for suite in (*SUITES, *CHOICE_SUITES, "helped", *map(length_of, WORLD_SUITES))
        for row in items(tasks=12, each=10, suite=suite)
    ),
    *(
        row
        for suite in ("elsewhere", length_of("elsewhere"))
        for row in items(tasks=40, each=2, suite=suite)
    ),
]


BEST_RATES = {"requests": 3e-4, "own-answers": 1e-4}


def effects(cell: Cell, item: Mapping[str, Any]) -> float | None:
    """DPO refuses what is harmful and nothing else; tuning on chosen answers refuses half."""
    arm, data, suite = cell.factors.get("arm"), cell.factors.get("data"), item["suite"]
    if "tried" in cell.factors:
        return BEST_RATES[data] == cell.factors["rate"]
    aligned = data == "requests"
    if suite.startswith("length"):
        return 20.0 if arm == "parent" else 14.0
    if suite == "harmful":
        return 0.95 if not aligned else 0.5 if arm == "sft" else 0.1
    if suite == "harmful_new_targets":
        return 0.95 if not aligned else 0.7
    if suite == "harmless_new_targets":
        return 0.05 if not aligned else 0.4
    if suite == "elsewhere" and item["row"] % 2 == 0:
        return 1.0  # those of the choice of rates
    if suite == "elsewhere":
        return 0.5 if data == "own-answers" and arm == "dpo" else 0.3 if not aligned else 0.2
    return {"harmless": 0.05, "helped": 0.9}.get(suite, 0.5)


def studied(folder: Path, asked: Any) -> list[Outcome]:
    made = outcomes(STUDY.cells(asked), folder, ROWS, effects)
    made += outcomes(STUDY.further(asked, made), folder, ROWS, effects)
    return [replace(one, result=measured(one.cell)) for one in made]


def measured(cell: Cell) -> dict[str, Any]:
    far = 0.0 if cell.factors.get("arm") == "parent" else 3.0 + cell.seed
    told = {"kl": far, "kl_se": 0.1, "tokens": 30.0, "answers": 100, "cut": 0}
    retention = {"systems": {"tuned": {"bits_per_byte": 1.5}}}
    return {"drift": dict.fromkeys(WORLD_SUITES, told), "retention": retention}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Outcome], Any]:
    """The study of known effects: what was asked, made and found."""
    asked = asked_about()
    made = studied(tmp_path_factory.mktemp("known"), asked)
    return asked, made, STUDY.findings(asked, made)


def test_claims_say_what_was_gained_and_what_it_cost(known: tuple[Any, ...]) -> None:
    _, _, found = known
    assert verdicts(found) == {
        "compliance halves": "reproduced",
        "over-refusal is no worse": "reproduced",
        "compliance halves with unseen targets": "the opposite",
        "over-refusal is no worse with unseen targets": "not reproduced",
        "help stays help": "reproduced",
        "other tasks are kept": "not reproduced",
        "DPO beats tuning on the chosen answers": "reproduced",
        "DPO on its own answers beats the parent": "reproduced",
        "DPO on its own answers beats tuning on the best of them": "reproduced",
    }
    halves = found.claims[0].measured
    assert halves.difference == pytest.approx(0.1 - 0.95 / 2, abs=0.02)
    assert (halves.clusters, halves.seeds) == (12, 3)
    assert "from 95" in found.verdict


def test_every_method_has_the_rate_that_was_best_on_a_seed_and_items_apart(tmp_path: Path) -> None:
    grid = [1e-4, 3e-4, 1e-3]
    same = {name: {**fields, "learning_rates": grid} for name, fields in METHODS.items()}
    asked = asked_about(methods=same)
    cells = STUDY.cells(asked)
    assert {cell.seed for cell in tried(cells)} == {1 + APART}
    for cell in tried(cells):
        evaluate = cell.work["settings"]["evaluate"]
        names = ["elsewhere"] if cell.factors["data"] == "own-answers" else [*CHOICE_SUITES]
        assert [suite["name"] for suite in evaluate["suites"]] == names
        assert cell.work["settings"]["align"]["learning_rate"] == cell.factors["rate"]
    made = studied(tmp_path, asked)
    learnt = learners(tuple(one.cell for one in made))
    assert len(learnt) == 3 * (len(ARMS) + 2)
    for cell in learnt:
        align = cell.work["settings"]["align"]
        assert align["learning_rate"] == BEST_RATES[cell.factors["data"]]
    table = STUDY.findings(asked, made).tables[-1]
    assert len(table["rows"]) == 3 * (len(METHODS) + 2)
    notes = {tuple(row[:3]): row[-1] for row in table["rows"]}
    assert notes["requests", "dpo", "0.0003"] == "chosen"
    assert notes["own-answers", "sft", "0.0001"] == "chosen, lowest of the grid"


def test_a_single_rate_is_taken_and_an_arm_that_never_worked_is_left_out(tmp_path: Path) -> None:
    methods = {name: {**fields, "learning_rates": [3e-4]} for name, fields in METHODS.items()}
    alone = asked_about(methods=methods)
    assert not tried(STUDY.cells(alone))
    assert {cell.seed for cell in STUDY.cells(alone)} == {2, 3, 4}
    learnt = learners(STUDY.further(alone, outcomes(STUDY.cells(alone), tmp_path, ROWS, effects)))
    assert len(learnt) == 3 * (len(ARMS) + 2)
    assert {cell.work["settings"]["align"]["learning_rate"] for cell in learnt} == {3e-4}

    def without(cell: Cell, item: Mapping[str, Any]) -> float | None:
        failed = cell.factors.get("tried") == "dpo" and cell.factors["data"] == "requests"
        return None if failed else effects(cell, item)

    asked = asked_about()
    made = outcomes(STUDY.cells(asked), tmp_path, ROWS, without)
    left = {
        c.factors["arm"]
        for c in learners(STUDY.further(asked, made))
        if c.factors["data"] == "requests"
    }
    assert left == {*METHODS} - {"dpo"}


def test_tables_and_figures_have_divergence_and_length(known: tuple[Any, ...]) -> None:
    asked, _, found = known
    reward, frontier = found.figures
    by_label = {point["label"]: point for point in reward["points"]}
    assert set(by_label) == {"parent", *ARMS}
    assert by_label["parent"]["x"] == 0
    # the mean over seeds 2, 3 and 4
    assert by_label["dpo"]["x"] == pytest.approx(6.0)
    assert by_label["dpo"]["score"] == pytest.approx((0.9 + 0.95) / 2, abs=0.02)
    assert len(frontier["points"]) == len(ARMS) + 2
    further = next(table for table in found.tables if "words harmful" in table["columns"])
    rows = {tuple(row[:2]): row for row in further["rows"]}
    column = further["columns"].index("words harmful")
    assert rows["-", "parent"][column] == "20.0"
    assert rows["requests", "dpo"][column].startswith("-6.0 [")
    page = study_page(_page(asked, found), "Study: alignment")
    assert "the parent of the same seed" in page


def _page(asked: Any, found: Any) -> Any:
    section = settings_from(
        {**asked.settings, "study": {"alignment": {}}, "run": "r", "seed": 1}
    ).study
    assert section is not None
    return _body(section, STUDY, asked, [], found, "")


def test_a_method_without_result_leaves_its_claims_out(known: tuple[Any, ...]) -> None:
    asked, whole, _ = known
    made = [one for one in whole if one.cell.factors.get("arm") != "sft"]
    names = verdicts(STUDY.findings(asked, made))
    assert "compliance halves" in names
    assert "DPO beats tuning on the chosen answers" not in names
    with pytest.raises(EvaluationError) as caught:
        STUDY.findings(asked, [one for one in whole if one.cell.factors.get("arm") != "parent"])
    assert caught.value.slug == "study-no-cells"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"methods": {"dpo": METHODS["dpo"], "kto": METHODS["kto"]}}, "has no 'sft'"),
        ({"methods": {**METHODS, "sft": METHODS["dpo"]}}, "is called 'sft'"),
        ({"own_methods": ["orpo"]}, "names 'orpo'"),
        ({"betas": [0.1, 0.3]}, "has 0.1 twice"),
        ({"methods": {**METHODS, "dpo": METHODS["kto"]}}, "is called 'dpo'"),
        (
            {"methods": {**METHODS, "sft": {"method": "sft", "learning_rates": [0.1, 0.1]}}},
            "has 0.1 twice",
        ),
        ({"methods": {**METHODS, "kto": {**METHODS["kto"], "gamma": 1.0}}}, "nothing that kto"),
    ],
)
def test_settings_that_cannot_be_compared_are_told(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Section.model_validate(more)
