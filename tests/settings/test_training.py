"""Settings of trackers: what is missing is told with everything else that is wrong."""

import sys
from types import ModuleType

import pytest

from regimen.errors import MissingExtraError, SettingsError
from regimen.settings import training
from regimen.settings.loading import load_settings, settings_from
from regimen.settings.problems import SettingsProblems

TUNE = {"model": {"path": "m"}, "data": "d"}


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    for name in ("tensorboard", "wandb", "mlflow", "trackio"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_a_missing_library_is_told_with_its_line_and_with_all_other_problems(
    tmp_path, nothing_installed
):
    file = tmp_path / "r.yaml"
    file.write_text(
        "tune:\n  model: {path: m}\n  data: d\n  report_to: [wandb, tensorbord, mlflow]\n"
        "  learning_rate: 11\n"
    )
    with pytest.raises(SettingsProblems) as caught:
        load_settings(file)
    found = [(p.slug, p.where.partition("\n")[0].split(":")[-2]) for p in caught.value.problems]
    assert found == [
        ("missing-wandb", "4"),
        ("settings-choice", "4"),
        ("missing-mlflow", "4"),
        ("settings-range", "5"),
    ]
    assert isinstance(caught.value.problems[0], MissingExtraError)
    assert "pip install wandb" in str(caught.value)
    assert "Did you mean 'tensorboard'?" in str(caught.value)


def test_a_missing_library_alone_is_an_error_of_its_kind(nothing_installed):
    with pytest.raises(MissingExtraError, match=r"tune.report_to\[0\] needs the library trackio"):
        settings_from({"tune": {**TUNE, "report_to": ["trackio"]}})


def test_tasks_of_lm_eval_need_its_library(nothing_installed, monkeypatch):
    monkeypatch.delitem(sys.modules, "lm_eval", raising=False)
    section = {"tune": TUNE, "evaluate": {"lm_eval": {"tasks": ["x"]}}}
    with pytest.raises(MissingExtraError, match=r"lm_eval.tasks needs the library lm_eval"):
        settings_from(section)
    monkeypatch.setattr(training, "find_spec", lambda _: object())
    found = settings_from({**section, "build": {"sources": [{"path": "a.yaml"}]}}).evaluate
    assert found is not None
    assert found.lm_eval is not None
    assert found.lm_eval.apply_chat_template
    assert "lm_eval" not in sys.modules


def test_a_library_that_is_there_is_not_imported_by_the_settings(nothing_installed, monkeypatch):
    monkeypatch.setattr(training, "find_spec", lambda name: object() if name == "wandb" else None)
    settings = settings_from({"align": {**TUNE, "report_to": ["wandb"], "run_name": "x"}})
    assert settings.align is not None
    assert settings.align.report_to == ("wandb",)
    assert "wandb" not in sys.modules


@pytest.mark.parametrize("name", ["run_name", "project"])
def test_a_name_without_a_tracker_is_a_conflict(name, monkeypatch):
    with pytest.raises(SettingsError, match=f"tune.{name}: is for trackers"):
        settings_from({"tune": {**TUNE, name: "x"}})
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    settings_from({"tune": {**TUNE, name: "x", "report_to": ["mlflow"]}})
