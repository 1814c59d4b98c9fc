"""The rules of vLLM's loader of adapters: pytest tests/adapters/test_serving.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from helpers.small_models import MODELS, make
from regimen.adapters.files import save_adapter
from regimen.adapters.lora import Lora, Vera
from regimen.adapters.methods import add_adapter
from regimen.adapters.serving import problems
from regimen.adapters.spec import Spec


def saved(folder: Path, spec: Spec, new_tokens: tuple[int, ...] = ()) -> Path:
    network = add_adapter(make("llama", MODELS["llama"]), spec, seed=0, new_tokens=new_tokens)
    save_adapter(network, folder)
    return folder


@pytest.mark.parametrize(
    "spec",
    [
        Lora(r=4),
        Lora(r=4, use_rslora=True, target_modules="attention"),
        Lora(r=4, init="pissa"),
        Lora(r=4, init="olora", use_rslora=True),
        Lora(r=4, init="orthogonal", learning_rate_ratio=16.0),
    ],
    ids=repr,
)
def test_every_form_of_lora_passes(spec: Spec, tmp_path: Path) -> None:
    assert problems(saved(tmp_path, spec)) == []


def test_what_the_loader_refuses_is_told(tmp_path: Path) -> None:
    assert problems(saved(tmp_path / "dora", Lora(use_dora=True))) == ["it is a DoRA"]
    assert problems(saved(tmp_path / "vera", Vera(r=4))) == ["VERA is no LoRA"]
    (told,) = problems(saved(tmp_path / "rows", Lora(), new_tokens=(5,)))
    assert told.startswith("it trains rows of tokens")


def test_files_that_are_not_whole_are_told(tmp_path: Path) -> None:
    folder = saved(tmp_path, Lora(r=4))
    file = folder / "adapter_model.safetensors"
    weights = load_file(file)
    first = next(name for name in sorted(weights) if "lora_A" in name)
    save_file({name: value for name, value in weights.items() if name != first}, file)
    module = first.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
    assert problems(folder) == [f"{module} has one matrix of two"]
    save_file({**weights, "other.weight": weights[first].clone()}, file)
    assert problems(folder) == ["other.weight is no tensor of a LoRA"]
    save_file(weights, file)
    config = json.loads((folder / "adapter_config.json").read_text())
    changed = {**config, "r": 8, "modules_to_save": ["lm_head"], "bias": "all", "lora_alpha": None}
    (folder / "adapter_config.json").write_text(json.dumps(changed))
    found = problems(folder)
    assert found[:3] == [
        "adapter_config.json has no lora_alpha",
        "it brings whole modules: lm_head",
        "it trains biases",
    ]
    assert len(found) == 3 + 2 * 7
    assert found[3].endswith("another rank than 8")
