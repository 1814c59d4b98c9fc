"""pytest tests/stages/test_bad_training.py: what may go wrong while a model is trained.

Each is an error that says what to do, or a removal that is counted; never a traceback.
"""

import errno
import json
import os
import resource
import shutil
import signal
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from regimen.objectives.supervised import Supervised
from regimen.runs import Run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits of POSIX systems")


def interrupted(project, monkeypatch, file, step):
    """Run it and end it by a signal in the middle of a step: a checkpoint is left."""
    given, calls = Supervised.weights, []

    def sending(self, batch):
        calls.append(0)
        if len(calls) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return given(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "weights", sending)
        assert project.run(file) == 128 + signal.SIGTERM


def said_error(capfd, slug):
    text = capfd.readouterr().err
    assert f"[{slug}]" in text
    assert "fix:" in text
    assert "Traceback" not in text
    return text


OTHER = {
    "model": ({"model": {"path": "other"}}, "a checkpoint of other weights to start from\n"),
    "adapter": (
        {"model": {"path": "other"}, "adapter": {"kind": "lora", "r": 2}},
        "a checkpoint of other weights to start from\n",
    ),
    "rows": ({"text": {"path": "other.txt"}}, "a checkpoint of other training rows\n"),
    "options": ({"learning_rate": 0.02}, "a checkpoint of other options of the training\n"),
    "two": (
        {"text": {"path": "other.txt"}, "seed": 4},
        "a checkpoint of other training rows and other options of the training\n",
    ),
}


@pytest.mark.parametrize(
    "what",
    [
        pytest.param(name, marks=[] if name in ("adapter", "two") else [pytest.mark.slow])
        for name in OTHER
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_says_which(
    text_project, what, monkeypatch, capfd
):
    changes, says = OTHER[what]
    shutil.copytree("base", "other")
    weights = load_file("other/model.safetensors")
    name = next(name for name in weights if "mlp" in name)
    save_file({**weights, name: weights[name] * 2}, "other/model.safetensors", {"format": "pt"})
    text = Path("text.txt").read_text()
    Path("other.txt").write_text(text.replace("cats", "dogs"))
    adapter = {"adapter": changes["adapter"]} if "adapter" in changes else {}
    ours = text_project.settings("ours", save_steps=None, **adapter)
    theirs = text_project.settings("theirs", save_steps=None, **changes)
    interrupted(text_project, monkeypatch, ours, 3)
    interrupted(text_project, monkeypatch, theirs, 5)
    shutil.copytree("runs/theirs/tune/checkpoint-5", "runs/ours/tune/checkpoint-5")
    capfd.readouterr()
    assert text_project.run(ours) == 1
    assert says in said_error(capfd, "checkpoint-other")
    shutil.rmtree("runs/ours/tune/checkpoint-5")
    assert text_project.run(ours) == 0
    assert "goes on from" in capfd.readouterr().out


def test_without_a_whole_checkpoint_training_begins_again_and_says_so(
    text_project, monkeypatch, capfd
):
    file = text_project.settings("broken", save_steps=None)
    interrupted(text_project, monkeypatch, file, 3)
    weights = Path("runs/broken/tune/checkpoint-3/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1])
    capfd.readouterr()
    assert text_project.run(file) == 0
    said = capfd.readouterr().out
    assert "checkpoint-3 is damaged (model.safetensors is not what was written)" in said
    assert "begins again, because no whole checkpoint is left" in said
    assert text_project.result("broken") == text_project.straight(save_steps=None)


@contextmanager
def largest_file(size):
    """No file may become larger than that: what a full disk is to the libraries that write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
def test_what_the_libraries_say_of_a_full_disk_is_understood(text_project, name, capfd):
    file = text_project.settings("broken", save_steps=2)
    assert text_project.run(text_project.settings("straight", save_steps=2)) == 0
    whole = text_project.folder / "runs/straight/tune/checkpoint-8"
    sizes = {path.name: path.stat().st_size for path in whole.iterdir()}
    assert sizes["model.safetensors"] < sizes["optimizer.pt"]
    capfd.readouterr()
    with largest_file(sizes[name] - 1000):
        assert text_project.run(file) == 1
    text = said_error(capfd, "not-saved")
    assert "checkpoint-2 could not be written" in text
    assert "Free space" in text
    folder = text_project.folder / "runs/broken/tune"
    assert not [path for path in folder.iterdir() if "checkpoint" in path.name]
    assert text_project.run(file) == 0
    assert text_project.result("broken") == text_project.result("straight")


def test_a_disk_that_is_full_at_the_end_costs_the_last_steps_only(text_project, capfd):
    file = text_project.settings("broken", save_steps=4, max_steps=8)
    from regimen.stages import training

    write = training.write_model

    def full(model, tokenizer, directory, **more):
        with largest_file(10_000):
            write(model, tokenizer, directory, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "write_model", full)
        capfd.readouterr()
        assert text_project.run(file) == 1
    assert "final could not be written" in said_error(capfd, "not-saved")
    folder = text_project.folder / "runs/broken/tune"
    names = {path.name for path in folder.iterdir()}
    assert {"checkpoint-4", "checkpoint-8"} <= names
    assert not names & {"final", ".final.partial", "manifest.json"}
    assert text_project.run(file) == 0
    assert "goes on from" in capfd.readouterr().out
    assert text_project.result("broken") == text_project.straight(save_steps=4, max_steps=8)


@pytest.mark.parametrize("code", [errno.ENOSPC, pytest.param(errno.EDQUOT, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_elsewhere_is_an_error_too(text_project, code, monkeypatch, capfd):
    file = text_project.settings("broken")
    log = Run.log

    def full(self, record):
        if record["step"] == 5:
            raise OSError(code, os.strerror(code), "metrics.jsonl")
        log(self, record)

    with monkeypatch.context() as patched:
        patched.setattr(Run, "log", full)
        assert text_project.run(file) == 1
    text = said_error(capfd, "disk-full")
    assert os.strerror(code) in text
    assert "metrics.jsonl" in text
    assert (text_project.folder / "runs/broken/tune/checkpoint-4").is_dir()
    assert text_project.run(file) == 0
    assert text_project.result("broken") == text_project.straight()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_base_weight_that_is_no_number_is_found_before_step_0(text_project, value, capfd):
    weights = load_file("base/model.safetensors")
    name = next(name for name in weights if "layers.1.mlp.up_proj" in name)
    weights[name][3, 4] = value
    save_file(weights, "base/model.safetensors", {"format": "pt"})
    assert text_project.run(text_project.settings("r")) == 1
    text = said_error(capfd, "weights-not-finite")
    assert f"{name}: 1 of {weights[name].numel():,} values" in text
    assert not (text_project.folder / "runs/r/tune/metrics.jsonl").exists()


def test_a_loss_that_is_no_number_stops_and_names_the_instances(text_project, monkeypatch, capfd):
    chats = [
        {
            "messages": [
                {"role": "user", "content": f"the {a} dog sees"},
                {"role": "assistant", "content": "cats"},
            ]
        }
        for a in "abcdefgh"
    ]
    Path("chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    tune = {
        "model": {"path": "base"},
        "max_steps": 4,
        "max_length": 32,
        "tokens_per_batch": 64,
        "precision": "fp32",
        # rows kept apart must not change what a row is called
        "validation": {"share": 0.3, "every": 100},
    }
    settings = {"run": "runs/r", "build": {"sources": [{"path": "chats.jsonl"}]}, "tune": tune}
    Path("r.yaml").write_text(yaml.safe_dump(settings))
    given, seen = Supervised.__call__, []

    def broken(self, batch, reduced):
        seen.append([tuple(ids) for ids in batch.ids_T.split(list(batch.plan.lengths))])
        out = given(self, batch, reduced)
        return replace(out, components={"nll": out.components["nll"] * float("nan")})

    monkeypatch.setattr(Supervised, "__call__", broken)
    assert text_project.run("r.yaml") == 1
    text = said_error(capfd, "loss-not-finite")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("base")
    table = pq.read_table("runs/r/build/instances.parquet").to_pylist()
    (batch,) = seen
    for row in batch:
        asked = tokenizer.decode(row).split("the ")[1][0]
        (instance,) = [one for one in table if f"the {asked} dog" in one["messages"][0]["content"]]
        assert f"chats.jsonl:{instance['row']} ({instance['instance_id']})" in text
    assert text.count("chats.jsonl:") == len(batch) < len(chats)


def test_one_row_cannot_be_split_for_validation(text_project, capfd):
    Path("text.txt").write_text("the dog sees cats")
    file = text_project.settings("r", validation={"share": 0.5, "every": 1})
    assert text_project.run(file) == 1
    assert "1 row" in said_error(capfd, "validation-too-few")


def test_new_rows_of_the_vocabulary_do_not_depend_on_what_was_drawn_before():
    from helpers.small_models import MODELS, make
    from regimen.models.loading import fit_vocabulary

    class Longer:
        def __len__(self):
            return 70

    rows = []
    for draws in (0, 3):
        model = make("llama", MODELS["llama"])
        torch.rand(draws)
        state = torch.get_rng_state()
        fit_vocabulary(model, Longer(), added=9)
        assert torch.equal(state, torch.get_rng_state())
        rows.append(model.get_input_embeddings().weight.detach()[61:])
    assert torch.equal(*rows)
    assert rows[0].unique(dim=0).shape[0] > 1, "drawn, not all the mean"
