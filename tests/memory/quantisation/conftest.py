"""A small model with inputs that differ in size, and text for it."""

from __future__ import annotations

import pytest
import torch

from helpers.small_models import SMALL, make


def outlying(name: str = "llama", fields=SMALL, seed: int = 1):
    """A model whose norms make a few channels large, as language models' do.

    What reads them has small weights there, so that they do not drown the rest.
    """
    model = make(name, fields, seed)
    draw = torch.Generator().manual_seed(seed)
    for module_name, module in model.named_modules():
        if module_name.endswith(("input_layernorm", "post_attention_layernorm")):
            module.weight.data = torch.rand(module.weight.shape, generator=draw) + 0.5
            module.weight.data[::11] *= 30.0
        elif module_name.endswith(("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")):
            module.weight.data *= 0.4
            module.weight.data[:, ::11] /= 20.0
    return model


@pytest.fixture
def model():
    return outlying()


@pytest.fixture
def windows():
    return torch.randint(61, (6, 24), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def held_out():
    return torch.randint(61, (3, 20), generator=torch.Generator().manual_seed(6))
