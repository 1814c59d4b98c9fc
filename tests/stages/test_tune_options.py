"""Validation, early stopping, the best checkpoint, and replay of plain text."""

import json
import os
import signal

import numpy as np
import pytest
import torch

from regimen.models.forward import prepare
from regimen.models.loading import ModelSpec, load_model
from regimen.objectives.supervised import Supervised
from regimen.reports import write_report
from regimen.stages import training_run
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import load_token_rows, token_rows
from regimen.training.measure import mean_nll

MORE = {"schedule": "constant", "warmup_ratio": 0.0, "save_steps": None}


def scripted(monkeypatch, losses):
    """Validation losses in the order given, whatever the model."""
    left = iter(losses)
    monkeypatch.setattr(training_run, "mean_nll", lambda *_, **__: next(left))


def test_the_validation_loss_is_that_of_the_rows_kept_apart(text_project):
    file = text_project.settings("v", max_steps=7, validation={"share": 0.2, "every": 3}, **MORE)
    assert text_project.run(file) == 0
    losses = {
        line["step"]: line["eval_loss"] for line in text_project.metrics("v") if "eval_loss" in line
    }
    assert list(losses) == [3, 6, 7]
    folder = text_project.folder / "runs/v/tune"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best_step"] == min(losses, key=losses.__getitem__)
    _, held_out = load_token_rows(folder / "tokens.arrow").split(0.2, summary["seed"])
    model = prepare(load_model(ModelSpec(path=str(folder / "final"))))
    again = mean_nll(model, held_out, tokens_per_batch=64, bf16=False)
    assert again == pytest.approx(min(losses.values()), abs=1e-5)
    assert not (folder / "best").exists()


@pytest.mark.parametrize(("keep_best", "steps"), [(True, 6), (False, 12)])
def test_the_final_model_is_the_best_or_the_last(text_project, monkeypatch, keep_best, steps):
    kept = {"share": 0.2, "every": 3, "keep_best": keep_best}
    with monkeypatch.context() as patched:
        scripted(patched, [3.0, 1.0, 2.0, 2.5])
        file = text_project.settings("v", max_steps=12, validation=kept, **MORE)
        assert text_project.run(file) == 0
    # the same rows kept apart, and nothing but the steps up to the model that is wanted
    straight = text_project.settings(
        "s", max_steps=steps, validation={**kept, "keep_best": False}, **MORE
    )
    assert text_project.run(straight) == 0
    assert text_project.weights("v") == text_project.weights("s")


def test_the_report_draws_the_validation_loss_under_the_name_it_is_logged_with(text_project):
    from regimen.reports.sections.training import series

    file = text_project.settings("r", max_steps=6, validation={"share": 0.2, "every": 2}, **MORE)
    assert text_project.run(file) == 0
    rows = text_project.metrics("r")
    page = write_report(text_project.folder / "runs/r").read_text()
    assert [step for step, _ in series(rows, "eval_loss")] == [2, 4, 6]
    assert "held out" in page


def test_a_tiny_learning_rate_is_logged_as_it_is(text_project):
    file = text_project.settings("t", max_steps=2, learning_rate=2e-7, **MORE)
    assert text_project.run(file) == 0
    assert [line["learning_rate"] for line in text_project.metrics("t")] == [2e-7, 2e-7]


def test_noise_on_embeddings_changes_training_and_follows_the_seed(text_project):
    for name, alpha in (("none", 0.0), ("some", 5.0), ("again", 5.0)):
        file = text_project.settings(name, max_steps=4, neftune_noise_alpha=alpha, **MORE)
        assert text_project.run(file) == 0
    weights = {name: text_project.weights(name) for name in ("none", "some", "again")}
    assert weights["some"] == weights["again"] != weights["none"]


def test_patience_ends_training(text_project, monkeypatch):
    scripted(monkeypatch, [3.0, 1.0, 2.0, 1.5, 0.5, 0.6])
    kept = {"share": 0.2, "every": 2, "patience": 2}
    file = text_project.settings("p", max_steps=60, validation=kept, **MORE)
    assert text_project.run(file) == 0
    assert text_project.metrics("p")[-1]["step"] == 8


def test_validation_goes_on_after_an_interruption(text_project, monkeypatch):
    kept = {"share": 0.2, "every": 2}
    whole = text_project.settings("whole", max_steps=8, validation=kept, schedule="constant")
    assert text_project.run(whole) == 0
    broken = text_project.settings("broken", max_steps=8, validation=kept, schedule="constant")
    weights, calls = Supervised.weights, []

    def sending(self, batch):
        calls.append(0)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return weights(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "weights", sending)
        assert text_project.run(broken) == 143
    assert text_project.run(broken) == 0
    assert text_project.result("broken") == text_project.result("whole")


def test_a_row_is_for_training_or_for_validation():
    rows = token_rows([Rendered((i, i + 1, 2), (0.0, 1.0, 1.0)) for i in range(20)])
    train, held_out = rows.split(0.25, seed=3)
    assert (len(train), len(held_out)) == (15, 5)
    ids = np.concatenate([train.ids, held_out.ids])
    assert sorted(ids.tolist()) == sorted(rows.ids.tolist())
    assert held_out.ids.tolist() == rows.split(0.25, seed=3)[1].ids.tolist()
    assert held_out.ids.tolist() != rows.split(0.25, seed=4)[1].ids.tolist()


def test_label_smoothing_and_z_loss_reach_the_objective(text_project):
    for name, more in (
        ("plain", {}),
        ("smooth", {"label_smoothing": 0.1}),
        ("z", {"z_loss": 0.01}),
    ):
        assert text_project.run(text_project.settings(name, **more)) == 0
    assert len({text_project.weights(name) for name in ("plain", "smooth", "z")}) == 3


@pytest.fixture
def chats(text_project):
    chat = [
        {
            "messages": [
                {"role": "user", "content": f"the {a} dog sees"},
                {"role": "assistant", "content": f"{a} cats"},
            ]
        }
        for a in "abcdefgh"
    ]
    (text_project.folder / "chats.jsonl").write_text("\n".join(json.dumps(c) for c in chat))
    return text_project


def tune_chats(project, **replay):
    import yaml

    file = project.folder / "replay.yaml"
    tune = {
        "model": {"path": "base"},
        "max_steps": 2,
        "tokens_per_batch": 64,
        "max_length": 40,
        "precision": "fp32",
    }
    if replay:
        tune["replay"] = replay
    settings = {"run": "runs/r", "build": {"sources": [{"path": "chats.jsonl"}]}, "tune": tune}
    file.write_text(yaml.safe_dump(settings))
    return project.run(file.name)


def test_replay_mixes_plain_text_at_its_share(chats):
    assert tune_chats(chats, text={"path": "text.txt"}, share=0.4, weight=0.5) == 0
    folder = chats.folder / "runs/r/tune"
    rows = load_token_rows(folder / "tokens.arrow")
    counts = json.loads((folder / "rendering.json").read_text())
    assert counts["kept"] == 8
    share = counts["replayed"]["tokens"] / int(rows.lengths.sum())
    # the last document goes over the share by less than its length
    assert 0.4 <= share < 0.4 + 40 / int(rows.lengths.sum())
    assert len(rows) == 8 + counts["replayed"]["rows"]
    assert set(np.unique(rows.weights)) == {0.0, 0.5, 1.0}
    assert int(rows.lengths.max()) <= 40


def test_too_little_text_to_replay_is_an_error(chats, capfd):
    (chats.folder / "short.txt").write_text("the cat")
    assert tune_chats(chats, text={"path": "short.txt"}, share=0.9) == 1
    said = capfd.readouterr().err
    assert "replay-too-short" in said
    assert "a share of 0.9" in said


def test_a_model_in_training_mode_stays_in_it():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=32,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            attention_dropout=0.5,
        )
    )
    language_model = prepare(model)
    model.train()
    rows = token_rows([Rendered((1, 2, 3, 4), (0.0, 1.0, 1.0, 1.0))])
    first = mean_nll(language_model, rows, tokens_per_batch=8, bf16=False)
    assert first == mean_nll(language_model, rows, tokens_per_batch=8, bf16=False)
    assert model.training
