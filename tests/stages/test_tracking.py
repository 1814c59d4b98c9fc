"""What trackers are told, and that none of them stops a training."""

import json
import os
import signal
from pathlib import Path

import pytest

from helpers.trackers import Fakes
from regimen.objectives.supervised import Supervised
from regimen.runs import read_manifest
from regimen.stages.trackers import TRACKERS

ALL = tuple(TRACKERS)
VARIABLES = ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "TRACKIO_PROJECT")


@pytest.fixture
def fakes(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return Fakes(monkeypatch, *ALL)


def interrupt_at(monkeypatch, step):
    """Send a signal to this process in the middle of a step."""
    calls, weights = [], Supervised.weights

    def sending(self, batch):
        calls.append(0)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return weights(self, batch)

    monkeypatch.setattr(Supervised, "weights", sending)


def summary(project, name):
    return json.loads((project.folder / "runs" / name / "tune/summary.json").read_text())


def test_every_tracker_gets_every_line_under_the_names_that_people_look_for(text_project, fakes):
    file = text_project.settings("t", report_to=ALL, max_steps=3, save_steps=None)
    assert text_project.run(file) == 0
    lines = text_project.metrics("t")
    names = {"loss", "nll", "grad_norm", "learning_rate", "epoch", "num_tokens"}
    names |= {"supervised_tokens", "tokens/s", "memory/max_alloc"}
    for library in ALL:
        shown = {name for details in fakes.of(library, "log") for name in details["values"]}
        assert shown == names, library
        for name in ("loss", "num_tokens", "learning_rate"):
            curve = fakes.curve(library, name)
            assert [step for step, _ in curve] == [1, 2, 3]
            expected = [line[name] for line in lines]
            assert [value for _, value in curve] == pytest.approx(expected, abs=1e-6)
        assert len(fakes.of(library, "close")) == 1
    assert fakes.of("wandb", "metric") == [{"name": "num_tokens"}]
    assert fakes.of("wandb", "close") == [{"status": 0}]
    assert fakes.of("mlflow", "close") == [{"status": "FINISHED"}]
    assert summary(text_project, "t")["trackers"] == dict.fromkeys(ALL, "ok")


def test_settings_are_logged_once_and_the_run_is_named(text_project, fakes):
    more = {"run_name": "first", "project": "dogs", "max_steps": 2, "save_steps": None}
    assert text_project.run(text_project.settings("t", report_to=ALL, **more)) == 0
    for library in ALL:
        (told,) = fakes.of(library, "settings")
        assert "report_to" not in told["settings"]
    assert fakes.of("wandb", "settings")[0]["settings"]["model"]["path"] == "base"
    for library in ("mlflow", "trackio"):
        flat = fakes.of(library, "settings")[0]["settings"]
        assert (flat["model.path"], flat["learning_rate"], flat["seed"]) == ("base", 0.01, 0)
    assert '"learning_rate": 0.01' in fakes.of("tensorboard", "settings")[0]["settings"]
    (wandb,), (trackio,) = fakes.of("wandb", "open"), fakes.of("trackio", "open")
    assert (wandb["name"], wandb["project"]) == (trackio["name"], trackio["project"])
    assert (wandb["name"], wandb["project"]) == ("first", "dogs")
    assert fakes.of("mlflow", "project") == [{"name": "dogs"}]
    assert fakes.of("mlflow", "open")[0]["name"] == "first"
    assert Path(fakes.of("tensorboard", "open")[0]["log_dir"]).name == "first"


def test_the_environment_names_the_project_where_the_settings_do_not(
    text_project, fakes, monkeypatch
):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert text_project.run(text_project.settings("t", report_to=["wandb", "trackio"])) == 0
    assert [fakes.of(x, "open")[0]["project"] for x in ("wandb", "trackio")] == ["mine", "regimen"]
    assert fakes.of("wandb", "open")[0]["name"] == "t-tune"


def test_a_training_that_goes_on_continues_its_curves(text_project, fakes, monkeypatch):
    file = text_project.settings("t", report_to=ALL)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5)
        assert text_project.run(file) == 143
    assert fakes.of("mlflow", "close") == [{"status": "KILLED"}]
    assert text_project.run(file) == 0
    for library in ALL:
        assert [step for step, _ in fakes.curve(library, "loss")] == list(range(1, 10)), library
        assert len(fakes.of(library, "settings")) == 1
    assert [(o["id"], o["resume"]) for o in fakes.of("wandb", "open")] == [
        (None, None),
        ("w1", "allow"),
    ]
    assert [o["id"] for o in fakes.of("mlflow", "open")] == [None, "m1"]
    assert [o["resume"] for o in fakes.of("trackio", "open")] == ["never", "must"]
    first, second = fakes.of("tensorboard", "open")
    assert first == {"log_dir": second["log_dir"], "purge_step": None}
    assert second["purge_step"] == 6


def test_steps_after_the_checkpoint_are_not_shown_twice(text_project, fakes, monkeypatch):
    file = text_project.settings("t", report_to=ALL, save_steps=4)

    def dying(self, batch, count=[]):  # noqa: B006
        count.append(0)
        if len(count) == 7:
            raise KeyboardInterrupt  # no checkpoint is saved on the way out
        return weights(self, batch)

    weights = Supervised.weights
    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "weights", dying)
        text_project.run(file)
    assert text_project.run(file) == 0
    for library in ("wandb", "mlflow", "trackio"):
        assert [step for step, _ in fakes.curve(library, "loss")] == list(range(1, 10)), library
    # TensorBoard drops what came at or after its purge step, and gets it again
    assert fakes.of("tensorboard", "open")[1]["purge_step"] == 5
    shown = [step for step, _ in fakes.curve("tensorboard", "loss")]
    assert shown == [1, 2, 3, 4, 5, 6, 5, 6, 7, 8, 9]


class Unreachable(Exception):
    """Nothing that anybody could have foreseen."""


@pytest.mark.parametrize(("what", "step"), [("open", 0), ("log", 1), ("close", 9)])
def test_a_tracker_that_raises_is_told_once_and_switched_off(
    text_project, fakes, what, step, capfd
):
    fakes.broken["wandb", what] = Unreachable("no route\nto host")
    capfd.readouterr()
    assert text_project.run(text_project.settings("t", report_to=["wandb", "mlflow"])) == 0
    expected = f"switched off at step {step}: Unreachable no route"
    said = capfd.readouterr().out
    assert said.count("wandb switched off") == 1
    assert f"tune: wandb {expected}; training goes on" in said
    assert summary(text_project, "t")["trackers"] == {"wandb": expected, "mlflow": "ok"}
    assert len(fakes.of("wandb", what)) == 1
    assert [step for step, _ in fakes.curve("mlflow", "loss")] == list(range(1, 10))
    assert text_project.result("t") == text_project.straight()


def test_a_tracker_that_cannot_be_closed_after_failing_says_so(text_project, fakes):
    fakes.broken["mlflow", "log"] = Unreachable("gone")
    fakes.broken["mlflow", "close"] = Unreachable("still gone")
    assert text_project.run(text_project.settings("t", report_to=["mlflow"])) == 0
    told = summary(text_project, "t")["trackers"]["mlflow"]
    assert told.endswith("it could not be closed either: Unreachable still gone")


def test_a_training_that_fails_is_failed_in_its_trackers(text_project, fakes, monkeypatch):
    monkeypatch.setattr(Supervised, "weights", lambda *_: {"nll": float("nan")})
    assert text_project.run(text_project.settings("t", report_to=["mlflow", "wandb"])) == 1
    assert fakes.of("mlflow", "close") == [{"status": "FAILED"}]
    assert fakes.of("wandb", "close") == [{"status": 1}]


def test_a_tracker_makes_no_finished_stage_stale_and_no_result_different(
    text_project, fakes, capfd
):
    file = text_project.settings("t", report_to=["trackio"])
    assert text_project.run(file) == 0
    with_tracker = read_manifest(text_project.folder / "runs/t/tune")
    assert text_project.run(text_project.settings("t")) == 0
    assert "nothing to do" in capfd.readouterr().out
    assert "tracking.json" in with_tracker.volatile["files"]
    assert "tracking.json" not in with_tracker.files


def test_without_trackers_nothing_is_written_for_them(text_project):
    assert text_project.run(text_project.settings("t", max_steps=1)) == 0
    assert not (text_project.folder / "runs/t/tune/tracking.json").exists()
    assert "trackers" not in summary(text_project, "t")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_itself_reads_the_curve_back(text_project, monkeypatch):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: pip install it")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file = text_project.settings("t", report_to=["tensorboard"])
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5)
        assert text_project.run(file) == 143
    assert text_project.run(file) == 0
    events = EventAccumulator(str(text_project.folder / "runs/t/tune/tensorboard/t-tune"))
    events.Reload()
    scalars = events.Scalars("loss")
    assert [scalar.step for scalar in scalars] == list(range(1, 10))
    logged = [line["loss"] for line in text_project.metrics("t")]
    assert [scalar.value for scalar in scalars] == pytest.approx(logged, rel=1e-5)
    assert "learning_rate" in str(events.Tensors("settings/text_summary"))
