"""docs/studies.md and the recipes say what the code does: pytest tests/test_docs_studies.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from helpers.doc_examples import blocks, table
from regimen.settings.loading import load_settings, settings_from
from regimen.settings.pipeline import PipelineSettings
from regimen.settings.study import StudySettings
from regimen.settings.yaml12 import parse
from regimen.stages.study import STUDIES, _question
from regimen.studies.cells import Cell

SECTIONS = {
    "build": {"sources": [{"starter": "tasks"}], "held_out": {"share": 0.1}},
    "tune": {"model": {"path": "base"}},
    "evaluate": {},
}


@pytest.fixture
def page(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page, in the folder that paths of recipes count from."""
    monkeypatch.chdir(repo_root)
    return (repo_root / "docs" / "studies.md").read_text(encoding="utf-8")


def cells_of(settings: PipelineSettings) -> tuple[Cell, ...]:
    assert settings.study is not None
    kind, asked = STUDIES[settings.study.kind], _question(settings, settings.study)
    return (*kind.cells(asked), *kind.further(asked, ()))


def test_every_example_is_a_study_that_has_cells(page: str) -> None:
    kinds = []
    for block in blocks(page, "yaml"):
        values: Any = parse(block, "studies.md").data
        settings = settings_from(values if "build" in values else {**SECTIONS, **values})
        names = [cell.name for cell in cells_of(settings)]
        assert len(set(names)) == len(names) > 2
        assert settings.study is not None
        kinds.append(settings.study.kind)
    assert set(kinds) == set(STUDIES)


def test_the_table_has_every_shipped_study_with_its_number_of_cells(
    page: str, repo_root: Path
) -> None:
    rows = {row[0].strip("`"): row[3] for row in table(page, "recipe")}
    found = {
        file.name: str(len(cells_of(load_settings(file))))
        for file in (repo_root / "recipes" / "studies").glob("*.yaml")
    }
    assert rows == found


def test_the_page_names_every_setting_of_a_study(page: str) -> None:
    kinds = {kind: get_args(StudySettings.model_fields[kind].annotation)[0] for kind in STUDIES}
    for name, section in {"study": StudySettings, **kinds}.items():
        missing = [field for field in section.model_fields if field not in page]
        assert missing == [], name
