"""Whole models: scales change nothing by themselves, methods keep their order, layers are seen."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.small_models import MODELS, SMALL, make
from regimen.errors import ModelError
from regimen.memory.quantisation.apply import QUANTIZERS, quantise
from regimen.memory.quantisation.grid import ROW, TENSOR, Grid, round_to_nearest
from regimen.memory.quantisation.layers import Stream, decoder_layers, linears_of
from regimen.memory.quantisation.linear import QuantLinear, round_inputs
from regimen.memory.quantisation.scaling import (
    awq_scale,
    folded,
    places,
    scaled_error,
    smooth_scale,
)
from regimen.memory.quantisation.seen import Seen
from regimen.memory.quantisation.spec import Activations, Awq, Gptq, Rtn, SmoothQuant
from regimen.models.differences import relative_difference

FOUR = Grid(4, 16, False)


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


def error(model, quantised, ids) -> float:
    ours, theirs = logits(quantised, ids), logits(model, ids)
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("spec", [Rtn(FOUR), Gptq(FOUR), Awq(FOUR), SmoothQuant()])
def test_a_method_rounds_every_linear_layer_and_says_by_how_much(model, windows, spec) -> None:
    before = {
        n: m.weight.detach().clone() for n, m in model.named_modules() if type(m) is torch.nn.Linear
    }
    done = quantise(model, windows, spec, batch=4)
    names = {name for name, module in model.named_modules() if isinstance(module, QuantLinear)}
    assert names == before.keys() - {"lm_head"} == {each.name for each in done.layers}
    assert all(0 < each.weight_error < 0.5 for each in done.layers)
    assert all(0 < each.output_error < 0.7 for each in done.layers)
    assert len(done.block_errors) == 2
    assert 0 < done.weight_error < 0.5
    if isinstance(spec, Rtn | Gptq):
        (first,) = (each for each in done.layers if each.name.endswith("0.self_attn.q_proj"))
        rough = model.get_submodule(first.name).dense()
        exact = before[first.name]
        assert first.weight_error == pytest.approx(float((rough - exact).norm() / exact.norm()))


def test_eight_bits_are_near_and_fewer_are_further(windows, held_out) -> None:
    model, errors = make("llama", SMALL), []
    for parameter in model.model.layers.parameters():  # attention that is not a matter of one token
        parameter.data *= 0.3 if parameter.ndim > 1 else 1.0
    for bits in (8, 4, 3, 2):
        other = copy.deepcopy(model)
        quantise(other, windows, Rtn(Grid(bits, 16, False)))
        errors.append(error(model, other, held_out))
    assert errors == sorted(errors)
    assert errors[0] < 0.01


def test_gptq_and_awq_lose_less_of_the_outputs_than_rounding(model, windows) -> None:
    grid = Grid(3, 16, False)
    found = {
        name: quantise(copy.deepcopy(model), windows, spec).output_error
        for name, spec in (("rtn", Rtn(grid)), ("gptq", Gptq(grid)), ("awq", Awq(grid)))
    }
    assert found["gptq"] < 0.95 * found["rtn"]
    assert found["awq"] < 0.95 * found["rtn"]


def test_what_a_layer_reads_is_what_the_rounded_ones_before_it_make(model, windows) -> None:
    other = copy.deepcopy(model)
    quantise(other, windows, Rtn(Grid(2, 16, False)))
    stream = Stream.begin(other, windows, 4)
    stream.advance(0)
    with torch.no_grad():
        whole = other.model(input_ids=windows[:4], output_hidden_states=True, use_cache=False)
    assert relative_difference(stream.states[0], whole.hidden_states[1]) < 1e-6


@pytest.mark.parametrize("name", ["llama", "qwen3", "mistral", "gemma2", "gemma3_text", "phi3"])
def test_layers_run_alone_as_in_the_model(name, windows) -> None:
    model = make(name, MODELS[name])
    stream = Stream.begin(model, windows, 4)
    for number in range(len(stream.layers)):
        stream.advance(number)
    states = torch.cat(stream.states)
    with torch.no_grad():
        expected = model.model(input_ids=windows, use_cache=False).last_hidden_state
        assert relative_difference(model.model.norm(states), expected) < 1e-5


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2", "gemma3_text", "olmo2"])
def test_folded_scales_change_nothing(name, windows) -> None:
    model = make(name, {**MODELS[name], "num_key_value_heads": 4})
    expected = logits(model, windows)
    stream = Stream.begin(model, windows, 6)
    taken = 0
    for number, (_, layer) in enumerate(decoder_layers(model)):
        before = stream.run(number, stream.states[0])

        def same(number=number, before=before) -> bool:
            again = stream.run(number, stream.states[0])
            return relative_difference(again, before) < 1e-4

        for place in places(layer, linears_of(layer)):
            width = linears_of(layer)[place.readers[0]].in_features
            scale = torch.rand(width, generator=torch.Generator().manual_seed(7)) * 4 + 0.1
            taken += folded(layer, place, scale, same)
    assert relative_difference(logits(model, windows), expected) < 1e-5
    # olmo2's norms stand behind its layers: only values and up projections take scales there
    assert taken == {"olmo2": 4}.get(name, 8)


@given(st.integers(0, 500), st.sampled_from([2, 3, 4, 8]), st.sampled_from([ROW, 4]))
@examples(40)
def test_the_scale_of_awq_is_never_worse_than_none(seed, bits, size) -> None:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(40, 8, generator=draw) * torch.rand(8, generator=draw).pow(4) * 10
    seen = Seen.of(8)
    seen.add(x)
    spec = Awq(Grid(bits, size, False))
    weights = [torch.randn(5, 8, generator=draw), torch.randn(3, 8, generator=draw)]
    scale, alpha = awq_scale(weights, seen, spec, torch.float32)
    assert 0.0 <= alpha < 1.0
    found = scaled_error(weights, scale, seen.gram_II, spec.grid, torch.float32)
    plain = sum(
        float(((round_to_nearest(w, spec.grid).dense() - w) @ x.T).square().sum()) for w in weights
    )
    assert found <= plain * 1.001 + 1e-5


def test_the_scale_of_smoothquant_is_its_equation() -> None:
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(9, 4, generator=draw), torch.randn(3, 4, generator=draw)
    seen = Seen.of(4)
    seen.add(x[:5])
    seen.add(x[5:])
    scale, _ = smooth_scale([weight], seen, SmoothQuant(alpha=0.7), torch.float32)
    expected = x.abs().amax(0) ** 0.7 / weight.abs().amax(0) ** 0.3
    torch.testing.assert_close(scale, expected)
    torch.testing.assert_close((x / scale) @ (weight * scale).T, x @ weight.T, atol=1e-5, rtol=1e-5)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(0, 99))
def test_sums_over_batches_are_those_of_all_inputs(tokens, cut, seed) -> None:
    x = torch.randn(tokens, 3, generator=torch.Generator().manual_seed(seed))
    seen = Seen.of(3)
    for piece in x.split(cut):
        seen.add(piece)
    assert seen.tokens == tokens
    torch.testing.assert_close(seen.gram_II, x.T @ x, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen.mean_abs_I, x.abs().mean(0))
    torch.testing.assert_close(seen.max_abs_I, x.abs().amax(0))
    scale = torch.tensor([2.0, 0.5, 4.0])
    other = Seen.of(3)
    other.add(x / scale)
    torch.testing.assert_close(seen.divided(scale).gram_II, other.gram_II, atol=1e-4, rtol=1e-4)


def test_w8a8_per_tensor_suffers_from_large_channels_and_smoothing_helps(
    model, windows, held_out
) -> None:
    eight = Grid(8, TENSOR, True)
    naive = Activations(8, "tensor", dynamic=False)
    found = {}
    for name, spec in (
        ("naive", Rtn(eight, naive)),
        ("smooth", SmoothQuant(eight, naive)),
        ("token", Rtn(Grid(8, ROW, True), Activations(8, "token"))),
    ):
        other = copy.deepcopy(model)
        quantise(other, windows, spec)
        found[name] = error(model, other, held_out)
    assert found["smooth"] < 0.7 * found["naive"]
    assert found["token"] < found["naive"]


@pytest.mark.parametrize(
    ("how", "shape"),
    [("tensor", ()), ("token", (5, 1)), ("group", (5, 3, 1))],
)
def test_inputs_are_rounded_by_what_shares_a_scale(how, shape) -> None:
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(1))
    x[2] *= 50.0
    done = round_inputs(x, Activations(8, how, 4))
    shared = {"tensor": x, "token": x, "group": x.view(5, 3, 4)}[how]
    step = (shared.abs().amax(-1, keepdim=True) if how != "tensor" else x.abs().max()) / 127.5
    assert step.shape == shape
    assert ((done.view_as(shared) - shared).abs() <= step * 1.001).all()
    if how != "tensor":  # a large token leaves its neighbours alone
        assert (done[0] - x[0]).abs().max() < 0.02


def test_methods_are_told_apart_by_their_settings() -> None:
    assert len({method.spec for method in QUANTIZERS.values()}) == len(QUANTIZERS) == 4


def test_act_order_and_notes(model, windows) -> None:
    done = quantise(model, windows, Gptq(replace(FOUR, group_size=64), act_order=True))
    assert any("in groups of 32, 48" in note for note in done.notes)


def test_a_model_without_linear_layers_is_refused(windows) -> None:
    with pytest.raises(ModelError) as caught:
        quantise(make("gpt2", MODELS["gpt2"]), windows, Rtn(FOUR))
    assert caught.value.slug == "quantise-no-linear"
