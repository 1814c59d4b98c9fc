"""Methods of adaptation, each at its best learning rate: pytest tests/studies/test_adapters.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.study_cells import items, outcomes, question, verdicts
from regimen.errors import EvaluationError
from regimen.settings.adapters_study import METHODS
from regimen.settings.adapters_study import AdaptersStudy as Section
from regimen.studies.adapters import AdaptersStudy
from regimen.studies.adapters_found import group_of
from regimen.studies.adapters_rates import APART, Cost, choices, deciding, reported
from regimen.studies.cells import USE, Cell, Outcome
from regimen.studies.scores import Grid, Row

STUDY = AdaptersStudy()
CHOOSE = (1 + APART, 2 + APART)
"""Seeds of the trainings that choose."""

RATES = (1e-3, 3e-3, 1e-2)
FEW = {
    "full": {"learning_rates": RATES},
    "lora": {"adapter": {"r": 14}, "learning_rates": RATES},
    "lora-attention": {
        "adapter": {"r": 32, "target_modules": "attention"},
        "learning_rates": [3e-3],
    },
    "ia3": {"adapter": {"kind": "ia3"}, "learning_rates": [3e-2]},
    "lora-nf4": {"adapter": {"r": 48}, "quantise": "nf4", "learning_rates": [3e-3]},
}


def asked_about(methods: Mapping[str, Any] = FEW, few_rows: int = 100, **more: Any) -> Any:
    section = Section(
        target={"starter": "tasks", "families": ["calendar"]},
        rows=3000,
        few_rows=few_rows,
        items=3,
        general_tokens=5000,
        methods=methods,
    )
    return question(section.model_dump(mode="json"), **more)


def all_cells(asked: Any) -> list[Cell]:
    """Those that choose, and as many as there will be."""
    return [*STUDY.cells(asked), *STUDY.further(asked, ())]


def learners(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if {"method", "tried"} & set(cell.factors)]


def test_every_rate_is_tried_on_seeds_of_its_own_and_one_goes_on_to_those_of_the_study() -> None:
    asked = asked_about()
    first, then = STUDY.cells(asked), STUDY.further(asked, ())
    # nine rates, and three of full tuning and of LoRA with few rows
    assert len(first) == 1 + 2 * (1 + 9 + 6)
    assert len(then) == 3 * (2 + 5 + 2)
    assert {cell.seed for cell in first if cell.factors != {"made": "items"}} == set(CHOOSE)
    assert {cell.seed for cell in then} == {2, 3, 4}
    assert all(("tried" in cell.factors) for cell in learners(first))
    assert all(("method" in cell.factors) for cell in learners(then))
    cells = (*first, *then)
    by_name = {cell.name: cell for cell in cells}
    assert len(by_name) == len(cells)
    # a study that gets more seeds finds what chose done
    assert STUDY.cells(asked_about(seeds=range(2, 20))) == first
    for place, cell in enumerate(cells):
        assert set(cell.needs) <= {one.name for one in cells[:place]}
    for cell in learners(cells):
        general, job = (by_name[name] for name in cell.needs)
        assert (general.factors["made"], general.seed) == ("generalist", cell.seed)
        assert job.factors["made"] == "items"
        suites = cell.work["settings"]["evaluate"]["suites"]
        assert [suite["name"] for suite in suites] == ["elsewhere", "job"]


def test_methods_train_on_equally_many_tokens_and_the_generalist_on_its_own() -> None:
    cells = all_cells(asked_about())
    assert {cell.tokens for cell in learners(cells)} == {1000}
    for cell in cells:
        if cell.tokens:
            assert cell.work["settings"]["tune"]["max_tokens"] == cell.tokens
    general = [cell for cell in cells if cell.factors.get("made") == "generalist"]
    assert {cell.tokens for cell in general} == {5000}


def test_a_cell_has_its_adapter_its_rate_and_its_rows() -> None:
    cells = {
        (c.factors["tried"], c.factors["rate"], c.factors["rows"]): c.work["settings"]
        for c in learners(STUDY.cells(asked_about()))
        if c.seed == CHOOSE[0]
    }
    lora, full = cells["lora", 3e-3, 3000], cells["full", 1e-2, 100]
    tune = lora["tune"]
    assert (tune["adapter"]["kind"], tune["adapter"]["r"]) == ("lora", 14)
    assert tune["learning_rate"] == 3e-3
    assert tune["model"] == {"path": "{place:0}/run/tune/final"}
    assert "quantise" not in tune
    assert cells["lora-nf4", 3e-3, 3000]["tune"]["quantise"] == "nf4"
    assert (lora["build"]["rows"], full["build"]["rows"]) == (3000, 100)
    assert "adapter" not in full["tune"]


def test_full_tuning_takes_no_adapter_from_the_generalist() -> None:
    asked = asked_about()
    tune = {**asked.settings["tune"], "adapter": {"kind": "lora"}, "quantise": "nf4"}
    asked = replace(asked, settings={**asked.settings, "tune": tune})
    full = next(c for c in learners(STUDY.cells(asked)) if c.factors["tried"] == "full")
    assert not {"adapter", "quantise"} & set(full.work["settings"]["tune"])


def test_no_few_rows_where_none_are_wanted() -> None:
    cells = learners(all_cells(asked_about(few_rows=0)))
    assert {cell.factors["rows"] for cell in cells} == {3000}


ROWS = [
    *items(tasks=14, each=2, suite="job"),
    *items(tasks=14, each=1, suite="elsewhere"),
]
GAINS = {"full": 0.3, "lora": 0.5, "lora-attention": 0.2, "ia3": 0.1, "lora-nf4": 0.5}
PARAMETERS = {"full": 1000, "lora": 100, "lora-attention": 110, "ia3": 5, "lora-nf4": 300}
WEIGHTS = {"full": 0, "lora": 1000, "lora-attention": 1000, "ia3": 1000, "lora-nf4": 400}

Score = Callable[[Cell, Mapping[str, Any]], float | None]
RATED = {1e-3: -0.1, 3e-3: 0.1, 1e-2: 0.0, 3e-2: 0.0}
"""What a rate adds to the items that choose."""


def method_of(cell: Cell) -> str | None:
    return cell.factors.get("method", cell.factors.get("tried"))


def learning(cell: Cell, item: Mapping[str, Any]) -> float | None:
    """LoRA gains more and forgets less; the highest rate is best on the items of the results."""
    name = method_of(cell)
    if name is None:
        return 0.2 if item["suite"] == "job" else 0.7
    if item["suite"] == "elsewhere":
        return 0.2 if name == "full" else 0.5
    if item["row"] == 0:  # the first of each task chooses
        return 0.2 + GAINS[name] + RATED[cell.factors["rate"]]
    return 0.2 + GAINS[name] + (0.1 if cell.factors["rate"] == 1e-2 else 0.0)


def recorded(made: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes with what a training records."""
    found = []
    for one in made:
        name = method_of(one.cell)
        if one.state == "done" and name is not None:
            bytes_ = 4 * PARAMETERS[name]
            memory = {
                "weights": 4 * WEIGHTS[name],
                "trained": bytes_,
                "gradients": bytes_,
                "optimizer": 2 * bytes_,
            }
            result = {
                "trainable_parameters": PARAMETERS[name],
                "memory": memory,
                "retention": {"systems": {"tuned": {"bits_per_byte": 1.5}}},
            }
            use = {"tokens_per_second": 3000.0, "peak_memory_gib": 1.25}
            (one.directory / USE).write_text(json.dumps(use))
            one = replace(one, result=result)
        found.append(one)
    return found


def made_of(
    asked: Any, folder: Path, score: Score = learning, noise: float = 0.005
) -> list[Outcome]:
    """What becomes of the cells that choose and then of those that the choice decides on."""
    made = recorded(outcomes(STUDY.cells(asked), folder, ROWS, score, noise))
    more = STUDY.further(asked, made)
    return made + recorded(outcomes(more, folder, ROWS, score, noise))


def studied(
    asked: Any, folder: Path, score: Score = learning, noise: float = 0.005
) -> tuple[list[Outcome], Any]:
    made = made_of(asked, folder, score, noise)
    return made, STUDY.findings(asked, made)


def table(found: Any, title: str) -> list[dict[str, Any]]:
    (one,) = (one for one in found.tables if one["title"].startswith(title))
    return [dict(zip(one["columns"], row, strict=True)) for row in one["rows"]]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Outcome], Any]:
    """What the study of known effects makes and finds."""
    return studied(asked_about(), tmp_path_factory.mktemp("known"))


def test_the_rate_is_chosen_by_items_and_seeds_that_the_results_have_no_part_in(
    known: tuple[list[Outcome], Any],
) -> None:
    made, found = known
    rates = {(row["method"], row["rows"], row["rate"]): row for row in table(found, "Learning")}
    assert rates["lora", 3000, "0.003"]["note"] == "chosen"
    assert rates["lora", 3000, "0.01"]["note"] == ""
    assert rates["lora", 3000, "0.003"]["choosing items"] == pytest.approx(0.8, abs=0.01)
    # by the items of the results it would have been another
    assert rates["lora", 3000, "0.01"]["all items"] == pytest.approx(0.75, abs=0.01)
    assert rates["lora", 3000, "0.01"]["seeds"] == 2
    # one rate alone is no edge of anything
    assert rates["ia3", 3000, "0.03"]["note"] == "chosen"
    assert "edge" not in found.verdict
    quality = {(row["method"], row["rows"]): row for row in table(found, "The job")}
    assert quality["lora", 3000]["rate"] == "0.003"
    assert quality["lora", 3000]["job"] == pytest.approx(0.7, abs=0.01)
    assert quality["lora", 3000]["bits per byte"] == 1.5
    assert quality["generalist", 0]["bits per byte"] is None
    learnt = {one.cell.factors["rate"] for one in made if one.cell.factors.get("method") == "lora"}
    assert learnt == {3e-3}


def test_an_edge_of_the_grid_and_a_tie_are_told(tmp_path: Path) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        name, rate = method_of(cell), cell.factors.get("rate")
        if name == "full":
            return 0.1 if rate == 1e-2 else 0.0
        return 0.4 if rate in (1e-3, 3e-3) else 0.2

    _, found = studied(asked_about(few_rows=0), tmp_path, score, noise=0.0)
    notes = {(row["method"], row["rate"]): row["note"] for row in table(found, "Learning")}
    assert notes["full", "0.01"] == "chosen, highest of the grid"
    # of two that are alike it is the lower
    assert notes["lora", "0.001"] == "chosen, lowest of the grid, as good as 0.003"
    assert notes["lora", "0.003"] == ""
    assert "Best at an edge of the grid of learning rates: full, lora." in found.verdict


def test_the_score_that_decides_is_the_mean_over_seeds(tmp_path: Path) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        lucky = cell.factors.get("rate") == 1e-2 and cell.seed == CHOOSE[0]
        return 0.75 if lucky and method_of(cell) == "lora" else learning(cell, item)

    made = made_of(asked_about(), tmp_path, score, noise=0.0)
    lora = next(one for one in choices(made) if one.arm == ("lora", 3000))
    assert lora.best is not None
    assert lora.best.rate == 3e-3
    assert [one.score for one in lora.grid] == pytest.approx([0.6, 0.8, (0.75 + 0.7) / 2])


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=20))
def test_items_that_choose_and_items_of_the_results_share_each_task(tasks: list[str]) -> None:
    rows = tuple(
        Row(item_id=str(n), suite="job", cluster=t, task=t, family="", language="")
        for n, t in enumerate(tasks)
    )
    grid = Grid(rows=rows, seeds=(1,), scores={(): np.zeros((1, len(rows)))})
    some, others = deciding(grid).rows, reported(grid).rows
    assert {*some} | {*others} == {*rows}
    assert not {*some} & {*others}
    for task in {*tasks}:
        counts = [sum(row.task == task for row in half) for half in (some, others)]
        assert counts[0] - counts[1] in (0, 1)


def test_claims_and_frontiers_of_known_effects(known: tuple[list[Outcome], Any]) -> None:
    _, found = known
    assert verdicts(found) == {
        "LoRA keeps up with full tuning": "reproduced",
        "LoRA learns less": "the opposite",
        "LoRA forgets less": "reproduced",
        "all linear layers beat attention alone": "reproduced",
        "a base in 4 bits keeps up": "reproduced",
        "LoRA is ahead with few rows": "reproduced",
    }
    by_kind: dict[str, list[Any]] = {}
    for figure in found.figures:
        by_kind.setdefault(figure["kind"], []).append(figure)
    (frontier,), (price,) = by_kind["frontier"], by_kind["price"]
    points = {point["label"]: point for point in frontier["points"]}
    assert set(points) == set(FEW)
    assert (points["lora"]["y"], points["lora"]["x"]) == pytest.approx((0.5, -0.2), abs=0.02)
    assert points["lora"]["y_low"] < points["lora"]["y"] < points["lora"]["y_high"]
    assert {name: point["series"] for name, point in points.items()} == {
        "full": "more of both",
        "lora": "equal parameters",
        "lora-attention": "equal parameters",
        "ia3": "fewer parameters",
        "lora-nf4": "equal memory",
    }
    costs = {point["label"]: point["x"] for point in price["points"]}
    assert costs["full"] == pytest.approx(16 * 1000 / 2**20)
    curves = {figure["title"].partition(": ")[2]: figure["lines"] for figure in by_kind["curve"]}
    assert {part: set(lines) for part, lines in curves.items()} == {
        "equal parameters": {"lora", "lora-attention"},
        "other methods": {"full", "ia3", "lora-nf4"},
        "with 100 rows": {"full", "lora"},
    }
    assert [point["x"] for point in curves["with 100 rows"]["lora"]] == list(RATES)
    assert "The largest gain on the job is +" in found.verdict
    assert "6 claims" in found.verdict


def test_costs_come_from_the_records_of_the_trainings(known: tuple[list[Outcome], Any]) -> None:
    _, found = known
    row = next(row for row in table(found, "What it takes") if row["method"] == "lora")
    assert (row["parameters"], row["peak GiB"], row["tokens/s"]) == (100, 1.25, 3000)
    assert row["MiB"] == round((4000 + 16 * 100) / 2**20, 2)


def cost(parameters: int, bytes_: int) -> Cost:
    state = {"weights": bytes_}
    return Cost(parameters=parameters, state=state, peak_gib=1.0, speed=1.0)


@pytest.mark.parametrize(
    ("parameters", "bytes_", "group"),
    [
        (100, 9000, "equal parameters"),
        (114, 1000, "equal parameters"),
        (86, 1000, "equal parameters"),
        (84, 9000, "fewer parameters"),
        (116, 1140, "equal memory"),
        (116, 400, "equal memory"),
        (116, 1200, "more of both"),
    ],
)
def test_a_method_is_put_beside_lora_by_what_was_measured(
    parameters: int, bytes_: int, group: str
) -> None:
    assert group_of(cost(parameters, bytes_), cost(100, 1000)) == group


def test_a_rate_that_failed_is_not_chosen_and_is_counted(tmp_path: Path) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        diverged = cell.factors.get("rate") == 3e-3 and cell.seed == CHOOSE[0]
        failed = cell.factors.get("tried") == "lora" and diverged
        return None if failed else learning(cell, item)

    _, found = studied(asked_about(), tmp_path, score)
    rates = {(row["method"], row["rows"], row["rate"]): row for row in table(found, "Learning")}
    failed = rates["lora", 3000, "0.003"]
    assert (failed["seeds"], failed["choosing items"]) == (1, None)
    assert failed["note"] == "1 of 2 cells without result"
    assert rates["lora", 3000, "0.01"]["note"] == "chosen, highest of the grid"
    assert found.claims[0].measured.seeds == 3


@pytest.mark.parametrize("factor", ["tried", "method"])
def test_a_method_whose_cells_failed_is_told_and_appears_nowhere_else(
    tmp_path: Path, factor: str
) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if cell.factors.get(factor) == "lora-nf4" else learning(cell, item)

    made, found = studied(asked_about(), tmp_path, score)
    assert "a base in 4 bits keeps up" not in verdicts(found)
    assert "lora-nf4" not in {point["label"] for point in found.figures[0]["points"]}
    assert "Without a result: lora-nf4." in found.verdict
    (row,) = (row for row in table(found, "Learning") if row["method"] == "lora-nf4")
    if factor == "tried":
        assert (row["all items"], row["seeds"]) == (None, 0)
        assert row["note"] == "2 of 2 cells without result"
        assert not any(one.cell.factors.get("method") == "lora-nf4" for one in made)


def test_a_seed_without_its_generalist_costs_that_seed_alone(tmp_path: Path) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        from_it = cell.seed in (4, CHOOSE[1]) and cell.factors.get("made") != "items"
        return None if from_it else learning(cell, item)

    _, found = studied(asked_about(), tmp_path, score)
    assert found.claims[0].measured.seeds == 2
    assert "Without a result" not in found.verdict


def test_without_lora_the_others_are_put_beside_nothing(tmp_path: Path) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        return None if method_of(cell) == "lora" else learning(cell, item)

    _, found = studied(asked_about(), tmp_path, score)
    assert {point["series"] for point in found.figures[0]["points"]} == {"methods"}
    assert verdicts(found) == {}
    assert "Without a result: lora, lora with 100 rows." in found.verdict


@pytest.mark.parametrize("missing", ["generalist", "methods"])
def test_without_one_side_nothing_can_be_said(tmp_path: Path, missing: str) -> None:
    def score(cell: Cell, item: Mapping[str, Any]) -> float | None:
        if missing == "methods":
            lost = method_of(cell) is not None
        else:
            lost = cell.factors.get("rows") == 0
        return None if lost else learning(cell, item)

    asked = asked_about(seeds=(2,))
    made = made_of(asked, tmp_path, score)
    with pytest.raises(EvaluationError, match="compared with the generalist") as caught:
        STUDY.findings(asked, made)
    assert caught.value.slug == "study-no-cells"


def test_the_methods_are_those_of_the_section_when_none_are_named() -> None:
    section = Section(target={"starter": "tasks"})
    assert set(section.methods) == set(METHODS)
    assert all(len(arm.learning_rates) >= 3 for arm in section.methods.values())
