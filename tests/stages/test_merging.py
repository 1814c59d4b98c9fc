"""Merging says which base the adapter saw: pytest tests/stages/test_merging.py."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from regimen.adapters.files import base_path, load_base, saw
from regimen.cli import main
from regimen.memory.merging import apart, merged, rounded_base
from regimen.models.loading import load_model, load_tokenizer
from regimen.models.quantised import dequantised, is_quantised, quantised_layers
from regimen.stages.models import ModelSpec, load

pytest.importorskip("bitsandbytes")
LORA = {"r": 4, "target_modules": "all-linear"}


def combine(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["combine", *arguments])
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def on_nf4(shared_project):
    """An adapter, in the folder of all tests here: each writes under names of its own."""
    file = shared_project.settings(
        "few", adapter=LORA, quantise="nf4", max_steps=8, learning_rate=0.03
    )
    assert shared_project.run(file) == 0
    return "runs/few/tune/final"


def test_an_adapter_knows_in_how_few_bits_it_saw_its_base(on_nf4) -> None:
    assert saw(on_nf4) == {"kind": "nf4", "double_quant": True}
    loaded = load(on_nf4)
    assert is_quantised(loaded.language_model.model)
    network = apart(on_nf4, loaded.tokenizer)
    kept = {
        name.removeprefix("base_model.model."): it for name, it in quantised_layers(network).items()
    }
    plain = rounded_base(base_path(on_nf4), loaded.tokenizer, saw(on_nf4))
    assert not is_quantised(plain)
    modules = dict(plain.named_modules())
    for name, layer in kept.items():
        assert torch.equal(modules[name.replace(".base_layer", "")].weight, dequantised(layer))


def test_merged_into_what_it_saw_an_adapter_answers_as_it_did_apart(on_nf4) -> None:
    tokenizer = load_tokenizer(on_nf4)
    ids = torch.tensor([tokenizer("the a dog sees x cats")["input_ids"]])
    with torch.no_grad():
        as_trained = apart(on_nf4, tokenizer).eval()(input_ids=ids).logits
        near = merged(on_nf4, tokenizer, "dequantised").eval()(input_ids=ids).logits
        other = merged(on_nf4, tokenizer, "original").eval()(input_ids=ids).logits
    torch.testing.assert_close(near, as_trained, rtol=1e-4, atol=1e-4)
    assert (other - as_trained).abs().max() > 10 * (near - as_trained).abs().max()


def test_the_nearer_way_is_written_and_the_figures_are_beside_it(on_nf4, capsys) -> None:
    assert combine(on_nf4, "--merged", "--out", "one", "--json") == 0
    out = capsys.readouterr().out
    told = json.loads((Path("one") / "merge.json").read_text())
    assert json.loads(out[out.index('{"kind"') :])["into"] == "dequantised"
    assert (told["into"], told["nearest"]) == ("dequantised", "dequantised")
    assert told["saw"]["kind"] == "nf4"
    ways = told["ways"]
    assert ways["apart"]["kl"] == 0
    assert ways["dequantised"]["kl"] < ways["original"]["kl"]
    assert "KL (nats)" in out
    tokenizer = load_tokenizer("one")
    written = load_model(ModelSpec(path="one"))
    wanted = dict(merged(on_nf4, tokenizer, "dequantised").named_parameters())
    for name, weight in written.named_parameters():
        torch.testing.assert_close(weight, wanted[name], rtol=1e-6, atol=1e-6)


def test_another_way_can_be_chosen_and_a_misspelt_one_is_told(on_nf4, capfd) -> None:
    assert combine(on_nf4, "--merged", "--into", "original", "--out", "two") == 0
    told = json.loads((Path("two") / "merge.json").read_text())
    assert (told["into"], told["nearest"]) == ("original", "dequantised")
    assert combine(on_nf4, "--merged", "--into", "orginal", "--out", "three") == 1
    assert "Did you mean 'original'?" in capfd.readouterr().err
    assert not Path("three").exists()


def test_without_rows_of_the_training_the_choice_is_the_users(on_nf4, capfd) -> None:
    shutil.copytree("runs/few", "runs/bare")
    Path("runs/bare/tune/tokens.arrow").unlink()
    bare = "runs/bare/tune/final"
    assert combine(bare, "--merged", "--out", "four") == 1
    assert "nothing to measure" in capfd.readouterr().err
    assert combine(bare, "--merged", "--into", "dequantised", "--out", "four") == 0


def test_the_next_training_starts_from_what_the_adapter_saw(on_nf4, shared_project) -> None:
    file = shared_project.settings("next", model={"path": on_nf4}, max_steps=1, learning_rate=1e-9)
    assert shared_project.run(file) == 0
    tokenizer = load_tokenizer(on_nf4)
    wanted = dict(merged(on_nf4, tokenizer, "dequantised").named_parameters())
    for name, weight in load_model(ModelSpec(path="runs/next/tune/final")).named_parameters():
        torch.testing.assert_close(weight, wanted[name], rtol=1e-5, atol=1e-6)
    summary = json.loads(Path("runs/next/tune/summary.json").read_text())
    assert any("what the adapter before saw: nf4" in note for note in summary["notes"])


def test_adapters_that_saw_their_base_in_other_bits_are_not_combined(
    on_nf4, shared_project, capfd
) -> None:
    file = shared_project.settings("plain", adapter=LORA, max_steps=2)
    assert shared_project.run(file) == 0
    assert saw("runs/plain/tune/final") is None
    both = [on_nf4, "runs/plain/tune/final"]
    assert combine(*both, "--out", "both") == 1
    assert "different bits" in capfd.readouterr().err
    assert combine(on_nf4, f"again={on_nf4}", "--out", "alike") == 0
    assert saw("alike") == saw(on_nf4)
    base, _ = load_base(base_path(on_nf4), load_tokenizer(on_nf4))
    assert not is_quantised(base)
