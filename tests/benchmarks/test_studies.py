"""The results of the studies and their page: pytest tests/benchmarks/test_studies.py."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from regimen.errors import RunError
from regimen.settings.yaml12 import parse


def test_the_committed_results_are_the_page(bench: SimpleNamespace) -> None:
    page = bench.study_page
    results = page.kept()
    assert results
    assert page.TARGET.read_text(encoding="utf-8") == page.study_page(results)


def test_every_kept_result_is_of_the_recipe_that_is_shipped(bench: SimpleNamespace) -> None:
    page, studies = bench.study_page, bench.studies
    for result in page.kept():
        name = result["name"].removeprefix("study_")
        assert not result["quick"]
        if result.get("earlier"):  # the page says so
            assert result["earlier"] in " ".join(page.TARGET.read_text("utf-8").split())
            continue
        recipe = (studies.RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
        # what the comments say may have been measured by that very run
        assert parse(result["recipe"], name).data == parse(recipe, name).data


def test_a_study_that_is_not_shipped_is_told(bench: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no recipe of a study called 'taks'"):
        bench.studies.bench("taks", tmp_path, quick=True)


def test_the_minutes_of_a_study_are_those_of_all_its_parts(bench, tmp_path):
    assert bench.studies.spent(tmp_path, 60.0) == 60.0
    assert bench.studies.spent(tmp_path, 30.0) == 90.0
