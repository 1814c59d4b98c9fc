"""Settings of memory through the stages: pytest tests/stages/test_memory.py"""

import json
from pathlib import Path

import pytest

from regimen.memory import activations, streaming

LORA = {"adapter": {"kind": "lora", "r": 4, "dropout": 0.1}, "max_steps": 5}


@pytest.fixture(autouse=True)
def everything_moves(monkeypatch):
    monkeypatch.setattr(activations, "SMALL", 0)
    monkeypatch.setattr(streaming, "LEAST", 1)


@pytest.fixture(scope="module")
def plain(shared_project):
    """What the training ends with that keeps everything."""
    assert shared_project.run(shared_project.settings("lora", **LORA)) == 0
    return shared_project.weights("lora")


@pytest.mark.parametrize(
    "memory",
    [
        {"activations": "selective"},
        {"activations": "offload", "offload_directory": "elsewhere"},
        {"activations": "full", "stream": True},
        pytest.param({"activations": "offload", "stream": True}, marks=pytest.mark.slow),
        pytest.param({"stream": True}, marks=pytest.mark.slow),
    ],
    ids=lambda memory: "-".join(map(str, memory.values())),
)
def test_a_training_ends_with_the_same_weights(shared_project, plain, memory):
    name = "_".join(map(str, memory.values()))
    assert shared_project.run(shared_project.settings(name, **LORA, memory=memory)) == 0
    assert shared_project.weights(name) == plain
    summary = json.loads((Path("runs") / name / "tune/summary.json").read_text())
    returned = [note for note in summary["notes"] if "given back" in note or "left" in note]
    assert bool(returned) == (memory != {"activations": "selective"})
    told = [note for note in summary["notes"] if "stay on disk" in note]
    assert bool(told) == bool(memory.get("stream"))
    assert (summary["memory"]["weights"] < 2000) == bool(memory.get("stream"))
    if "offload_directory" in memory:
        assert list(Path("elsewhere").iterdir()) == []


def test_full_tuning_too(shared_project):
    for name, memory in {"all": {}, "few": {"activations": "full", "tiled_mlp": 16}}.items():
        file = shared_project.settings(name, max_steps=4, save_steps=None, memory=memory)
        assert shared_project.run(file) == 0
    losses = [[line["loss"] for line in shared_project.metrics(name)] for name in ("all", "few")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[0][-1] < losses[0][0]


def test_a_disk_without_room_is_told_before_the_first_step(shared_project, monkeypatch, capfd):
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    file = shared_project.settings("none", memory={"activations": "offload"})
    assert shared_project.run(file) == 1
    said = capfd.readouterr().err
    assert "disk-too-small" in said
    assert "memory.offload_directory" in said
