"""The pages about AI feedback and distillation say what the code does."""

from pathlib import Path

import pytest

from helpers.doc_examples import blocks, table
from regimen.settings import yaml12
from regimen.settings.distil import DistilSettings
from regimen.settings.feedback import KINDS
from regimen.settings.loading import settings_from
from regimen.stages.principles import read_principles


@pytest.mark.parametrize("name", ["feedback", "distillation"])
def test_their_settings_are_taken(repo_root: Path, tmp_path: Path, name: str) -> None:
    page = (repo_root / "docs" / f"{name}.md").read_text(encoding="utf-8")
    found = blocks(page, "yaml")
    assert found
    for block in found:
        data = yaml12.parse(block, "example").data
        if "principles" in data:
            (tmp_path / "own.yaml").write_text(block)
            assert len(read_principles(str(tmp_path / "own.yaml")).principles) == 2
            continue
        settings_from(data)


def test_every_kind_and_divergence_has_a_row(repo_root: Path) -> None:
    feedback, distillation = (
        (repo_root / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("feedback", "distillation")
    )
    assert {row[0].strip("`") for row in table(feedback, "`kind`")} == set(KINDS)
    shown = {row[0].split("`")[1] for row in table(distillation, "`divergence`")}
    described = DistilSettings.model_json_schema()["properties"]["divergence"]["enum"]
    assert shown == set(described)
