"""Tiny Llamas on disk, and quantised ones beside the plain models that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from regimen.memory.bases import configuration
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.models.loading import ModelSpec, load_model
from regimen.models.quantised import dequantised, quantised_layers
from regimen.tokens.ragged import RaggedBatch, Segment, ragged_batch

KINDS = ("nf4", "fp4", "int8", "int8_torchao", "int4_torchao")
FIRST, SECOND = Segment([4, 5, 6, 7], [0, 1, 1, 1]), Segment([8, 9, 4], [0, 1, 1])
BATCH = ragged_batch([FIRST, SECOND])


def write(folder: Path, **changes: Any) -> str:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
        "num_attention_heads": 2, "attention_bias": True,
    }  # fmt: skip
    network = LlamaForCausalLM(LlamaConfig(**{**sizes, **changes}))
    for parameter in network.parameters():  # attention that is not uniform, biases that are not 0
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.2)
    network.save_pretrained(folder)
    return str(folder)


def quantised(folder: str, kind: str, *, dtype: str = "float32", double: bool = True) -> Any:
    if "torchao" in kind:
        pytest.importorskip("torchao")
    compute = getattr(torch, dtype)
    config = configuration(kind, compute, double_quant=double)
    return load_model(ModelSpec(path=folder, dtype=dtype), quantisation=config)


def twin(folder: str, model: Any, dtype: str = "float32") -> Any:
    """A plain model with the weights that a quantised one stands for."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    modules = dict(plain.named_modules())
    for name, layer in quantised_layers(model).items():
        modules[name].weight.data = dequantised(layer).to(getattr(torch, dtype))
    return plain


def nll(model: Any, batch: RaggedBatch = BATCH) -> torch.Tensor:
    prepared = prepare(model)
    found = reduce(
        prepared.hidden(batch), prepared.head(), batch.source_row_N, batch.target_N, {"logp"}
    )
    return -found.logp_N.sum()


@torch.no_grad()
def wake(model: Any) -> None:
    """Move what is trained away from where it begins: LoRA's gradient is half zero there."""
    draw = torch.Generator().manual_seed(5)
    for _, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=draw).to(parameter.dtype))


def gradients(model: Any, batch: RaggedBatch = BATCH) -> dict[str, torch.Tensor]:
    model.zero_grad()
    nll(model, batch).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], share: float) -> None:
    """Gradients differ by a share of their norm at most."""
    assert ours.keys() == theirs.keys()
    assert any(bool(gradient.any()) for gradient in theirs.values())
    for name, gradient in theirs.items():
        distance = torch.linalg.vector_norm(ours[name].float() - gradient.float())
        assert distance <= share * torch.linalg.vector_norm(gradient.float()) + 1e-7, name
