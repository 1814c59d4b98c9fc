"""``--profile`` measures a stage and leaves no stage behind."""

import json
import os
import signal

import pytest
import yaml

from regimen.cli import main
from regimen.layout import COLUMNS
from regimen.objectives.supervised import Supervised
from regimen.stages.profile import memory_rows, time_rows
from regimen.training.profiling import profile as module


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.0)
    monkeypatch.setattr(module, "STEPS", 2)


def call(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_profile_is_told_and_written_and_no_stage_is_finished(text_project, capfd):
    assert call("tune", text_project.settings("p"), "--profile", "--json") == 0
    run = text_project.folder / "runs/p"
    assert names(run) == {"tune"}
    assert names(run / "tune") == {"profile.json"}
    told = json.loads((run / "tune/profile.json").read_text())
    named = sum(sum(ways.values()) for ways in told["parts"].values())
    assert named + told["between"] == pytest.approx(told["profiled_seconds"])
    assert told["settings"]["learning_rate"] == 0.01
    assert told["checkpoint"]["every_steps"] == 2
    assert told["checkpoint"]["bytes"] > told["memory"]["weights"] + told["memory"]["optimizer"]
    said = capfd.readouterr().out.splitlines()
    assert json.loads(said[-1])["profile"]["memory"] == told["memory"]
    assert max(len(line) for line in said[:-1]) <= COLUMNS
    shown = "\n".join(said)
    for word in ("attention", "gated network", "optimizer states", "utilisation", "page faults"):
        assert word in shown


def test_training_after_a_profile_is_the_training_without_one(text_project):
    assert text_project.run(text_project.settings("straight")) == 0
    file = text_project.settings("p")
    assert call("tune", file, "--profile") == 0
    assert text_project.run(file) == 0
    assert text_project.result("p") == text_project.result("straight")
    folder = text_project.folder / "runs/p/tune"
    assert (folder / "profile.json").exists()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "profile.json" not in {*manifest["files"], *manifest["volatile"]["files"]}
    assert names(text_project.folder / "runs") == {"p", "straight"}


def test_a_finished_stage_stays_what_it_is(text_project, capfd):
    file = text_project.settings("p")
    assert text_project.run(file) == 0
    manifest = (text_project.folder / "runs/p/tune/manifest.json").read_bytes()
    before = text_project.result("p")
    assert call("tune", file, "--profile") == 0
    assert (text_project.folder / "runs/p/tune/manifest.json").read_bytes() == manifest
    assert text_project.result("p") == before
    capfd.readouterr()
    assert text_project.run(file) == 0
    assert "tune: nothing to do" in capfd.readouterr().out


def test_an_interrupted_training_can_still_be_gone_on_with(text_project, monkeypatch, capfd):
    file = text_project.settings("p")
    calls, weights = [], Supervised.weights

    def sending(self, batch):
        calls.append(0)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return weights(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "weights", sending)
        assert text_project.run(file) == 143
    assert call("tune", file, "--profile") == 0
    capfd.readouterr()
    assert text_project.run(file) == 0
    assert "goes on from" in capfd.readouterr().out
    assert text_project.result("p") == text_project.straight()


def test_a_failing_profile_leaves_nothing(text_project, monkeypatch):
    monkeypatch.setattr(Supervised, "weights", lambda *_: {"nll": float("nan")})
    assert call("tune", text_project.settings("p"), "--profile") == 1
    assert names(text_project.folder / "runs/p") == set()


def test_preferences_are_measured_too_without_their_reference(text_project, capfd):
    folder = text_project.folder
    pairs = [
        {"prompt": f"the {a} dog", "chosen": f"{a} cats", "rejected": "dogs"} for a in "abcdef"
    ]
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(pair) for pair in pairs))
    section = {"model": {"path": "base"}, "tokens_per_batch": 64, "max_length": 40}
    settings = {
        "run": "runs/a",
        "build": {"sources": [{"path": "pairs.jsonl"}]},
        "align": {**section, "precision": "fp32", "gradient_checkpointing": True},
    }
    (folder / "a.yaml").write_text(yaml.safe_dump(settings))
    assert call("build", "a.yaml") == 0
    capfd.readouterr()
    assert call("align", "a.yaml", "--profile") == 0
    told = json.loads((folder / "runs/a/align/profile.json").read_text())
    assert told["parts"]["attention"]["again"] > 0
    assert names(folder / "runs/a/align") == {"profile.json"}


def test_a_stage_that_the_file_does_not_have_is_an_error(text_project, capfd):
    assert call("align", text_project.settings("p"), "--profile") == 1
    assert "section-missing" in capfd.readouterr().err


def test_rows_of_the_tables_add_up():
    from regimen.models.arithmetic import Flop
    from regimen.training.profiling.rates import Rate
    from regimen.training.profiling.results import Memory, Profile

    memory = Memory(
        weights=10 * 2**20,
        gradients=10 * 2**20,
        optimizer=20 * 2**20,
        activations=7 * 2**20,
        head=5 * 2**20,
        temporary=-2 * 2**20,
        allocated=50 * 2**20,
        before=100 * 2**20,
        slack=2**20,
        peak=151 * 2**20,
        is_of_steps=True,
    )
    found = Profile(
        steps=1,
        profiled_steps=1,
        tokens=10.0,
        supervised=5.0,
        micro_batches=1.0,
        seconds=0.9,
        profiled_seconds=1.0,
        processor=1.0,
        overhead=0.1,
        parts={("attention", "forward"): 0.2, ("attention", "backward"): 0.3, ("x", "other"): 0.4},
        between=0.1,
        flop={"attention": Flop(1e9, 2e9)},
        flop_per_second=3e9,
        rates={"float32": Rate(0.1, 6e9)},
        dtype="float32",
        utilisation=0.5,
        system_share=0.0,
        faults=None,
        memory=memory,
    )
    rows = time_rows(found)
    assert [row[0] for row in rows] == ["attention", "x", "between the parts", "step"]
    assert rows[0][1:] == [500.0, "50.0%", 200.0, 300.0, 3.0, 6.0]
    assert sum(row[1] for row in rows[:-1]) == rows[-1][1] == 1000.0
    sizes = [row[1] for row in memory_rows(memory)]
    assert sum(sizes[:6]) == sizes[6] == 50
    assert sum(sizes[6:9]) == sizes[9] == 151
