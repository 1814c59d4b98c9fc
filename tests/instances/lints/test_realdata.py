"""pytest -m realdata tests/instances/lints/test_realdata.py: true findings, and silence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from regimen.instances.collections.promptsource import read_promptsource
from regimen.instances.formats import read_source
from regimen.instances.lints.findings import Finding
from regimen.instances.lints.spaces import stated_space
from regimen.instances.lints.tasks import lint_tasks
from regimen.instances.readers import RawRow, read_rows
from regimen.records import Task

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("REGIMEN_SHARED", ROOT / ".." / "shared")) / "data"
pytestmark = pytest.mark.realdata


def source(name: str) -> Path:
    path = DATA / name
    if not path.is_dir():
        pytest.skip("needs the shared third-party data")
    return path


def found(records: Iterator[object]) -> list[Finding]:
    return list(lint_tasks(record for record in records if isinstance(record, Task)))


def test_promptsource_hides_an_answer_in_three_templates_and_an_option_in_one() -> None:
    places = {(f.lint, f.where) for f in found(read_promptsource(source("promptsource")))}
    assert places == {
        ("options_not_shown", "sciq#Multiple Choice (Closed Book)"),
        ("options_not_shown", "sciq#Multiple Choice Question First"),
        ("options_not_shown", "sciq#Multiple Choice"),
        ("answer_outside_options", "wiqa#which_of_the_following_is_the_supposed_perturbation"),
    }


def test_super_natural_instructions() -> None:
    findings = found(read_source(source("super-natural-instructions")))
    few = {
        (f.lint, f.task.partition("_")[0], f.count)
        for f in findings
        if f.lint != "example_is_instance"
    }
    assert few == {
        ("conflicting_duplicates", "task1733", 4),
        ("example_conflict", "task1733", 3),
        ("answer_outside_options", "task1749", 1),
        ("control_characters", "task719", 1),
        ("control_characters", "task734", 1),
        ("repeated_inputs", "task731", 1),
    }
    shared = [f for f in findings if f.lint == "example_is_instance"]
    assert len(shared) == 42
    assert all("mmmlu" in f.task for f in shared)


def test_stated_answers_allow_the_example_of_their_definition() -> None:
    said = [
        row.values
        for row in read_rows(source("niv2-meta") / "niv2_meta.jsonl.zst")
        if isinstance(row, RawRow)
    ]
    spaces = [(values, stated_space(values["definition"])) for values in said]
    named = [(values, space) for values, space in spaces if space is not None]
    odd = [
        values["task"]
        for values, space in named
        if not space.allows(str(values["positive_example"]["output"]))
    ]
    assert len(said) == 1654
    assert len(named) > 300
    assert len(odd) <= 0.03 * len(named)
    assert "task1532_daily_dialog_emotion_classification" in odd
