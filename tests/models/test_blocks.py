"""Self-attention and gated network as one function each: what the modules they replace compute."""

import copy
from contextlib import nullcontext

import pytest
import torch

from helpers.small_models import MODELS, SMALL, make
from models.native.test_ops import EITHER, way  # noqa: F401
from regimen.models import blocks
from regimen.models.blocks import SelfAttention
from regimen.models.buffers import kept_buffers
from regimen.models.forward import LanguageModel, prepare
from regimen.models.head import reduce
from regimen.tokens.ragged import Segment, ragged_batch

TAKEN = {  # models whose attention is replaced in both layers
    "llama": SMALL,
    "llama, equal heads": {**SMALL, "num_key_value_heads": 4},
    "mistral": {**SMALL, "sliding_window": 40},
    "granite": {**SMALL, "attention_multiplier": 0.3, "residual_multiplier": 0.5},
    "qwen2": SMALL,  # biases
    "qwen3": MODELS["qwen3"],  # a norm of each head
    "olmo2": MODELS["olmo2"],  # a norm of all heads at once
    "gemma3_text": MODELS["gemma3_text"],  # a norm whose weight is kept as weight - 1, and windows
}
LEFT = {name: MODELS[name] for name in ("gemma2", "gpt2", "gpt_oss", "phi3")}


def batch(parents=(-1, -1, -1)):
    draw = torch.Generator().manual_seed(2)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in (9, 14, 3)]
    return ragged_batch(
        [
            Segment(x, [float(p >= 0), *[1.0] * (len(x) - 1)], p)
            for x, p in zip(ids, parents, strict=True)
        ]
    )


def loss_and_gradients(prepared: LanguageModel, data, *, kept=False, rounds=1, bf16=False):
    with kept_buffers() if kept else nullcontext():
        for _ in range(rounds):
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                out = reduce(
                    prepared.hidden(data), prepared.head(), data.source_row_N, data.target_N,
                    {"logp"}, dtype=torch.bfloat16 if bf16 else None,
                )  # fmt: skip
            out.logp_N.sum().backward()
    gradients = {name: p.grad for name, p in prepared.model.named_parameters()}
    return out.logp_N.sum().detach(), gradients


def with_and_without(name, fields, monkeypatch):
    """The model with its attention replaced, and with transformers' own modules."""
    model = make(name.split(",")[0], fields).train()
    other = copy.deepcopy(model)
    replaced = prepare(model)
    with monkeypatch.context() as patch:
        patch.setattr("regimen.models.forward.fuse", lambda base: 0)
        patch.setattr("regimen.models.forward._fuse_attention", lambda model: {})
        own = prepare(other)
    assert replaced.ragged
    assert own.ragged
    return replaced, own


def replaced_modules(prepared):
    return [m for m in prepared.model.modules() if isinstance(m, SelfAttention)]


@pytest.mark.matrix
@pytest.mark.parametrize("parents", [(-1, -1, -1), (-1, 0, 0)], ids=["flat", "forest"])
@EITHER
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("name", TAKEN)
def test_losses_and_gradients_stay(name, kept, way, parents, monkeypatch):  # noqa: F811
    replaced, own = with_and_without(name, TAKEN[name], monkeypatch)
    fields = TAKEN[name]
    assert len(replaced_modules(replaced)) == fields["num_hidden_layers"]
    calls = []
    forward = blocks._SelfAttention.apply
    monkeypatch.setattr(
        blocks._SelfAttention, "apply", lambda *a: (calls.append(1), forward(*a))[1]
    )
    loss, gradients = loss_and_gradients(own, batch(parents), rounds=2)
    ours, got = loss_and_gradients(replaced, batch(parents), rounds=2, kept=kept)
    taken = way or parents == (-1, -1, -1)
    windows = name == "gemma3_text" and not way  # torch's kernel takes no window
    assert windows or len(calls) == 2 * fields["num_hidden_layers"] * taken
    torch.testing.assert_close(ours, loss, rtol=1e-5, atol=0)
    for key, gradient in gradients.items():
        scale = float(gradient.abs().max()) + 1e-12
        # keys' biases shift all scores of a query alike: their gradient is a sum that cancels
        tolerance = 2e-4 * scale + (1e-5 if key.endswith("k_proj.bias") else 0)
        assert float((got[key] - gradient).abs().max()) <= tolerance, key


def test_under_autocast_the_difference_is_that_of_bf16(monkeypatch):
    replaced, own = with_and_without("llama", SMALL, monkeypatch)
    exact, _ = loss_and_gradients(copy.deepcopy(own), batch())
    loss, gradients = loss_and_gradients(own, batch(), bf16=True)
    ours, got = loss_and_gradients(replaced, batch(), bf16=True, kept=True)
    assert abs(float(ours - exact)) <= 3 * abs(float(loss - exact)) + 0.01 * abs(float(exact))
    for key, gradient in gradients.items():
        cosine = torch.nn.functional.cosine_similarity(got[key].flatten(), gradient.flatten(), 0)
        assert float(cosine) > 0.99, key


@EITHER
@pytest.mark.parametrize("bf16", [False, True])
def test_a_graph_that_is_kept_can_be_gone_through_again(way, bf16):  # noqa: F811
    """What a network has in memory is only written over when nobody comes back for it."""
    prepared = prepare(make("llama", SMALL).train())
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = prepared.hidden(batch()).float().square().sum()
    parameters = [p for p in prepared.model.parameters() if p.requires_grad]
    found = [
        torch.autograd.grad(loss, parameters, retain_graph=kept, allow_unused=True)
        for kept in (True, True, False)
    ]
    for first, second, third in zip(*found, strict=True):
        if first is not None:
            assert torch.equal(first, second)
            assert torch.equal(first, third)


def test_a_frozen_weight_gets_no_gradient(monkeypatch):
    replaced, _ = with_and_without("llama", SMALL, monkeypatch)
    frozen = replaced.model.model.layers[0]
    for module in (frozen.self_attn.q_proj, frozen.mlp.up_proj):
        module.weight.requires_grad_(False)
    loss_and_gradients(replaced, batch(), kept=True)
    assert frozen.self_attn.q_proj.weight.grad is None
    assert frozen.mlp.up_proj.weight.grad is None
    assert frozen.mlp.gate_proj.weight.grad is not None


def test_ordinary_calls_go_to_the_module_that_was_there(monkeypatch):
    replaced, own = with_and_without("llama", SMALL, monkeypatch)
    monkeypatch.setattr(blocks._SelfAttention, "apply", None)
    ids = torch.randint(61, (2, 7), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        replaced.model(input_ids=ids).logits, own.model(input_ids=ids).logits, rtol=1e-4, atol=1e-4
    )


@pytest.mark.matrix
@pytest.mark.parametrize("name", LEFT)
def test_attention_with_more_parts_stays(name):
    prepared = prepare(make(name, LEFT[name]))
    assert prepared.ragged
    assert not replaced_modules(prepared)


def test_other_rotations_are_noticed_even_where_attention_is_almost_uniform(monkeypatch):
    model = make("llama", SMALL)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.02)
    monkeypatch.setattr(blocks.ops, "rotate", lambda x, *a, **k: x)
    prepared = prepare(model)
    assert prepared.ragged
    assert not replaced_modules(prepared)


@pytest.mark.parametrize("turns", [True, False])
def test_weights_in_bf16_are_replaced_too_and_only_where_they_do_the_same(turns, monkeypatch):
    model = make("llama", SMALL).to(torch.bfloat16)
    if not turns:
        monkeypatch.setattr(blocks.ops, "rotate", lambda x, *a, **k: x)
    prepared = prepare(model)
    assert prepared.ragged
    assert len(replaced_modules(prepared)) == 2 * turns


def test_what_the_probe_refuses_is_put_back(monkeypatch):
    model = make("llama", SMALL)
    expected = prepare(copy.deepcopy(model)).hidden(batch())
    honest = blocks._SelfAttention.apply
    monkeypatch.setattr(blocks._SelfAttention, "apply", lambda *a: 2 * honest(*a))
    prepared = prepare(model)
    assert prepared.ragged
    assert not replaced_modules(prepared)
    torch.testing.assert_close(prepared.hidden(batch()), expected, rtol=1e-4, atol=1e-5)


def test_names_on_disk_stay(tmp_path):
    from transformers import AutoModelForCausalLM

    model = make("llama", SMALL)
    keys = list(model.state_dict())
    prepared = prepare(model)
    assert list(model.state_dict()) == keys
    model.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {type(m).__name__ for m in again.modules()} >= {"LlamaAttention", "LlamaMLP"}
    torch.testing.assert_close(
        prepare(again).hidden(batch()), prepared.hidden(batch()), rtol=1e-5, atol=1e-6
    )
