"""pytest tests/memory/test_quantise.py"""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.memory.quantise import keep_trainable_layout, nf4_config, quantised_layers
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.models.loading import ModelSpec, load_model
from regimen.tokens.ragged import Segment, ragged_batch

pytest.importorskip("bitsandbytes")

BATCH = ragged_batch([Segment([4, 5, 6, 7], [0, 1, 1, 1]), Segment([8, 9], [0, 1])])


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    return str(tmp_path)


def nll(model):
    prepared = prepare(model)
    return -reduce(
        prepared.hidden(BATCH), prepared.head(), BATCH.source_row_N, BATCH.target_N, {"logp"}
    ).logp_N.sum()


def test_lora_on_a_4_bit_base_has_the_gradient_of_the_dequantised_base(folder):
    from bitsandbytes.functional import dequantize_4bit

    quantised = load_model(ModelSpec(path=folder), quantisation=nf4_config(torch.float32))
    keep_trainable_layout(quantised)
    assert quantised_layers(quantised) == 7
    plain = load_model(ModelSpec(path=folder))
    modules = dict(plain.named_modules())
    for name, module in quantised.named_modules():
        if type(module).__name__ == "Linear4bit":
            weight = dequantize_4bit(module.weight.data, module.weight.quant_state)
            modules[name].weight.data = weight.float()
    models = [add_adapter(m, Lora(r=4), seed=3) for m in (quantised, plain)]
    losses = []
    for model in models:
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(parameter, 0.01)
        loss = nll(model)
        loss.backward()
        losses.append(loss.detach())
    torch.testing.assert_close(losses[0], losses[1], atol=1e-3, rtol=1e-3)
    ours = dict(models[0].named_parameters())
    for name, parameter in models[1].named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(ours[name].grad, parameter.grad, atol=1e-3, rtol=1e-2)
