"""Adapters that cannot be put in, loaded or merged: pytest tests/adapters/test_bad_adapters.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters.adalora import AdaLora
from regimen.adapters.files import BASE, adapter_tensors, load_adapter, save_adapter
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.products import Loha, Lokr
from regimen.adapters.prompts import Prompt
from regimen.adapters.rotations import Boft, Oft
from regimen.adapters.spec import Spec, upkeep_of
from regimen.adapters.vectors import Ia3, LayerNorms
from regimen.errors import AdapterError
from regimen.verifying.exports import move_weights


def base(arch: str = "llama", seed: int = 1) -> Any:
    return make(arch, MODELS[arch], seed)


@pytest.mark.parametrize(
    "spec", [Loha(), Lokr(), Oft(block_size=4), Boft(), Lora(init="olora")], ids=repr
)
def test_a_method_that_a_base_cannot_take_is_an_error(spec: Spec) -> None:
    with pytest.raises(AdapterError, match="cannot take the adapter") as refused:
        add_adapter(base("gpt2"), spec, seed=0)
    assert "gpt2" in refused.value.got


@pytest.mark.parametrize(
    ("spec", "wrong", "near"),
    [
        (Lora(target_modules=("q_prj",)), "q_prj", "q_proj"),
        (Ia3(target_modules=("k_prj",), feedforward_modules=("down_proj",)), "k_prj", "k_proj"),
        (LayerNorms(target_modules=("input_layernrm",)), "input_layernrm", "input_layernorm"),
    ],
)
def test_a_misspelt_target_names_the_near_one(spec: Spec, wrong: str, near: str) -> None:
    with pytest.raises(AdapterError) as caught:
        add_adapter(base(), spec, seed=0)
    assert (caught.value.got, caught.value.fix) == (repr(wrong), f"Did you mean {near!r}?")


def test_blocks_that_do_not_divide_a_layer_are_told() -> None:
    with pytest.raises(AdapterError, match="do not fit a layer") as caught:
        add_adapter(base(), Oft(block_size=5), seed=0)
    assert caught.value.expected == "a divisor of 16"


def test_several_factors_of_a_butterfly_need_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AdapterError, match="need CUDA"):
        add_adapter(base(), Boft(butterfly_factor=2), seed=0)


@pytest.mark.parametrize("steps", [None, 2])
def test_ranks_cannot_move_without_steps(steps: int | None) -> None:
    network = add_adapter(base(), AdaLora(r=2, initial_r=4), seed=0)
    with pytest.raises(AdapterError, match="how many steps"):
        upkeep_of(network, steps)


@pytest.mark.parametrize("spec", [Lora(r=2), Prompt(num_virtual_tokens=2)], ids=repr)
def test_an_adapter_for_another_base_is_told(spec: Spec, tmp_path: Path) -> None:
    network = add_adapter(base(), spec, seed=0)
    move_weights(network)
    save_adapter(network, tmp_path)
    load_adapter(base(), str(tmp_path))
    load_adapter(base().to(torch.bfloat16), str(tmp_path))
    with pytest.raises(AdapterError, match="another base"):
        load_adapter(base(seed=2), str(tmp_path))
    (tmp_path / BASE).unlink()  # as adapters of other makers
    load_adapter(base(seed=2), str(tmp_path))


def test_a_truncated_adapter_is_told(tmp_path: Path) -> None:
    network = add_adapter(base(), Lora(r=2), seed=0)
    save_adapter(network, tmp_path)
    assert adapter_tensors(str(tmp_path)) == 2 * 7 * 2
    file = tmp_path / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AdapterError, match="cannot be read") as caught:
        load_adapter(base(), str(tmp_path))
    assert caught.value.where == str(tmp_path)
    file.unlink()
    with pytest.raises(AdapterError, match="cannot be read"):
        load_adapter(base(), str(tmp_path))
