"""Adapters of models with a classification head: pytest tests/adapters/test_heads.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from adapters.test_methods import SPECS
from helpers.small_models import MODELS
from regimen.adapters.files import base_hashes, load_adapter, merge, save_adapter
from regimen.adapters.methods import add_adapter
from regimen.adapters.own_weights import BitFit, Freeze
from regimen.adapters.targets import classification_heads, resolved
from regimen.errors import AdapterError

IDS = torch.tensor([[4, 5, 6, 7], [8, 9, 10, 3]])
WITH_HEADS = [name for name in SPECS if name not in ("tokens", "adalora")]


def base(arch: str = "llama", kind: Any = AutoModelForSequenceClassification, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    fields = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(arch, **{**MODELS[arch], **fields, "num_labels": 3})
    return kind.from_config(config).eval()


@torch.no_grad()
def logits(network: Any) -> Tensor:
    found: Tensor = network.eval()(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return found


@pytest.mark.parametrize("arch", ["llama", "gpt2", "qwen3"])
def test_the_head_is_no_target_and_known(arch: str) -> None:
    model = base(arch)
    assert classification_heads(model) == ["score"]
    assert "score" not in resolved(model, "all-linear")
    with pytest.raises(AdapterError, match="matches no module"):
        resolved(model, ["score"])


@pytest.mark.matrix
@pytest.mark.parametrize("name", WITH_HEADS)
def test_the_head_is_trained_and_comes_back_with_the_adapter(name: str, tmp_path: Path) -> None:
    network = add_adapter(base(), SPECS[name], seed=0)
    learnt = [p for n, p in network.named_parameters() if p.requires_grad and "score" in n]
    assert [tuple(p.shape) for p in learnt] == [(3, 32)]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-2)
    for _ in range(5):
        found = network(
            input_ids=IDS, attention_mask=torch.ones_like(IDS), labels=torch.tensor([1, 2])
        )
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
    expected = logits(network)
    save_adapter(network, tmp_path)
    other = base()
    torch.nn.init.zeros_(other.score.weight)  # drawn anew, as transformers does
    loaded = load_adapter(other, str(tmp_path))
    torch.testing.assert_close(logits(loaded), expected, atol=2e-5, rtol=2e-5)
    if SPECS[name].merges:
        merged = merge(loaded)
        torch.testing.assert_close(logits(merged), expected, atol=2e-5, rtol=2e-5)
        assert type(merged).__name__ == "LlamaForSequenceClassification"


def test_tokens_have_heads_too(tmp_path: Path) -> None:
    model = base("llama", AutoModelForTokenClassification)
    network = add_adapter(model, SPECS["lora"], seed=0)
    assert str(network.active_peft_config.task_type).endswith("TOKEN_CLS")
    save_adapter(network, tmp_path)
    loaded = load_adapter(base("llama", AutoModelForTokenClassification, seed=0), str(tmp_path))
    assert torch.equal(logits(loaded), logits(network))


@pytest.mark.parametrize("spec", [BitFit(), Freeze(layers=1)])
def test_methods_that_train_the_base_train_its_head(spec: Any) -> None:
    network = add_adapter(base("gpt2"), spec, seed=0)
    assert network.score.weight.requires_grad
    assert not network.transformer.wte.weight.requires_grad


def test_rows_of_tokens_alone_leave_a_head_untrained_which_is_an_error() -> None:
    with pytest.raises(AdapterError, match="cannot train the head") as caught:
        add_adapter(base(), SPECS["tokens"], seed=0)
    assert caught.value.slug == "adapter-head"


def test_a_base_is_the_same_whatever_its_head() -> None:
    one, two = base(), base()
    torch.nn.init.ones_(two.score.weight)
    assert base_hashes(one) == base_hashes(two)
