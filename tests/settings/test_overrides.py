"""Overrides: three spellings, lists, sections made on the way, and errors that name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from regimen.errors import SettingsError
from regimen.settings.loading import load_settings

BASE = """
build:
  sources:
    - {starter: tasks}
    - {path: a.jsonl}
tune:
  model: {path: m}
evaluate:
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(BASE, encoding="utf-8")
    return path


def problem(path: Path, *overrides: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tune.learning_rate=2e-3"],
        ["--tune.learning_rate", "2e-3"],
        ["--tune.learning_rate=2e-3"],
        ["tune.learning_rate=1", "tune.learning_rate=2e-3"],
    ],
)
def test_every_spelling_sets_the_value(base: Path, arguments: list[str]) -> None:
    settings = load_settings(base, arguments)
    assert settings.tune is not None
    assert settings.tune.learning_rate == 2e-3


def test_values_are_yaml(base: Path) -> None:
    settings = load_settings(
        base,
        ["tune.adapter={kind: lora, r: 4}", "evaluate.shots=[0, 2]", "report.title=no", "run=a=b"],
    )
    assert settings.tune is not None
    assert settings.tune.adapter is not None
    assert settings.tune.adapter.r == 4
    assert settings.evaluate is not None
    assert settings.evaluate.shots == (0, 2)
    assert settings.report is not None
    assert settings.report.title == "no"
    assert settings.run == "a=b"


@pytest.mark.parametrize("name", ["build.sources[1].limit", "build.sources.1.limit"])
def test_entries_of_a_list_have_numbers(base: Path, name: str) -> None:
    settings = load_settings(base, [f"{name}=7"])
    assert settings.build is not None
    assert [source.limit for source in settings.build.sources] == [None, 7]


def test_one_past_the_end_appends(base: Path) -> None:
    settings = load_settings(base, ["build.sources[2].starter=chats"])
    assert settings.build is not None
    assert [source.starter for source in settings.build.sources] == ["tasks", None, "chats"]


def test_no_file_is_needed() -> None:
    settings = load_settings(
        None, ["build.sources[0].path=a.jsonl", "build.sources[0].columns.prompt=q", "build.seed=1"]
    )
    assert settings.build is not None
    assert settings.build.sources[0].columns == {"prompt": "q"}


def test_null_takes_a_stage_out(base: Path) -> None:
    assert load_settings(base, ["evaluate=null"]).stages == ("build", "tune")


def test_a_fixed_value_is_no_longer_a_problem(base: Path) -> None:
    base.write_text(BASE + "  shots: 5\n", encoding="utf-8")
    assert "wrong kind" in problem(base)
    settings = load_settings(base, ["evaluate.shots=[5]"])
    assert settings.evaluate is not None
    assert settings.evaluate.shots == (5,)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tune.learning_rat=1"], "Did you mean 'learning_rate'?"),
        (["tune.learning_rate=fast"], "expected: a number above 0"),
        (["tune"], "sets nothing"),
        (["--tune.learning_rate"], "has no value"),
        (["--tune.max_steps", "--seed", "1"], "'--tune.max_steps' has no value"),
        (["=3"], "does not start with the name of a setting"),
        (["tune..x=3"], "does not start with the name of a setting"),
        (["tune.adapter={r: 4"], "cannot be read"),
        (["tune.model.path.x=1"], "tune.model.path is a value and has nothing below it"),
        (["build.sources[7].path=x"], "build.sources has no such entry"),
        (["build.sources.first.path=x"], "build.sources has no such entry"),
        (["tune.adapter={r: 1, r: 2}"], "r is set twice"),
    ],
)
def test_a_wrong_override_is_named(base: Path, arguments: list[str], says: str) -> None:
    message = problem(base, *arguments)
    assert says in message
    assert "override '" in message


def test_all_wrong_overrides_are_told_at_once(base: Path) -> None:
    message = problem(base, "tune.max_step=1", "evaluate.shot=[1]", "oops")
    assert message.count("override '") >= 3
    assert "3 problems" in message
