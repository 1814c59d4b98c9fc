"""The page about reward models says what the code does."""

from dataclasses import fields
from pathlib import Path

import pytest

from helpers.doc_examples import blocks, table
from regimen.objectives.table import REWARDS
from regimen.settings import yaml12
from regimen.settings.align_methods import TAKES
from regimen.settings.loading import settings_from


@pytest.fixture(scope="module")
def page(repo_root: Path) -> str:
    return (repo_root / "docs" / "rewards.md").read_text(encoding="utf-8")


def test_its_settings_are_taken(page: str) -> None:
    examples = blocks(page, "yaml")
    assert len(examples) == 3
    for block in examples:
        settings_from(yaml12.parse(block, "example").data)


def test_every_method_is_there_with_its_hyper_parameters_and_defaults(page: str) -> None:
    rows = {row[0].strip("`"): row for row in table(page, "Method")}
    assert list(rows) == list(REWARDS)
    for name, row in rows.items():
        assert all(f"`{taken}`" in row[-1] for taken in TAKES[name]), name
        for field in fields(REWARDS[name].loss):
            told = row[-1].split(f"`{field.name}`")[1].split(",")[0].strip()
            assert told == f"{field.default:g}", (name, field.name)
