"""Loading: what is missing from a folder is never made up."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.small_models import MODELS, PADDED, make
from regimen.errors import ModelError
from regimen.models.loading import ModelSpec, load_model

EVERY = {**MODELS, **PADDED}


def spec(folder):
    return ModelSpec(path=str(folder))


@pytest.mark.matrix
@pytest.mark.parametrize("name", EVERY)
def test_a_whole_folder_is_loaded_as_it_was_written(name, tmp_path):
    model = make(name, EVERY[name])
    model.save_pretrained(tmp_path)
    loaded = load_model(spec(tmp_path))
    for (key, mine), (other, theirs) in zip(
        model.named_parameters(), loaded.named_parameters(), strict=True
    ):
        assert key == other
        assert torch.equal(mine, theirs), key


def without(folder, *names):
    """The folder with some tensors taken out of its file."""
    make("llama", MODELS["llama"]).save_pretrained(folder)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for name in names:
        del tensors[name]
    save_file(tensors, file, {"format": "pt"})


def test_a_folder_that_lacks_weights_is_refused_and_they_are_named(tmp_path):
    gone = ("model.layers.1.mlp.up_proj.weight", "lm_head.weight")
    without(tmp_path, *gone)
    with pytest.raises(ModelError, match="not in its files") as refused:
        load_model(spec(tmp_path))
    assert refused.value.slug == "weights-missing"
    assert all(name in refused.value.got for name in gone)


def test_many_missing_weights_are_counted(tmp_path):
    model = make("llama", MODELS["llama"])
    without(tmp_path, *(name for name, _ in model.named_parameters() if "layers" in name))
    with pytest.raises(ModelError, match="and 12 more"):
        load_model(spec(tmp_path))


def test_weights_of_another_shape_are_refused(tmp_path):
    make("llama", MODELS["llama"]).save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(
        config.read_text().replace('"intermediate_size": 48', '"intermediate_size": 64')
    )
    with pytest.raises(ModelError) as refused:
        load_model(spec(tmp_path))
    assert "mlp" in str(refused.value)
