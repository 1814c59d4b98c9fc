"""Flat layers against the modules they are copied from."""

import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers.small_models import MODELS, SMALL, make
from regimen.generation import copying, decoding
from regimen.generation.copying import flat_network
from regimen.generation.engine import Engine
from regimen.generation.rows import Prompt
from regimen.models.differences import relative_difference
from regimen.models.forward import backbone_of, prepare
from regimen.models.native.products import Copied

TAKEN = {
    "llama": SMALL,
    "llama tied": MODELS["llama tied"],
    "llama, one key head": {**SMALL, "num_key_value_heads": 1},
    "llama, biases": {**SMALL, "attention_bias": True, "mlp_bias": True},
    "llama, other angles": {
        **SMALL,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0},
    },
    "llama, long heads": {**SMALL, "head_dim": 12},
    "granite": {**MODELS["granite"], "attention_multiplier": 0.3},
    "mistral": MODELS["mistral"],
    "qwen2": MODELS["qwen2"],
    "qwen3": MODELS["qwen3"],
}
LEFT = {name: fields for name, fields in MODELS.items() if name not in TAKEN} | {
    "llama, angles by length": {
        **SMALL,
        "rope_parameters": {"rope_type": "dynamic", "rope_theta": 500.0, "factor": 2.0},
    },
    "granite, multipliers": {**MODELS["granite"], "residual_multiplier": 0.5},
}


def model_of(name, fields):
    return make(name.split(",")[0], fields, seed=3)


def prompts(**changes):
    draw = torch.Generator().manual_seed(1)
    return [
        Prompt(str(i), tuple(torch.randint(61, (n,), generator=draw).tolist()), 12, **changes)
        for i, n in enumerate((9, 2, 14, 5, 1, 7))
    ]


def both_ways(model, asked, monkeypatch, rows):
    """Continuations by flat layers and by modules."""
    found = []
    for worth in (0, 1 << 40):
        monkeypatch.setattr(decoding, "WORTH", worth)
        found.append(dict(Engine(prepare(model), [3], rows=rows).generate(asked)))
    return found


@pytest.mark.matrix
@pytest.mark.parametrize("name", TAKEN)
def test_the_common_layer_is_taken(name):
    assert flat_network(prepare(model_of(name, TAKEN[name])), 40) is not None


@pytest.mark.matrix
@pytest.mark.parametrize("name", LEFT)
def test_other_layers_are_left_to_their_modules(name):
    assert flat_network(prepare(model_of(name, LEFT[name])), 40) is None


@pytest.mark.matrix
@pytest.mark.parametrize("rows", [2, 64])
@pytest.mark.parametrize("name", TAKEN)
def test_ids_and_log_probabilities_are_those_of_the_modules(name, rows, monkeypatch):
    model = model_of(name, TAKEN[name])
    drawn = [Prompt(f"s{p.id}", p.ids, 9, 0.8, 0.9, seed=int(p.id)) for p in prompts()]
    flat, own = both_ways(model, [*prompts(), *drawn], monkeypatch, rows)
    assert {k: v.ids for k, v in flat.items()} == {k: v.ids for k, v in own.items()}
    for key, it in flat.items():
        assert it.logps == pytest.approx(own[key].logps, abs=1e-3)


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_adapters_are_merged_into_the_copy(scale, monkeypatch):
    base = model_of("qwen2", TAKEN["qwen2"])
    expected = {k: v.ids for k, v in Engine(prepare(base), [3]).generate(prompts())}
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj", "o_proj", "up_proj"])
    model = get_peft_model(base, config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale)
    assert flat_network(prepare(model), 40) is not None
    flat, own = both_ways(model, prompts(), monkeypatch, 4)
    assert {k: v.ids for k, v in flat.items()} == {k: v.ids for k, v in own.items()}
    assert ({k: v.ids for k, v in flat.items()} == expected) is (scale == 0.0)
    with model.disable_adapter():
        flat, _ = both_ways(model, prompts(), monkeypatch, 4)
    assert {k: v.ids for k, v in flat.items()} == expected


def test_dora_is_merged_into_the_copies(monkeypatch):
    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], use_dora=True)
    model = get_peft_model(model_of("llama", SMALL), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_magnitude" in name:
                parameter.mul_(torch.linspace(0.5, 1.5, len(parameter)))
    assert flat_network(prepare(model), 40) is not None
    flat, own = both_ways(model, prompts(), monkeypatch, 4)
    assert {k: v.ids for k, v in flat.items()} == {k: v.ids for k, v in own.items()}


@pytest.mark.filterwarnings("ignore:.lora_bias")
def test_variants_of_adapters_are_left_to_their_modules():
    config = LoraConfig(r=2, target_modules=["q_proj"], lora_bias=True)
    model = get_peft_model(model_of("llama", SMALL), config).eval()
    assert flat_network(prepare(model), 40) is None


def test_weights_that_change_between_runs_are_seen(monkeypatch):
    model = model_of("llama", SMALL)
    before, _ = both_ways(model, prompts(), monkeypatch, 4)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(-1.0)
    flat, own = both_ways(model, prompts(), monkeypatch, 4)
    assert {k: v.ids for k, v in flat.items()} == {k: v.ids for k, v in own.items()}
    assert {k: v.ids for k, v in flat.items()} != {k: v.ids for k, v in before.items()}


def wrong_from(position):
    """A change of the first layer that names and types do not show."""

    def change(model):
        layer = model.model.layers[0]
        honest = layer.forward

        def forward(x, *args, **kwargs):
            late = (kwargs["position_ids"][0] >= position).float()[None, :, None]
            return honest(x, *args, **kwargs) * (1.0 + 0.01 * late)

        layer.forward = forward

    return change


@pytest.mark.parametrize("position", [0, 33])
def test_the_probe_finds_a_layer_that_is_another(position, monkeypatch):
    prepared = prepare(model_of("llama", SMALL))
    wrong_from(position)(prepared.model)
    assert flat_network(prepared, 40) is None
    monkeypatch.setattr(copying, "SAME", float("inf"))
    assert flat_network(prepared, 40) is not None  # nothing but the probe tells


def test_what_listens_to_a_module_goes_on_hearing(monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", 0)
    prepared = prepare(model_of("llama", SMALL))
    heard = []
    prepared.model.model.layers[0].mlp.register_forward_hook(lambda *_: heard.append(1))
    found = dict(Engine(prepared, []).generate(prompts()))
    assert len(heard) >= max(len(it.ids) for it in found.values())


def test_copies_are_given_back_after_the_run(monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", 0)
    kept = []
    honest = Copied.__init__
    monkeypatch.setattr(
        Copied, "__init__", lambda self, *a: (kept.append(weakref.ref(self)), honest(self, *a))[1]
    )
    run = Engine(prepare(model_of("llama", SMALL)), []).generate(prompts())
    next(run)
    gc.collect()
    assert any(copied() is not None for copied in kept)
    list(run)
    del run
    gc.collect()
    assert all(copied() is None for copied in kept)


@pytest.mark.matrix
@pytest.mark.parametrize("name", TAKEN)
def test_in_bf16_states_are_near_those_in_fp32(name):
    model = prepare(model_of(name, TAKEN[name]))
    exact, low = (flat_network(model, 40, dtype) for dtype in (torch.float32, torch.bfloat16))
    backbone = backbone_of(model.model)
    with torch.inference_mode():
        found = copying._probe(low.hidden, backbone, 40)
        expected = copying._probe(exact.hidden, backbone, 40)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        assert 0.0 < relative_difference(ours, theirs) < 0.05


@pytest.mark.parametrize("worth", [0, 1 << 40])
def test_in_bf16_log_probabilities_are_near_those_in_fp32(worth, monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", worth)
    model = prepare(model_of("llama", SMALL))
    exact, low = (dict(Engine(model, [], bf16=b).generate(prompts())) for b in (False, True))
    for key, it in low.items():
        assert it.logps[0] == pytest.approx(exact[key].logps[0], abs=0.05)


def test_a_model_that_hardly_fits_is_not_copied(monkeypatch):
    monkeypatch.setattr(decoding, "WORTH", 0)
    prepared = prepare(model_of("llama", SMALL))
    size = sum(p.nbytes for p in prepared.model.parameters())
    for free, copied in ((size, False), (3 * size, True), (None, True)):
        monkeypatch.setattr(decoding, "free_bytes", lambda free=free: free)
        decoder = decoding.Decoder(prepared, 2, 20, 500, bf16=False)
        assert (decoder.network is not None) is copied
