"""Files: what was quantised comes back, and transformers reads it with compressed-tensors."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.small_models import MODELS, make
from regimen.errors import ModelError
from regimen.generation import decoding
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.memory.quantisation.apply import quantise
from regimen.memory.quantisation.files import load_quantised, read_config, save_quantised
from regimen.memory.quantisation.grid import ROW, TENSOR, Grid
from regimen.memory.quantisation.linear import QuantLinear
from regimen.memory.quantisation.spec import Activations, Awq, Gptq, Rtn, SmoothQuant
from regimen.models.forward import prepare

SPECS = {
    "rtn 4": Rtn(Grid(4, 16, False)),
    "rtn 4 symmetric": Rtn(Grid(4, 16, True)),
    "rtn 8 rows": Rtn(Grid(8, ROW, True)),
    "rtn 2 tensor": Rtn(Grid(2, TENSOR, True)),
    "gptq 3": Gptq(Grid(3, 8, False), act_order=True),
    "gptq 5 symmetric": Gptq(Grid(5, 16, True)),
    "rtn 4 in several sizes": Rtn(Grid(4, 32, True)),
    "awq 4": Awq(Grid(4, 16, False)),
    "smoothquant token": SmoothQuant(),
    "smoothquant tensor": SmoothQuant(
        Grid(8, TENSOR, True), Activations(8, "tensor", dynamic=False)
    ),
    "rtn tensor": Rtn(Grid(8, ROW, True), Activations(8, "tensor")),
    "rtn group": Rtn(Grid(8, ROW, True), Activations(8, "group", 16)),
}


class Tokenizer:
    """Writes nothing."""

    def save_pretrained(self, directory):
        """As a tokenizer."""


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@pytest.mark.matrix
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("kind", ["llama", "llama tied"])
def test_it_comes_back(tmp_path, windows, held_out, name, kind) -> None:
    model = make(kind, MODELS[kind])
    quantise(model, windows, SPECS[name])
    size = save_quantised(model, Tokenizer(), tmp_path, dtype="float32")
    again = load_quantised(tmp_path)
    again.set_attn_implementation("eager")  # as the model was made
    assert (logits(again, held_out) == logits(model, held_out)).all()
    assert size == (tmp_path / "model.safetensors").stat().st_size
    layers = [m for m in again.modules() if isinstance(m, QuantLinear)]
    assert len(layers) == 14


def test_names_and_settings_are_those_of_the_layout(tmp_path, model, windows) -> None:
    quantise(model, windows, Rtn(Grid(4, 16, False)))
    save_quantised(model, Tokenizer(), tmp_path, dtype="bfloat16")
    tensors = load_file(tmp_path / "model.safetensors")
    own = {n: t for n, t in tensors.items() if n.startswith("model.layers.0.mlp.down_proj")}
    start = "model.layers.0.mlp.down_proj"
    found = {n.removeprefix(f"{start}."): (t.dtype, tuple(t.shape)) for n, t in own.items()}
    assert found == {
        "weight_packed": (torch.int32, (32, 6)),
        "weight_scale": (torch.bfloat16, (32, 3)),
        "weight_zero_point": (torch.int32, (4, 3)),
        "weight_shape": (torch.int64, (2,)),
    }
    assert own[f"{start}.weight_shape"].tolist() == [32, 48]
    config = json.loads((tmp_path / "config.json").read_text())
    told = config["quantization_config"]
    assert (told["quant_method"], told["format"]) == ("compressed-tensors", "pack-quantized")
    assert told["quantization_status"] == "compressed"
    assert told["ignore"] == ["lm_head"]
    assert config["dtype"] == "bfloat16"
    (group,) = told["config_groups"].values()
    assert len(group["targets"]) == 14
    assert group["input_activations"] is None
    expected = {"num_bits": 4, "type": "int", "symmetric": False, "strategy": "group"}
    assert expected.items() <= group["weights"].items()
    assert group["weights"]["group_size"] == 16
    assert read_config(tmp_path) == told


@pytest.mark.matrix
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(SPECS.keys() - {"rtn group"}))
def test_transformers_reads_it_with_compressed_tensors(tmp_path, windows, held_out, name) -> None:
    pytest.importorskip("compressed_tensors")
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    model = make("llama", MODELS["llama"])
    quantise(model, windows, SPECS[name])
    save_quantised(model, Tokenizer(), tmp_path, dtype="float32")
    more = {}
    if SPECS[name].activations is None and not SPECS[name].grid.symmetric:
        # transformers 5.23 expects zeros that are not packed, unless it makes the weights dense
        more = {"quantization_config": CompressedTensorsConfig(dequantize=True)}
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, **more)
    ours = load_quantised(tmp_path)
    found, expected = logits(theirs, held_out), logits(ours, held_out)
    assert float((found - expected).norm() / expected.norm()) < 1e-4


def test_sixteen_bits_on_disk_lose_nothing_of_the_grid(tmp_path, model, windows) -> None:
    quantise(model, windows, Gptq(Grid(4, 16, False)), dtype=torch.bfloat16)
    before = {n: m.dense() for n, m in model.named_modules() if isinstance(m, QuantLinear)}
    save_quantised(model, Tokenizer(), tmp_path, dtype="bfloat16")
    again = load_quantised(tmp_path)
    for name, dense in before.items():
        assert torch.equal(again.get_submodule(name).dense(), dense)


def test_fewer_bits_are_fewer_bytes(tmp_path, model, windows) -> None:
    sizes = []
    for bits in (8, 4, 3, 2):
        other = copy.deepcopy(model)
        quantise(other, windows, Rtn(Grid(bits, 16, False)))
        sizes.append(save_quantised(other, Tokenizer(), tmp_path / str(bits), dtype="bfloat16"))
    assert sizes == sorted(sizes, reverse=True)
    weights = sum(m.weight.numel() for n, m in model.named_modules() if n.endswith("_proj"))
    assert abs(sizes[0] - sizes[1] - weights / 2) < weights * 0.02 + 14 * 64


def test_a_folder_without_a_tensor_is_refused(tmp_path, model, windows) -> None:
    quantise(model, windows, Rtn(Grid(4, 16, False)))
    save_quantised(model, Tokenizer(), tmp_path, dtype="float32")
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight_scale"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"up_proj\.weight_scale") as caught:
        load_quantised(tmp_path)
    assert caught.value.slug == "quantised-unreadable"


@pytest.mark.parametrize(
    ("key", "value"), [("strategy", "block"), ("type", "float"), ("actorder", "group")]
)
def test_a_layout_that_is_not_known_is_refused(tmp_path, model, windows, key, value) -> None:
    quantise(model, windows, Rtn(Grid(4, 16, False)))
    save_quantised(model, Tokenizer(), tmp_path, dtype="float32")
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["config_groups"]["group_0"]["weights"][key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        load_quantised(tmp_path)
    assert caught.value.slug == "quantised-unreadable"


def test_a_plain_folder_has_no_such_config(tmp_path) -> None:
    assert read_config(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    assert read_config(tmp_path) is None
    with pytest.raises(ModelError):
        load_quantised(tmp_path)


@pytest.mark.parametrize("name", ["gptq 3", "rtn 8 rows", "smoothquant token"])
def test_generation_says_the_same_with_dense_copies_and_without(
    tmp_path, windows, name, monkeypatch
) -> None:
    model = make("llama", MODELS["llama"])
    quantise(model, windows, SPECS[name])
    save_quantised(model, Tokenizer(), tmp_path, dtype="float32")
    asked = [Prompt(str(n), tuple(row), 8) for n, row in enumerate(windows[:, :9].tolist())]
    found = []
    for worth in (0, 1 << 40):
        monkeypatch.setattr(decoding, "WORTH", worth)
        engine = Engine(prepare(load_quantised(tmp_path)), [], rows=4)
        decoder = decoding.Decoder(engine.model, 2, 20, 100, bf16=False)
        # inputs are rounded in the modules alone
        assert (decoder.network is not None) == (not worth and name != "smoothquant token")
        found.append({key: done.ids for key, done in engine.generate(asked)})
    assert found[0] == found[1]
