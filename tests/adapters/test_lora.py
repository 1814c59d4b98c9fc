"""pytest tests/adapters/test_lora.py"""

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from helpers.small_models import PADDED, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter, trainable
from regimen.adapters.targets import linear_names
from regimen.errors import AdapterError
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.tokens.ragged import Segment, ragged_batch


def base(tied):
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=50,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            tie_word_embeddings=tied,
        )
    )


BATCH = ragged_batch([Segment([4, 5, 6, 7], [0, 1, 1, 1]), Segment([8, 9], [0, 1])])


def logp(model):
    prepared = prepare(model)
    return reduce(
        prepared.hidden(BATCH), prepared.head(), BATCH.source_row_N, BATCH.target_N, {"logp"}
    ).logp_N


@pytest.mark.parametrize("tied", [False, True])
def test_a_fresh_adapter_changes_nothing_and_trains_only_itself(tied):
    plain = logp(base(tied))
    model = add_adapter(base(tied), Lora(r=4), seed=0, new_tokens=(5, 9))
    torch.testing.assert_close(logp(model), plain)
    logp(model).sum().backward()
    learnt = {n for n, p in model.named_parameters() if p.grad is not None}
    assert learnt
    assert all("lora_" in n or "trainable_tokens_delta" in n for n in learnt)
    assert any("trainable_tokens_delta" in n for n in learnt)
    assert 0 < trainable(model).share < 0.6


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_adapter_loads_in_peft_with_equal_logits(tied, tmp_path):
    model = add_adapter(base(tied), Lora(r=4, use_rslora=True), seed=0, new_tokens=(5, 9))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
                assert "base_layer" not in name
    expected = logp(model)
    model.save_pretrained(tmp_path / "adapter")
    base(tied).save_pretrained(tmp_path / "base")
    loaded = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "base"), tmp_path / "adapter"
    )
    ids = torch.tensor([[4, 5, 6, 7]])
    theirs = loaded(input_ids=ids).logits[0].log_softmax(-1)
    got = [float(theirs[i, t]) for i, t in enumerate((5, 6, 7))]
    torch.testing.assert_close(torch.tensor(got), expected[:3], atol=1e-5, rtol=1e-5)


def test_the_seed_decides_the_initial_weights():
    def first(seed):
        model = add_adapter(base(False), Lora(r=4), seed=seed)
        return next(p for n, p in model.named_parameters() if "lora_A" in n)

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_a_module_that_takes_no_adapter_is_an_error_that_names_those_that_do():
    def mamba():
        return make("mamba", PADDED["mamba"])

    with pytest.raises(AdapterError, match=r"out_proj of mamba") as refused:
        add_adapter(mamba(), Lora(), seed=0)
    assert "PEFT" not in str(refused.value)
    assert refused.value.fix.endswith("[dt_proj, in_proj, x_proj].")
    adapted = add_adapter(mamba(), Lora(target_modules=("dt_proj", "in_proj", "x_proj")), seed=0)
    assert trainable(adapted).tensors == 2 * 3 * 2


def test_a_target_that_matches_nothing_names_the_near_one():
    with pytest.raises(AdapterError, match="Did you mean 'q_proj'"):
        add_adapter(base(False), Lora(target_modules=("q_prj",)), seed=0)
    assert "lm_head" not in linear_names(base(False))
