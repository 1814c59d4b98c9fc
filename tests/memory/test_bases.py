"""Quantised bases: pytest tests/memory/test_bases.py"""

from __future__ import annotations

import pytest
import torch

from helpers.quantised_models import (
    FIRST,
    KINDS,
    SECOND,
    gradients,
    nll,
    quantised,
    same,
    twin,
    wake,
    write,
)
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.errors import MissingExtraError
from regimen.memory import bases
from regimen.memory.bases import BASES, configuration
from regimen.models.loading import ModelSpec, load_model
from regimen.models.quantised import kind_of, quantised_in_words, quantised_layers
from regimen.settings import quantised as settings
from regimen.tokens.ragged import ragged_batch
from regimen.training.profiling.memory import weights

pytest.importorskip("bitsandbytes")


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def test_the_settings_have_the_names_of_the_table() -> None:
    assert tuple(BASES) == settings.KINDS == KINDS
    assert tuple(name for name, base in BASES.items() if base.double) == settings.FOUR_BITS


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_a_base_passes_the_gradient_of_its_dequantised_twin(kind, folder) -> None:
    model = quantised(folder, kind)
    assert {kind_of(it) for it in quantised_layers(model).values()} == {kind}
    assert len(quantised_layers(model)) == 7
    plain = twin(folder, model)
    models = [add_adapter(it, Lora(r=4), seed=3) for it in (model, plain)]
    for it in models:
        wake(it)
    for mode in ("train", "eval", "train"):  # eval must not change what training then does
        for it in models:
            getattr(it, mode)()
            with torch.no_grad():
                nll(it)
        torch.testing.assert_close(*map(nll, models), atol=1e-4, rtol=1e-5)
        same(*map(gradients, models), 1e-5)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_a_layers_input_is_that_of_the_weight(kind, folder) -> None:
    model = quantised(folder, kind)
    plain = dict(twin(folder, model).named_modules())
    for name, layer in quantised_layers(model).items():
        for mode in (True, False):
            layer.train(mode)
            x = torch.randn(5, layer.in_features, requires_grad=True)
            (ours,) = torch.autograd.grad(layer(x).square().sum(), x)
            (theirs,) = torch.autograd.grad(plain[name](x).square().sum(), x)
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_batch_is_its_rows_alone(kind, mode, folder) -> None:
    model = add_adapter(quantised(folder, kind), Lora(r=4), seed=3)
    wake(model)
    getattr(model, mode)()
    together = gradients(model)
    alone = [gradients(model, ragged_batch([row])) for row in (FIRST, SECOND)]
    same(together, {name: alone[0][name] + alone[1][name] for name in together}, 1e-4)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_bf16_arithmetic_is_that_of_the_twin(kind, folder) -> None:
    model = quantised(folder, kind, dtype="bfloat16")
    models = [add_adapter(it, Lora(r=4), seed=3) for it in (model, twin(folder, model, "bfloat16"))]
    for it in models:
        wake(it.train())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = [nll(it).float() for it in models]
        found = [gradients(it) for it in models]
    torch.testing.assert_close(*losses, atol=0.1, rtol=0.02)
    same(*found, 0.1)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("double", [True, False])
def test_the_table_says_what_a_weight_takes(kind, double, tmp_path) -> None:
    folder = write(tmp_path, hidden_size=512, intermediate_size=1024, attention_bias=False)
    model = quantised(folder, kind, double=double)
    layers = quantised_layers(model).values()
    few = sum(it.in_features * it.out_features for it in layers)
    inside = {id(p) for it in layers for p in it.parameters()}
    rest = sum(p.nbytes for p in model.parameters() if id(p) not in inside)
    rest += sum(b.nbytes for b in model.buffers())
    bits = 8 * (weights(model) - rest) / few
    assert bits == pytest.approx(BASES[kind].bits_per_weight(double), rel=0.03)


def test_double_quantisation_can_be_left_out(folder) -> None:
    (layer, *_) = quantised_layers(quantised(folder, "nf4", double=False)).values()
    assert not layer.weight.quant_state.nested
    (layer, *_) = quantised_layers(quantised(folder, "nf4")).values()
    assert layer.weight.quant_state.nested


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_a_saved_base_is_loaded_as_it_was(kind, folder, tmp_path) -> None:
    model = quantised(folder, kind)
    model.save_pretrained(tmp_path / "saved")
    again = load_model(ModelSpec(path=str(tmp_path / "saved")))
    assert {kind_of(it) for it in quantised_layers(again).values()} == {kind}
    assert again.name_or_path == str(tmp_path / "saved")
    torch.testing.assert_close(nll(again.eval()), nll(model.eval()), atol=1e-5, rtol=1e-6)
    models = [add_adapter(it, Lora(r=4), seed=3) for it in (again, model)]
    for it in models:
        wake(it.train())
    same(*map(gradients, models), 1e-5)


def test_avx512_never_repacks_a_layer(folder, monkeypatch) -> None:
    """Where the processor could, a layer in eval mode would put its codes in another order."""
    from bitsandbytes.nn import modules

    monkeypatch.setattr(modules, "has_avx512bf16", lambda: True)
    touched = []
    monkeypatch.setattr(
        modules,
        "_convert_weight_packed_for_cpu",
        lambda data, state: touched.append(1) or (data, state),
    )
    model = quantised(folder, "nf4").eval()
    with torch.no_grad():
        model(input_ids=torch.tensor([[4, 5, 6]]))
    assert not touched
    layer = next(iter(quantised_layers(model).values()))
    layer.support_avx512bf16_for_cpu = True
    with torch.no_grad():
        model(input_ids=torch.tensor([[4, 5, 6]]))
    assert touched  # so it would have


def test_eight_bits_are_the_same_in_evaluation(folder) -> None:
    """bitsandbytes' own layer rounds activations there."""
    model = quantised(folder, "int8")
    with torch.no_grad():
        ours = [nll(model.train()), nll(model.eval())]
    torch.testing.assert_close(ours[0], ours[1], atol=1e-5, rtol=1e-6)


def test_routers_and_the_head_stay_whole(tmp_path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    from helpers.small_models import MODELS

    sizes = {**MODELS["qwen2_moe"], "hidden_size": 64, "shared_expert_intermediate_size": 64}
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model("qwen2_moe", **sizes))
    network.save_pretrained(tmp_path)
    for kind in ("nf4", "int8_torchao"):
        model = quantised(str(tmp_path), kind)
        ends = {name.rpartition(".")[2] for name in quantised_layers(model)}
        assert "q_proj" in ends
        assert "down_proj" in ends
        assert not ends & {"lm_head", "gate", "shared_expert_gate"}
        assert "% of the base's weights" in quantised_in_words(model)


@pytest.mark.matrix
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_new_tokens_are_trained_beside_lora(kind, folder) -> None:
    model = quantised(folder, kind)
    model.resize_token_embeddings(52)
    adapted = add_adapter(model, Lora(r=4), seed=3, new_tokens=[50, 51])
    wake(adapted)
    with_new = ragged_batch([FIRST, type(FIRST)([50, 51, 4], [0, 1, 1])])
    rows = {n: g for n, g in gradients(adapted, with_new).items() if "trainable_tokens" in n}
    assert len(rows) == 2  # embedding and projection
    assert all(bool(gradient.any()) for gradient in rows.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_library_is_told(kind, monkeypatch) -> None:
    monkeypatch.setattr(bases, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=BASES[kind].library):
        configuration(kind, torch.float32)
