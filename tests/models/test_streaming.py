"""Reading models tensor by tensor: pytest tests/models/test_streaming.py"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from helpers.quantised_models import quantised, write
from helpers.small_models import MODELS, make
from regimen.errors import ModelError
from regimen.models.quantised import dequantised, quantised_layers
from regimen.models.streaming import DTYPES, stored_tensors

DTYPE_LIST = [torch.float32, torch.bfloat16, torch.float16, torch.int8, torch.uint8, torch.int64]


@given(
    tensors=st.dictionaries(
        st.text("abc.", min_size=1, max_size=5),
        st.tuples(st.sampled_from(DTYPE_LIST), st.lists(st.integers(0, 4), max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_read_is_what_was_written(tensors, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("weights")
    written = {
        name: (100 * torch.randn(shape)).to(dtype) for name, (dtype, shape) in tensors.items()
    }
    save_file(written, folder / "model.safetensors")
    stored = stored_tensors(folder)
    assert stored.keys() == written.keys()
    for name, tensor in written.items():
        assert torch.equal(stored[name][...], tensor)
        assert stored[name].get_shape() == list(tensor.shape)
        assert DTYPES[stored[name].get_dtype()] == tensor.dtype


@pytest.mark.matrix
@pytest.mark.parametrize("arch", ["llama tied", "gpt2", "qwen2_moe", "gemma2", "phi3"])
def test_a_streamed_model_is_transformers_own(arch: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    make(arch, MODELS[arch]).save_pretrained(tmp_path, max_shard_size="20KB")
    ours = quantised(str(tmp_path), "nf4")
    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, quantization_config=config, dtype=torch.float32
    )
    modules = dict(theirs.named_modules())
    for name, layer in quantised_layers(ours).items():
        assert torch.equal(dequantised(layer), dequantised(modules[name])), name
    inside = set(quantised_layers(ours))
    known, compared = dict(theirs.named_parameters()), 0
    for name, parameter in ours.named_parameters():
        # transformers rounds the layers that choose experts
        if name.rpartition(".")[0] not in inside and known[name].shape == parameter.shape:
            assert torch.equal(parameter, known[name]), name
            compared += 1
    assert compared > 4
    assert ours.generation_config.to_dict() == theirs.generation_config.to_dict()
    tied = ours.get_input_embeddings().weight is ours.get_output_embeddings().weight
    assert tied == bool(ours.config.tie_word_embeddings)


def test_a_file_that_ends_early_is_told(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    folder = write(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="cannot be loaded"):
        quantised(folder, "nf4")


def test_a_missing_weight_is_told(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from safetensors.torch import load_file

    folder = write(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="not in its files") as caught:
        quantised(folder, "nf4")
    assert "up_proj" in caught.value.got


SCRIPT = """
import sys, gc
import torch, transformers, bitsandbytes, accelerate, peft
from transformers import LlamaForCausalLM
from regimen.memory.bases import configuration
from regimen.models.loading import ModelSpec, load_model
from regimen.training.profiling.memory import reset_peak, resident, resident_peak, weights
kind, small, large = sys.argv[1:]
load_model(ModelSpec(path=small), quantisation=configuration(kind, torch.float32))  # imports
gc.collect()
reset_peak()
before = resident()
spec = ModelSpec(path=large, dtype="bfloat16")
model = load_model(spec, quantisation=configuration(kind, torch.float32))
print(resident_peak() - before, weights(model))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are begun anew on Linux alone")
@pytest.mark.parametrize("kind", ["nf4", "int8", "int8_torchao"])
def test_the_whole_model_is_never_resident(kind: str, tmp_path: Path) -> None:
    """The peak stays below the quantised weights, the largest tensor and 64 MiB of work.

    The work are fp32 copies of one tensor and what the allocator holds back between two returns.
    """
    pytest.importorskip("torchao" if "torchao" in kind else "bitsandbytes")
    from transformers import LlamaConfig, LlamaForCausalLM

    small, large = write(tmp_path / "small"), tmp_path / "large"
    config = LlamaConfig(
        vocab_size=4000,
        hidden_size=1024,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=8,
    )
    network = LlamaForCausalLM(config).to(torch.bfloat16)
    whole = sum(p.nbytes for p in network.parameters())
    largest = max(p.nbytes for p in network.parameters())
    network.save_pretrained(large, max_shard_size="100MB")
    del network
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, small, str(large)],
        capture_output=True,
        text=True,
        check=True,
    )
    peak, kept = map(int, done.stdout.split()[-2:])
    assert peak < kept + largest + (64 << 20), (peak, kept, largest)
    assert peak < whole  # with the quantised model beside it, it would be more
