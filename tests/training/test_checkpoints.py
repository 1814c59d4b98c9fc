"""pytest tests/training/test_checkpoints.py"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from helpers import small_models
from helpers.small_models import MODELS
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.errors import RunError
from regimen.models.forward import prepare
from regimen.objectives.supervised import Supervised
from regimen.tokens.bpe import train_tokenizer
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.checkpoints import (
    checkpoints,
    load_checkpoint,
    load_weights,
    peak_memory_gib,
    save_checkpoint,
    save_model,
    whole,
)
from regimen.training.identity import check_identity, identity_of
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.training.schedules import Schedule

TOKENIZER = train_tokenizer(["some text to learn from"] * 5, 270)
ROWS = token_rows([Rendered((1, i, 5, 6 + i), (0.0, 1.0, 1.0, 1.0)) for i in range(12)])
OPTIONS = LoopOptions(
    learning_rate=1e-2,
    num_train_epochs=None,
    max_steps=8,
    tokens_per_batch=16,
    schedule=Schedule("constant", 0.0),
    save_every=3,
)


def network(seed=0, tied=False):
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            tie_word_embeddings=tied,
        )
    )


def make(adapter, optimizer, seed=0):
    model = network(seed, tied=True)
    if adapter:
        model = add_adapter(network(0, tied=True), Lora(r=2), seed=seed)
    return model, OPTIMIZERS[optimizer](parameter_groups(model, 0.0))


def learnt(model):
    return [p for p in model.parameters() if p.requires_grad]


@pytest.mark.matrix
@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd"])
def test_going_on_from_disk_equals_an_uninterrupted_run(adapter, optimizer, tmp_path):
    straight, steps = make(adapter, optimizer)
    hooks = Hooks(save=lambda s: save_checkpoint(tmp_path, straight, TOKENIZER, steps, s))
    train(prepare(straight), ROWS, Supervised(), steps, OPTIONS, hooks)
    assert [p.name for p in checkpoints(tmp_path)] == [f"checkpoint-{n}" for n in (3, 6, 8)]

    again, fresh = make(adapter, optimizer, seed=5)
    state = load_checkpoint(tmp_path / "checkpoint-6", again, fresh)
    assert state.step == 6
    train(prepare(again), ROWS, Supervised(), fresh, OPTIONS, state=state)
    for a, b in zip(learnt(straight), learnt(again), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_a_device_that_is_not_there_is_gone_on_with_on_the_cpu(
    tmp_path, monkeypatch
):
    model, optimizer = make(None, "adamw")
    for parameter in learnt(model):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with monkeypatch.context() as patch:  # as if its tensors were there
        patch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
        path = save_checkpoint(tmp_path, model, TOKENIZER, optimizer, State(step=1))
    again, fresh = make(None, "adamw")
    assert load_checkpoint(path, again, fresh).step == 1
    kept = [s["exp_avg"] for s in fresh.state.values()]
    assert kept
    assert all(one.device.type == "cpu" for one in kept)


def test_old_checkpoints_beyond_the_limit_go(tmp_path):
    model, optimizer = make(False, "adamw")
    hooks = Hooks(save=lambda s: save_checkpoint(tmp_path, model, TOKENIZER, optimizer, s, keep=2))
    train(prepare(model), ROWS, Supervised(), optimizer, OPTIONS, hooks)
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-6", "checkpoint-8"]
    assert not list(tmp_path.glob(".checkpoint*"))


def test_a_folder_without_state_is_no_checkpoint(tmp_path):
    model, optimizer = make(False, "adamw")
    with pytest.raises(RunError, match="no checkpoint"):
        load_checkpoint(tmp_path, model, optimizer)


def test_a_checkpoint_says_in_what_it_is_of_another_training():
    model, _ = make(False, "adamw")
    ours = identity_of(model, ROWS, OPTIONS)
    assert ours == identity_of(make(False, "adamw")[0], ROWS, OPTIONS)
    assert ours == identity_of(model, ROWS, replace(OPTIONS, save_every=7, log_every=3))
    frozen, _ = make(True, "adamw")
    others = {
        "weights to start from": identity_of(make(False, "adamw", seed=1)[0], ROWS, OPTIONS),
        "weights to start from ": identity_of(frozen, ROWS, OPTIONS),
        "training rows": identity_of(model, ROWS.take([1, 0]), OPTIONS),
        "options of the training": identity_of(model, ROWS, replace(OPTIONS, max_steps=9)),
        "training rows and other options": identity_of(
            model, ROWS.take([0]), replace(OPTIONS, seed=1)
        ),
    }
    check_identity(Path("c"), ours, ours)
    for words, known in others.items():
        with pytest.raises(RunError, match=f"a checkpoint of other {words.strip()}"):
            check_identity(Path("c"), known, ours)
    for unknown in ("", {}, None):
        with pytest.raises(RunError, match="weights to start from and other training rows and"):
            check_identity(Path("c"), unknown, ours)


def test_an_adapter_is_of_another_training_where_its_frozen_base_is():
    first, second = (
        identity_of(add_adapter(network(seed), Lora(r=2), seed=0), ROWS, OPTIONS) for seed in (0, 1)
    )
    assert first["model"] != second["model"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final/old").touch()

    def full():
        with whole(tmp_path / "final") as partial:
            partial.mkdir()
            (partial / "half").write_text("x")
            raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match="No space left"):
        full()
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "old"]
    with whole(tmp_path / "final") as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "new"]


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_may_be_written_in_bf16_and_stays_fp32_in_memory(tied, tmp_path):
    model = network(tied=tied)
    save_model(model, TOKENIZER, tmp_path, dtype="bfloat16")
    assert next(model.parameters()).dtype == torch.float32
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.dtype == torch.bfloat16
    for a, b in zip(model.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a.to(torch.bfloat16), b)


@pytest.mark.matrix
@pytest.mark.parametrize("name", MODELS)
def test_weights_come_back_under_whatever_names_they_are_written(name, tmp_path):
    model = prepare(small_models.make(name, MODELS[name])).model
    model.save_pretrained(tmp_path)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    load_weights(tmp_path, model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_a_folder_without_some_of_the_weights_is_refused(tmp_path):
    model = small_models.make("llama", MODELS["llama"])
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match="all weights") as error:
        load_weights(tmp_path, model)
    assert "up_proj" in str(error.value.got)


def test_peak_memory_is_a_plausible_number():
    assert 0.05 < peak_memory_gib() < 64
