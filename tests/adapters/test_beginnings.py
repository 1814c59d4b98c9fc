"""Where LoRA begins: pytest tests/adapters/test_beginnings.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters import beginnings
from regimen.adapters.beginnings import low_rank
from regimen.adapters.files import load_adapter, save_adapter
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.adapters.spec import see_rows
from regimen.errors import AdapterError
from regimen.memory.bases import configuration
from regimen.models.loading import ModelSpec, load_model
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.data import Data
from regimen.training.options import LoopOptions

ROWS = token_rows(
    [Rendered(tuple(range(4 + n % 7, 20 + n % 11)), (0.0,) + (1.0,) * (15 - n % 7 + n % 11))
     for n in range(60)]
)  # fmt: skip


def base(arch: str = "llama") -> Any:
    return make(arch, MODELS[arch])


def logits(network: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = network.eval()(input_ids=torch.tensor([[4, 5, 6, 7]])).logits
    return found


def test_the_nearest_matrix_of_a_rank() -> None:
    torch.manual_seed(0)
    matrix_OI = torch.randn(6, 9)
    a_RI, b_OR = low_rank(matrix_OI, 3)
    _, sizes, _ = torch.linalg.svd(matrix_OI)
    lost = torch.linalg.matrix_norm(matrix_OI - b_OR @ a_RI)
    torch.testing.assert_close(lost, sizes[3:].square().sum().sqrt())
    torch.testing.assert_close(torch.linalg.matrix_norm(a_RI), torch.linalg.matrix_norm(b_OR))


def eva(arch: str, rows: Any = ROWS, r: int = 4) -> Any:
    network = add_adapter(base(arch), Lora(r=r, init="eva"), seed=0)
    options = LoopOptions(learning_rate=1e-3, tokens_per_batch=80)
    data = Data(rows, options)
    see_rows(network, lambda: data.padded(16))
    return network


@pytest.mark.parametrize("arch", ["llama", "gpt2"])
def test_directions_of_the_inputs_leave_the_model_as_it_was(arch: str, tmp_path: Path) -> None:
    network = eva(arch)
    torch.testing.assert_close(logits(network), logits(base(arch)), atol=1e-5, rtol=1e-5)
    ranks = {n: len(p) for n, p in network.named_parameters() if "lora_A" in n}
    assert sum(ranks.values()) == 4 * len(ranks)
    assert len(set(ranks.values())) > 1  # they went where they were needed
    again = dict(eva(arch).named_parameters())
    assert all(torch.equal(p, again[n]) for n, p in network.named_parameters())
    for name, parameter in network.named_parameters():  # orthonormal rows
        if "lora_A" in name and len(parameter):
            gram = parameter @ parameter.T
            torch.testing.assert_close(gram, torch.eye(len(parameter)), atol=1e-3, rtol=1e-3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    save_adapter(network, tmp_path)
    loaded = load_adapter(base(arch), str(tmp_path))
    torch.testing.assert_close(logits(loaded), logits(network), atol=1e-5, rtol=1e-5)


def test_too_few_tokens_for_the_directions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginnings, "MOST_READ", 9)
    few = token_rows([Rendered((4, 5), (0.0, 1.0))])
    with pytest.raises(AdapterError, match="do not show the directions"):
        eva("llama", few, r=16)


def quantised(folder: Path) -> Any:
    pytest.importorskip("bitsandbytes")
    config = configuration("nf4", torch.float32)
    return load_model(ModelSpec(path=str(folder)), quantisation=config)


@pytest.mark.parametrize("alpha", [4.0, 32.0])
def test_what_rounding_lost_is_given_back(alpha: float, tmp_path: Path) -> None:
    sizes = {**MODELS["llama"], "hidden_size": 64, "intermediate_size": 128}
    full = make("llama", sizes)
    full.save_pretrained(tmp_path)
    plain = add_adapter(quantised(tmp_path), Lora(r=16, alpha=alpha), seed=0)
    better = add_adapter(quantised(tmp_path), Lora(r=16, alpha=alpha, init="loftq"), seed=0)
    exact = logits(full)
    first = torch.linalg.vector_norm(logits(plain) - exact)
    assert torch.linalg.vector_norm(logits(better) - exact) < 0.7 * first


def test_rounding_needs_a_rounded_base_and_its_weights(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    with pytest.raises(AdapterError, match="quantised here") as caught:
        add_adapter(base(), Lora(init="loftq"), seed=0)
    assert caught.value.got.startswith("0 layers in few bits")
