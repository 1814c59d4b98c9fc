"""Fused norms and gated activations: the values and gradients of the modules they stand for."""

import copy

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.memory.activations import checkpoint_activations
from regimen.models.forward import prepare
from regimen.models.fused import GatedMlp, fuse
from regimen.models.head import reduce
from regimen.models.norms import RmsNorm
from regimen.tokens.ragged import Segment, ragged_batch

EXPECTED = {  # norms and gated networks in two layers and at the end
    "llama": (5, 2),
    "llama tied": (5, 2),
    "qwen3": (9, 2),
    "mistral": (5, 2),
    "gemma2": (9, 0),
    "qwen2": (5, 2),
    "gemma3_text": (13, 0),
    "phi3": (5, 0),  # one matrix for gate and up
    "gpt_neox": (0, 0),
    "olmo2": (9, 2),
    "gpt2": (0, 0),
    "opt": (0, 0),
    "phi": (0, 0),
    "mixtral": (5, 0),
    "qwen2_moe": (5, 2),  # the shared experts
    "gpt_oss": (5, 0),
    "deepseek_v3": (9, 2),
    "cohere2": (0, 2),
    "granite": (5, 2),
}


def losses(model):
    ids = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(0))
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.matrix
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_stay(name):
    model = make(name, MODELS[name])
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "norm" in key and parameter.ndim == 1:
                parameter.add_(torch.rand_like(parameter))
    fused = copy.deepcopy(model)
    replaced = fuse(fused)
    kinds = [type(module) for module in fused.modules()]
    assert (kinds.count(RmsNorm), kinds.count(GatedMlp)) == EXPECTED[name]
    assert replaced == sum(EXPECTED[name])
    loss, gradients = losses(model)
    ours, got = losses(fused)
    torch.testing.assert_close(ours, loss, rtol=1e-5, atol=0)
    assert list(got) == list(gradients)
    for key, gradient in gradients.items():
        if gradient is None:
            assert got[key] is None
            continue
        scale = float(gradient.abs().max()) + 1e-12
        assert float((got[key] - gradient).abs().max()) <= 2e-4 * scale, key


def test_names_and_sharing_of_parameters_stay():
    model = make("llama tied", MODELS["llama tied"])
    before = {name: id(p) for name, p in model.named_parameters()}
    keys = list(model.state_dict())
    fuse(model)
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert list(model.state_dict()) == keys
    assert fuse(model) == 0


def test_a_module_that_computes_something_else_stays():
    model = make("llama", MODELS["llama"])
    norm = model.model.norm
    norm.forward = lambda x: x * norm.weight
    mlp = model.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.gate_proj(x))
    fuse(model)
    assert model.model.norm is norm
    assert model.model.layers[0].mlp is mlp


def test_a_norm_works_in_fp32_and_gives_back_the_type_of_its_input():
    weight = torch.nn.Parameter(torch.rand(8, dtype=torch.bfloat16))
    x = torch.randn(3, 8, dtype=torch.bfloat16)
    out = RmsNorm(weight, 1e-6, 0.0)(x)
    expected = torch.nn.functional.rms_norm(x.float(), (8,), weight.float(), 1e-6)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, expected.bfloat16())


def few_supervised():
    draw = torch.Generator().manual_seed(5)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in (9, 6, 12)]
    return ragged_batch([Segment(x, [0.0] * (len(x) - 2) + [1.0] * 2, -1) for x in ids])


def read_gradients(prepared, batch, read):
    out = reduce(
        prepared.hidden(batch, read), prepared.head(), batch.source_row_N, batch.target_N,
        {"nll_sum"}, weight_N=batch.weight_N,
    )  # fmt: skip
    out.nll_sum.backward()
    return out.nll_sum.detach(), {name: p.grad for name, p in prepared.model.named_parameters()}


@pytest.mark.matrix
@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_rows_that_nobody_reads_change_nothing(name, checkpointed):
    batch = few_supervised()
    results = []
    for read in (None, batch.source_row_N):
        model = make(name, MODELS[name]).train()
        if checkpointed:
            checkpoint_activations(model)
        results.append(read_gradients(prepare(model), batch, read))
    (loss, gradients), (ours, got) = results
    torch.testing.assert_close(ours, loss)
    for key, gradient in gradients.items():
        torch.testing.assert_close(got[key], gradient, rtol=1e-4, atol=1e-5, msg=key)


def test_the_last_layer_computes_only_what_is_read(monkeypatch):
    prepared, batch = prepare(make("llama", MODELS["llama"])), few_supervised()
    seen = []
    whole = GatedMlp._all
    monkeypatch.setattr(
        GatedMlp, "_all", lambda self, x: (seen.append(x.shape[-2]), whole(self, x))[1]
    )
    prepared.hidden(batch, batch.source_row_N)
    assert seen == [27, 6]
