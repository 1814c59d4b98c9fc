"""Scores of cells on the same items: pytest tests/studies/test_scores.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.study_cells import items, write_scores
from regimen.errors import EvaluationError
from regimen.studies.scores import by_asking, cluster_sums, read_grid


def scored(rows: Sequence[dict], *values: float) -> list[dict[str, Any]]:
    return [{**row, "score": value} for row, value in zip(rows, values, strict=True)]


def test_rows_are_put_in_one_order_whatever_the_files_have(tmp_path: Path) -> None:
    rows = items(tasks=2, each=2)
    first = write_scores(tmp_path / "1.parquet", scored(rows, 0.1, 0.2, 0.3, 0.4))
    other = scored(rows, 0.5, 0.6, 0.7, 0.8)
    prompted = [{**row, "system": "base", "score": 0.0} for row in rows]
    second = write_scores(tmp_path / "2.parquet", [*prompted, *reversed(other)])
    grid = read_grid({(("a",), 2): first, (("b",), 2): second})
    assert grid.scores["a",].tolist() == [[0.1, 0.2, 0.3, 0.4]]
    assert grid.scores["b",].tolist() == [[0.5, 0.6, 0.7, 0.8]]
    assert grid.clusters == ("task 000", "task 000", "task 001", "task 001")
    base = read_grid({(("b",), 2): second}, "base")
    assert base.scores["b",].tolist() == [[0.0] * 4]


def test_seeds_that_a_level_lacks_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = items(tasks=1, each=1)
    places = {
        ((level,), seed): write_scores(
            tmp_path / f"{level}{seed}.parquet", scored(rows, level + seed / 10)
        )
        for level in (1, 2)
        for seed in (3, 4, 5)
        if (level, seed) != (2, 4)
    }
    grid = read_grid(places)
    assert grid.seeds == (3, 5)
    assert grid.left_out == 1
    assert grid.scores[2,].tolist() == [[2.3], [2.5]]
    assert grid.only(lambda row: True).left_out == 1


def test_without_a_seed_that_every_level_has_nothing_is_compared(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "a.parquet", scored(items(1, 1), 1.0))
    with pytest.raises(EvaluationError) as caught:
        read_grid({(("a",), 1): path, (("b",), 2): path})
    assert caught.value.slug == "study-no-cells"
    with pytest.raises(EvaluationError, match="nothing can be compared"):
        read_grid({})


@pytest.mark.parametrize(
    "change",
    [{"item_id": "other"}, {"cluster": "other"}, {"template": "other"}, {"suite": "other"}],
)
def test_cells_that_were_asked_different_items_are_not_compared(
    tmp_path: Path, change: dict[str, str]
) -> None:
    rows = scored(items(tasks=2, each=1), 1.0, 0.0)
    first = write_scores(tmp_path / "1.parquet", rows)
    second = write_scores(tmp_path / "2.parquet", [rows[0], {**rows[1], **change}])
    with pytest.raises(EvaluationError) as caught:
        read_grid({(("a",), 1): first, (("b",), 1): second})
    assert caught.value.slug == "study-items-differ"
    assert str(second) in str(caught.value.where)


def test_only_the_wanted_suites_count_in_every_way_they_are_asked(tmp_path: Path) -> None:
    rows = [
        {**row, "suite": suite, "score": 1.0}
        for suite in ("unseen@one", "unseen@two", "families", "unseen")
        for row in items(tasks=1, each=1)
    ]
    path = write_scores(tmp_path / "a.parquet", rows)
    places = {(("a",), 1): path}
    assert set(read_grid(places).suites) == {"families", "unseen", "unseen@one", "unseen@two"}
    assert set(read_grid(places, suites=["unseen"]).suites) == {
        "unseen",
        "unseen@one",
        "unseen@two",
    }
    assert read_grid(places, suites=["unseen@two"]).suites == ("unseen@two",)
    assert read_grid(places).suite("families").rows[0].suite == "families"


def test_a_suite_that_no_cell_was_asked_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "a.parquet", scored(items(1, 1), 1.0))
    with pytest.raises(EvaluationError) as caught:
        read_grid({(("a",), 1): path}, suites=["unsen"])
    assert caught.value.slug == "study-suite-unknown"
    assert "unseen" in caught.value.render()


def test_items_that_only_a_judge_scores_cannot_be_compared(tmp_path: Path) -> None:
    rows = scored(items(tasks=2, each=1), 1.0, 1.0)
    path = write_scores(tmp_path / "a.parquet", [rows[0], {**rows[1], "score": None}])
    with pytest.raises(EvaluationError) as caught:
        read_grid({(("a",), 1): path})
    assert caught.value.slug == "study-no-score"
    assert "1 of 2" in caught.value.render()


def test_rows_asked_in_several_ways_become_levels_with_equal_subjects(tmp_path: Path) -> None:
    plain = items(tasks=2, each=1)
    asked = [
        {**row, "suite": f"unseen@{way}", "item_id": f"{way} {row['item_id']}", "template": name}
        for way, name in (("few", "x"), ("zero", "x"), ("zero", "y"))
        for row in plain
    ]
    # only few is asked about the third task
    asked.append({**items(tasks=3, each=1)[2], "suite": "unseen@few"})
    for number, row in enumerate(asked):
        row["item_id"] += f" {row['template']}{number}"
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.8, 0.9]
    path = write_scores(tmp_path / "a.parquet", scored(asked, *values))
    grid = by_asking(read_grid({(("a",), 1): path}))
    assert set(grid.scores) == {("a", "few"), ("a", "zero")}
    assert [row.task for row in grid.rows] == ["task 000", "task 001"]
    assert grid.suites == ("unseen",)
    assert grid.scores["a", "few"].tolist() == [[0.1, 0.2]]
    # two templates of a task are one subject
    assert grid.scores["a", "zero"][0] == pytest.approx([0.4, 0.6])


def test_sums_by_cluster(tmp_path: Path) -> None:
    rows = [*items(tasks=2, each=2), *items(tasks=3, each=1)[2:]]
    paths = {
        ((level,), 1): write_scores(
            tmp_path / f"{level}.parquet", scored(rows, *(level * np.arange(1.0, 6.0)))
        )
        for level in (1, 10)
    }
    sums_LSC, sizes_C = cluster_sums(read_grid(paths), [(10,), (1,)])
    assert sizes_C.tolist() == [2, 2, 1]
    assert sums_LSC.tolist() == [[[30, 70, 50]], [[3, 7, 5]]]
