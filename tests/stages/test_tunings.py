"""pytest tests/stages/test_tunings.py: several tunings in one file, one after another."""

import json
import signal
from pathlib import Path

import torch
import yaml
from transformers import AutoModelForCausalLM

from regimen.objectives.supervised import Supervised
from regimen.stages.common import path_key
from regimen.stages.models import load, token_logps
from regimen.tokens.store import load_token_rows

CHATS = [
    {
        "messages": [
            {"role": "user", "content": f"the {a} dog sees"},
            {"role": "assistant", "content": f"{a} cats"},
        ]
    }
    for a in "abcdefgh"
]
COMMON = {
    "max_steps": 4,
    "tokens_per_batch": 64,
    "max_length": 64,
    "logging_steps": 1,
    "precision": "fp32",
    "learning_rate": 0.01,
}
TEXT = {"objective": "language_modelling", "text": {"path": "text.txt"}, **COMMON}
FIRST = {"model": {"path": "base"}, **TEXT}


def write(project, tune, name="r", **stages):
    (project.folder / "chats.jsonl").write_text("\n".join(map(json.dumps, CHATS)))
    file = project.folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({"run": f"runs/{name}", "tune": tune, **stages}))
    return file.name


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


def equal(a, b):
    a, b = weights(a), weights(b)
    return all(torch.equal(a[name], b[name]) for name in a)


def test_each_tuning_starts_from_the_one_before_it(text_project):
    """One file equals two files, of which the second names the result of the first."""
    second = {**TEXT, "learning_rate": 0.02, "schedule": "linear", "seed": 5}
    assert text_project.run(write(text_project, [FIRST, second], "one")) == 0
    assert text_project.run(write(text_project, FIRST, "a")) == 0
    named = {**second, "model": {"path": "runs/a/tune/final"}}
    assert text_project.run(write(text_project, named, "b")) == 0
    assert equal("runs/one/tune-0/final", "runs/a/tune/final")
    assert equal("runs/one/tune-1/final", "runs/b/tune/final")
    assert not equal("runs/one/tune-0/final", "runs/one/tune-1/final")


def lines(said, *words):
    return [line for line in said.splitlines() if all(word in line for word in words)]


def test_each_tuning_is_run_again_only_where_it_or_one_before_it_changed(text_project, capfd):
    second, third = {**TEXT, "seed": 1}, {**TEXT, "seed": 2}
    assert text_project.run(write(text_project, [FIRST, second, third])) == 0
    capfd.readouterr()
    assert text_project.run(write(text_project, [FIRST, {**second, "max_steps": 3}, third])) == 0
    said = capfd.readouterr().out
    assert lines(said, "tune-0: nothing to do")
    assert lines(said, "tune-1: runs because", "settings changed")
    assert lines(said, "tune-2: runs because", "input model changed")


def test_an_interrupted_tuning_goes_on_and_those_before_it_stay(text_project, monkeypatch, capfd):
    import os

    tunings = [FIRST, {**TEXT, "save_steps": 1}]
    assert text_project.run(write(text_project, tunings, "straight")) == 0
    file = write(text_project, tunings, "broken")
    given, calls = Supervised.weights, []

    def sending(self, batch):
        calls.append(0)
        if len(calls) == COMMON["max_steps"] + 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return given(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "weights", sending)
        assert text_project.run(file) == 143
    capfd.readouterr()
    assert text_project.run(file) == 0
    said = capfd.readouterr().out
    assert lines(said, "tune-0: nothing to do")
    assert lines(said, "tune-1: goes on from", "checkpoint-3")
    assert equal("runs/broken/tune-1/final", "runs/straight/tune-1/final")


def test_text_then_chats_with_an_adapter_then_preferences_and_evidence(text_project):
    pairs = [{"prompt": f"{a} dog", "chosen": "sees cats", "rejected": "the"} for a in "abcd"]
    (text_project.folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    chats = {**COMMON, "adapter": {"kind": "lora", "r": 4}}
    file = write(
        text_project,
        [FIRST, chats],
        build={
            "sources": [{"path": "chats.jsonl"}, {"path": "pairs.jsonl"}],
            "held_out": {"share": 0.4},
        },
        align={**chats, "learning_rate": 0.001},
        evaluate={"max_new_tokens": 2, "shots": [0]},
    )
    assert text_project.run(file) == 0
    run = Path("runs/r")
    for stage, base in (("tune-1", "tune-0/final"), ("align", "align/base")):
        config = json.loads((run / stage / "final/adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(run / base)
        assert (run / base / "model.safetensors").is_file()
    for stage, name in (("align", "input model"), ("evaluate", "input tuned")):
        key = json.loads((run / stage / "manifest.json").read_text())["key"]
        assert key[name] == path_key(run / "tune-1/final")
    key = json.loads((run / "evaluate/manifest.json").read_text())["key"]
    assert key["input base"] == path_key("base")


def logps(folder, rows):
    model = load(str(folder))
    found = token_logps(model.language_model, rows, bf16=False)
    return torch.cat(found)


def test_an_adapter_on_top_of_an_adapter_keeps_what_the_first_learnt(text_project):
    adapter = {"adapter": {"kind": "lora", "r": 4}}
    still = {**TEXT, **adapter, "learning_rate": 1e-12}
    assert text_project.run(write(text_project, [{**FIRST, **adapter}, still])) == 0
    rows = load_token_rows(Path("runs/r/tune-0/tokens.arrow"))
    first, second = logps("runs/r/tune-0/final", rows), logps("runs/r/tune-1/final", rows)
    base = logps("base", rows)
    assert (first - base).abs().mean() > 0.05
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_a_fresh_model_may_be_made_first_and_is_then_the_base(text_project):
    config = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 128,
    }  # fmt: skip
    first = {**TEXT, "model": {"config": config, "train_tokenizer": 300}}
    file = write(
        text_project,
        [first, COMMON],
        build={"sources": [{"path": "chats.jsonl"}], "held_out": {"share": 0.4}},
        evaluate={"max_new_tokens": 2, "shots": [0]},
    )
    assert text_project.run(file) == 0
    key = json.loads(Path("runs/r/evaluate/manifest.json").read_text())["key"]
    assert key["input base"] == path_key("runs/r/tune-0/final")
    assert key["input tuned"] == path_key("runs/r/tune-1/final")
