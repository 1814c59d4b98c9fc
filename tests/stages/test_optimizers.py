"""``tune`` with each optimizer: pytest tests/stages/test_optimizers.py."""

from __future__ import annotations

import json

import pytest

from regimen.training.optimizers import OPTIMIZERS
from stages.test_resume import interrupt_at

SETTINGS = {
    "galore": {"rank": 8, "update_gap": 4, "scale": 1.0},
    "apollo": {"rank": 8, "update_gap": 4},
    "apollo_mini": {"update_gap": 4},
    "badam": {"block_steps": 2},
}
RATES = {"adafactor": 0.1, "adalomo": 0.1, "lomo": 0.3, "sgd": 0.1, "lion": 0.003, "muon": 0.003}
LORA = {"kind": "lora", "r": 8, "target_modules": ["q_proj", "v_proj", "up_proj"]}


def tuned(name, **more):
    """Settings for an optimizer."""
    rest = {"optimizer_settings": SETTINGS[name]} if name in SETTINGS else {}
    return {"optimizer": name, "learning_rate": RATES.get(name, 0.01), **rest, **more}


def lowered(project, name):
    """Whether the loss fell over the run."""
    losses = [line["loss"] for line in project.metrics(name)]
    return sum(losses[-3:]) < 0.97 * sum(losses[:3])


@pytest.mark.matrix
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if kind.library == "torchao" else name
        for name, kind in OPTIMIZERS.items()
        if not kind.cuda_only
    ],
)
def test_each_optimizer_tunes(text_project, name):
    if OPTIMIZERS[name].library is not None:
        pytest.importorskip(OPTIMIZERS[name].library)
    assert text_project.run(text_project.settings("one", **tuned(name))) == 0
    assert lowered(text_project, "one")
    told = json.loads((text_project.folder / "runs/one/tune/summary.json").read_text())["memory"]
    if name == "lomo":
        assert told["optimizer"] == 0
    if OPTIMIZERS[name].fused:
        assert told["gradients"] < told["trained"] / 2


@pytest.mark.matrix
@pytest.mark.parametrize("name", ["galore", "apollo", "lomo", "badam"])
def test_an_interrupted_training_goes_on_to_the_bit(text_project, name, monkeypatch, capfd):
    more = tuned(name, adapter=LORA) if name == "badam" else tuned(name)
    file = text_project.settings("broken", **more)
    with monkeypatch.context() as patched:
        interrupt_at(patched, 5, 2)
        assert text_project.run(file) == 130
    assert text_project.run(file) == 0
    assert "goes on from" in capfd.readouterr().out
    assert text_project.result("broken") == text_project.straight(**more)


def test_paged_state_is_refused_without_cuda(text_project, capfd):
    file = text_project.settings("paged", optimizer="adamw_8bit_paged")
    assert text_project.run(file) != 0
    told = capfd.readouterr().err
    assert "paged-needs-cuda" in told
    assert "optimizer: adamw or adamw_8bit" in told
