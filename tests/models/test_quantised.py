"""Bases that were quantised already: pytest tests/models/test_quantised.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.quantised_models import quantised, write
from regimen.errors import ModelError
from regimen.memory.bases import configuration
from regimen.models.forward import prepare
from regimen.models.loading import ModelSpec, check_finite, load_model
from regimen.models.quantised import (
    OTHERS,
    dequantised,
    make_trainable,
    multiplies_low,
    plain_parts,
    quantised_layers,
)

pytest.importorskip("bitsandbytes")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return write(tmp_path)


def marked(folder: str, **fields: Any) -> str:
    """As if another tool had quantised it."""
    path = Path(folder) / "config.json"
    config = {**json.loads(path.read_text()), "quantization_config": fields}
    path.write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("method", [*OTHERS, "a-new-one"])
def test_a_base_of_another_tool_is_refused_with_what_it_is(method: str, folder: str) -> None:
    with pytest.raises(ModelError, match="by another tool") as caught:
        load_model(ModelSpec(path=marked(folder, quant_method=method, bits=4, group_size=128)))
    assert OTHERS.get(method, (method,))[0] in caught.value.got
    assert "4 bits" in caught.value.got
    assert "quantise: nf4" in caught.value.fix


def test_a_saved_base_is_not_quantised_in_another_way(folder: str, tmp_path: Path) -> None:
    quantised(folder, "nf4").save_pretrained(tmp_path / "saved")
    saved = ModelSpec(path=str(tmp_path / "saved"))
    again = load_model(saved, quantisation=configuration("nf4", torch.float32))
    assert len(quantised_layers(again)) == 7
    for kind in ("fp4", "int8", "int8_torchao"):
        if kind == "int8_torchao":
            pytest.importorskip("torchao")
        with pytest.raises(ModelError, match="quantised already") as caught:
            load_model(saved, quantisation=configuration(kind, torch.float32))
        assert "nf4" in caught.value.got


def test_a_saved_base_of_torchao_is_loaded(folder: str, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    model = quantised(folder, "int8_torchao")
    model.save_pretrained(tmp_path / "saved")
    again = load_model(ModelSpec(path=str(tmp_path / "saved")))
    layers = quantised_layers(again)
    assert len(layers) == 7
    for name, layer in quantised_layers(model).items():
        torch.testing.assert_close(dequantised(layers[name]), dequantised(layer))


@pytest.mark.parametrize("weights", ["Int8", "Intx"])
def test_activations_that_are_rounded_too_are_refused(weights: str, folder: str) -> None:
    """Their products have no gradient: LoRA above them would still seem to learn."""
    library = pytest.importorskip("torchao.quantization")
    config = getattr(library, f"Int8DynamicActivation{weights}WeightConfig")()
    model = load_model(ModelSpec(path=folder))
    library.quantize_(model.model, config)
    layer = model.model.layers[0].mlp.up_proj
    assert not layer(torch.randn(3, 64, requires_grad=True)).requires_grad  # the silent fault
    with pytest.raises(ModelError, match="rounds activations as well"):
        make_trainable(model)


def test_a_model_that_nothing_takes_is_told(tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    from helpers.small_models import MODELS, make

    make("gpt2", MODELS["gpt2"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="No layer of this model can be quantised"):
        quantised(str(tmp_path), "int8_torchao")
    assert len(quantised_layers(quantised(str(tmp_path), "nf4"))) == 8


@pytest.mark.parametrize("kind", ["int8_torchao", "int4_torchao"])
def test_parts_of_a_tensor_that_stands_for_others(kind: str, folder: str) -> None:
    pytest.importorskip("torchao")
    model = quantised(folder, kind)
    layer = next(iter(quantised_layers(model).values()))
    parts = list(plain_parts(layer.weight))
    assert len(parts) >= 2
    assert parts[0].dtype == torch.int8
    check_finite(model)


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16])
def test_products_in_16_bits_are_compared_as_such(compute, folder: str, monkeypatch) -> None:
    # of 22 layers of width 2,048; these are too small for it
    monkeypatch.setattr("regimen.models.forward.relative_difference", lambda a, b: 9.2e-3)
    model = load_model(ModelSpec(path=folder), quantisation=configuration("nf4", compute))
    make_trainable(model)
    assert multiplies_low(model) is (compute == torch.bfloat16)
    assert prepare(model).ragged is (compute == torch.bfloat16)


def test_layers_that_are_not_quantised_multiply_in_their_own_type(folder: str) -> None:
    assert not multiplies_low(load_model(ModelSpec(path=folder)))
