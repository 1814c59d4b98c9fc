"""The page about ``align`` says what the code does."""

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from helpers.doc_examples import blocks, table
from regimen.objectives.table import CONDITIONED, METHODS
from regimen.settings import yaml12
from regimen.settings.align_methods import TAKES
from regimen.settings.loading import settings_from


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "align.md").read_text(encoding="utf-8")


def test_its_settings_are_taken(page: str) -> None:
    for block in blocks(page, "yaml"):
        settings_from(yaml12.parse(block, "example").data)


def test_every_method_is_there_with_its_hyper_parameters_and_defaults(page: str) -> None:
    rows = {row[0].strip("`"): row for row in table(page, "Method")}
    assert list(rows) == [*METHODS, *CONDITIONED]
    for name, row in rows.items():
        written = row[-1]
        assert all(f"`{taken}`" in written for taken in TAKES[name]), name
        for field in fields(METHODS[name].loss) if name in METHODS else ():
            assert field.default is not MISSING
            told = written.split(f"`{field.name}`")[1].split(",")[0].strip()
            default = str(field.default).lower()
            assert told in ("", default, default.removesuffix(".0")), (name, field.name)
