"""What all studies share: pytest tests/studies/test_design.py."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.study_cells import STAGES, items, outcomes, question
from regimen.evaluation.seeds import seeded_difference
from regimen.settings.training import LIMITS
from regimen.studies.cells import Cell
from regimen.studies.design import (
    base_cell,
    baseline_scores,
    changed,
    contrast,
    first_model,
    grid_of,
    lean,
    mean_json,
)
from regimen.studies.scores import Grid, Row

TWO = {**STAGES, "tune": [{"model": {"path": "base"}, "max_steps": 2}, {"max_time": 9, "r": 1}]}


def test_values_are_put_at_dotted_names_and_the_original_stays() -> None:
    before = copy.deepcopy(STAGES)
    after = changed(STAGES, {"tune.learning_rate": 2, "build.held_out.seed": 5, "new": [1]})
    assert before == STAGES
    assert after["tune"] == {**STAGES["tune"], "learning_rate": 2}
    assert after["build"] == {**STAGES["build"], "held_out": {"seed": 5}}
    assert after["new"] == [1]
    after["build"]["sources"][0]["starter"] = "other"
    assert before == STAGES


def test_of_several_tunings_the_last_is_changed() -> None:
    after = changed(TWO, {"tune.max_tokens": 7, "tune.adapter.r": 4})
    assert after["tune"] == [
        TWO["tune"][0],
        {**TWO["tune"][1], "max_tokens": 7, "adapter": {"r": 4}},
    ]


def test_a_name_through_something_that_is_no_section_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"tune\.learning_rate\.more"):
        changed(STAGES, {"tune.learning_rate.more": 1})


@given(st.dictionaries(st.sampled_from(["a", "a.b", "a.c", "d.e.f"]), st.integers(), min_size=1))
def test_changes_can_be_read_back(changes: dict[str, int]) -> None:
    if "a" in changes and set(changes) & {"a.b", "a.c"}:
        return
    after = changed({}, changes)
    for name, value in changes.items():
        here: object = after
        for part in name.split("."):
            assert isinstance(here, dict)
            here = here[part]
        assert here == value


@pytest.mark.parametrize("stages", [STAGES, TWO])
def test_a_lean_cell_ends_by_its_tokens_alone(stages: dict) -> None:
    plain = lean(stages, question({}, settings=stages, tokens=1234))
    last = plain["tune"][-1] if isinstance(plain["tune"], list) else plain["tune"]
    assert {name: last[name] for name in LIMITS if name in last} == {"max_tokens": 1234}
    assert plain["build"]["held_out"]["seed"] == 1
    assert plain["evaluate"]["systems"] == ["tuned"]
    assert "safety" not in plain["evaluate"]
    assert plain["evaluate"]["max_new_tokens"] == 4
    if isinstance(plain["tune"], list):
        assert plain["tune"][0] == TWO["tune"][0]


@pytest.mark.parametrize("stages", [STAGES, TWO])
def test_the_baselines_are_asked_the_same_items_once_and_train_nothing(stages: dict) -> None:
    asked = question({}, settings=stages)
    cell = base_cell(asked)
    settings = cell.work["settings"]
    assert "tune" not in settings
    assert cell.work["stages"] == ["build", "evaluate"]
    assert (cell.tokens, dict(cell.factors)) == (0, {})
    assert settings["build"] == lean(stages, asked)["build"]
    assert settings["evaluate"]["base"] == settings["evaluate"]["tuned"] == "base"
    assert first_model(stages) == "base"
    assert "tuned" not in settings["evaluate"]["systems"]


def test_baselines_that_were_not_asked_are_left_out(tmp_path: Path) -> None:
    asked = question({}, suites=("unseen",))
    rows = [*items(), *items(suite="other")]

    def score(cell: Cell, item: dict) -> float:
        return 0.3 if item["suite"] == "unseen" else 0.9

    made = outcomes([base_cell(asked)], tmp_path, rows, score, 0.0, ("base", "copy_input"))
    found = dict(baseline_scores(made, asked))
    assert found == pytest.approx({"base": 0.3, "copy_input": 0.3})


def grid(seed: int = 0) -> Grid:
    draw = np.random.default_rng(seed)
    rows = tuple(row_of(item) for item in [*items(tasks=12, each=2), *items(tasks=18, each=1)[12:]])
    scores = {(level,): draw.uniform(size=(3, len(rows))) for level in "abc"}
    return Grid(rows=rows, seeds=(1, 2, 3), scores=scores)


def row_of(item: dict) -> Row:
    return Row(**item)


def test_a_contrast_is_the_difference_made_by_hand() -> None:
    some = grid()
    a, b, c = (some.scores[level,] for level in "abc")
    found = contrast(some, {("a",): 1.0, ("b",): -0.5, ("c",): -0.5})
    by_hand = seeded_difference(a, (b + c) / 2, some.clusters, bounds=(-1, 1)).paired
    assert found.difference == pytest.approx(float(a.mean() - (b.mean() + c.mean()) / 2))
    assert (found.low, found.high) == pytest.approx((by_hand.low, by_hand.high))
    assert (found.n, found.clusters, found.seeds) == (30, 18, 3)
    assert found.seed_sd == pytest.approx(np.std((a - (b + c) / 2).mean(axis=1), ddof=1))
    swapped = contrast(some, {("a",): -1.0, ("b",): 0.5, ("c",): 0.5})
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_a_difference_of_differences_may_reach_beyond_one() -> None:
    rows = tuple(row_of(item) for item in items(tasks=12, each=1))
    ones, zeros = np.ones((2, 12)), np.zeros((2, 12))
    some = Grid(rows=rows, seeds=(1, 2), scores={(0,): zeros, (1,): ones, (2,): zeros})
    found = contrast(some, {(1,): 2.0, (0,): -1.0, (2,): -1.0})
    assert found.difference == 2.0
    assert found.high == 2.0


@pytest.mark.parametrize("weights", [{("a",): 1.0}, {("a",): 0.0}, {("a",): 1.0, ("b",): -0.9}])
def test_weights_that_are_no_difference_are_refused(weights: dict) -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        contrast(grid(), weights)


def test_a_mean_is_json_with_each_seed() -> None:
    some = grid()
    entry = mean_json(some.scores["a",], some.clusters)
    assert entry["score"] == pytest.approx(np.mean(entry["per_seed"]))
    assert entry["low"] < entry["score"] < entry["high"]
    assert len(entry["per_seed"]) == 3


def test_cells_without_a_level_or_a_result_are_no_part_of_a_grid(tmp_path: Path) -> None:
    asked = question({})
    cells = [
        Cell(kind="pipeline", factors={"level": level}, seed=seed, work={})
        for level in (1, 2, 3)
        for seed in asked.seeds
    ]
    made = outcomes(
        cells, tmp_path, items(), lambda cell, _: None if cell.factors["level"] == 2 else 0.5
    )
    wanted = {1: (1,), 2: (2,)}
    found = grid_of(made, asked, lambda cell: wanted.get(cell.factors["level"]))
    assert list(found.scores) == [(1,)]
    assert found.seeds == asked.seeds
