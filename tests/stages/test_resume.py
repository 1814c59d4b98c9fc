"""An interrupted training goes on, and ends where an uninterrupted one would have ended."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from regimen.objectives.supervised import Supervised

WAYS = {
    "full": {"optimizer": "adamw"},
    "muon, accumulation": {"optimizer": "muon", "gradient_accumulation_steps": 2},
    "aware of rounding": {"quantisation_aware": {"bits": 3, "group_size": 16}},
    "lora with dropout": {"adapter": {"kind": "lora", "r": 4, "dropout": 0.2}},
}
SAMPLE = (("muon, accumulation", signal.SIGINT), ("lora with dropout", signal.SIGTERM))
"""What the default run tries; the other pairs are slow."""


def interrupt_at(monkeypatch, step, number):
    """Send a signal to this process in the middle of a step."""
    calls = []
    weights = Supervised.weights

    def sending(self, batch):
        calls.append(0)
        if len(calls) == step:
            os.kill(os.getpid(), number)
        return weights(self, batch)

    monkeypatch.setattr(Supervised, "weights", sending)


@pytest.mark.parametrize(
    ("way", "number"),
    [
        pytest.param(way, number, marks=[] if (way, number) in SAMPLE else [pytest.mark.slow])
        for way in WAYS
        for number in (signal.SIGINT, signal.SIGTERM)
    ],
)
def test_a_signal_saves_and_the_same_command_goes_on(text_project, way, number, monkeypatch, capfd):
    file = text_project.settings("broken", **WAYS[way])
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5, number)
        assert text_project.run(file) == 128 + number
    assert "Run the same command again" in capfd.readouterr().err
    assert not (text_project.folder / "runs/broken/tune/manifest.json").exists()
    assert text_project.run(file) == 0
    assert "goes on from" in capfd.readouterr().out
    assert text_project.result("broken") == text_project.straight(**WAYS[way])


def test_without_save_steps_a_signal_still_saves(text_project, monkeypatch, capfd):
    file = text_project.settings("broken", save_steps=None)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 4, signal.SIGTERM)
        assert text_project.run(file) == 143
    assert text_project.run(file) == 0
    assert text_project.result("broken") == text_project.straight(save_steps=None)


def test_other_settings_start_anew(text_project, monkeypatch, capfd):
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5, signal.SIGTERM)
        text_project.run(text_project.settings("broken"))
    capfd.readouterr()
    assert text_project.run(text_project.settings("broken", learning_rate=0.02)) == 0
    assert "goes on from" not in capfd.readouterr().out


@pytest.mark.matrix
@pytest.mark.parametrize("what", ["truncated", "tampered", "missing", "no hashes"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(
    text_project, what, monkeypatch, capfd
):
    file = text_project.settings("broken")
    with monkeypatch.context() as patched:
        interrupt_at(patched, 7, signal.SIGTERM)
        text_project.run(file)
    folders = sorted((text_project.folder / "runs/broken/tune").glob("checkpoint-*"))
    assert [f.name for f in folders] == ["checkpoint-6", "checkpoint-7"]
    weights = folders[1] / "model.safetensors"
    content = weights.read_bytes()
    if what == "truncated":
        weights.write_bytes(content[:-100])
    elif what == "tampered":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif what == "missing":
        weights.unlink()
    else:
        (folders[1] / "hashes.json").unlink()
    capfd.readouterr()
    assert text_project.run(file) == 0
    said = capfd.readouterr().out
    assert "checkpoint-7 is damaged" in said
    assert "goes on from" in said
    assert "checkpoint-6" in said
    assert text_project.result("broken") == text_project.straight()


def test_a_full_disk_is_an_error_and_the_checkpoint_before_stays(text_project, monkeypatch, capfd):
    from regimen.training import checkpoints

    file = text_project.settings("broken")
    save = torch.save
    saved = []

    def full(content, path):
        saved.append(path)
        if len(saved) == 3:  # optimizer and random states of the first, then the second
            raise OSError(28, "No space left on device")
        save(content, path)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.torch, "save", full)
        assert text_project.run(file) == 1
    said = capfd.readouterr().err
    assert "No space left" in said
    assert "Free space" in said
    folder = text_project.folder / "runs/broken/tune"
    assert [p.name for p in folder.iterdir() if "checkpoint" in p.name] == ["checkpoint-2"]
    assert text_project.run(file) == 0
    assert text_project.result("broken") == text_project.straight()


DRIVER = """
import os, random, signal, sys, time
from regimen.cli import main
import regimen.stages.tune
import transformers.models.llama.modeling_llama

def child(file):
    pid = os.fork()
    if pid == 0:
        try:
            main(["run", file])
        except SystemExit as stopped:
            os._exit(stopped.code or 0)
    return pid

began = time.monotonic()
_, status = os.waitpid(child("straight.yaml"), 0)
assert status == 0, status
usual = time.monotonic() - began
rng, kills = random.Random(int(sys.argv[1])), 0
while kills < 30:
    pid = child("broken.yaml")
    # Short enough that a few kills lie between two checkpoints, so that it takes 30 to get through.
    time.sleep(rng.random() * usual)
    done, status = os.waitpid(pid, os.WNOHANG)
    if done:
        assert status == 0, status
        os.system("rm -rf runs/broken")  # got through: begin again
        continue
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kills += 1
_, status = os.waitpid(child("broken.yaml"), 0)
assert status == 0, status
print(kills)
"""


@pytest.mark.faults
@pytest.mark.parametrize("way", WAYS)
def test_thirty_kills_at_random_moments_change_no_bit(text_project, way):
    for name in ("straight", "broken"):
        text_project.settings(name, **WAYS[way], max_steps=40, save_steps=1)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "0"], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-1] == "30"
    assert "goes on from" in done.stdout
    assert text_project.result("broken") == text_project.result("straight")
