"""pytest tests/models/test_parts.py"""

import pytest
import torch

from helpers.small_models import MODELS, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.models.forward import backbone_of, prepare
from regimen.models.parts import ATTENTION, NETWORK, NORMS, parts_below


@pytest.mark.parametrize("name", MODELS)
def test_parts_hold_every_matrix_but_the_embeddings(name):
    backbone = backbone_of(prepare(make(name, MODELS[name])).model)
    inside = {id(p) for _, _, module in parts_below(backbone) for p in module.parameters()}
    tables = {id(m.weight) for m in backbone.modules() if isinstance(m, torch.nn.Embedding)}
    left = {id(p): tuple(p.shape) for p in backbone.parameters() if id(p) not in inside}
    assert {shape for key, shape in left.items() if key not in tables} == set()


def test_an_adapter_belongs_to_the_layer_that_it_adapts():
    model = add_adapter(make("llama", MODELS["llama"]), Lora(r=2), seed=0)
    found = list(parts_below(backbone_of(prepare(model).model)))
    names = {name.rsplit(".", 1)[-1]: part for part, name, _ in found}
    assert (names["self_attn"], names["mlp"], names["norm"]) == (ATTENTION, NETWORK, NORMS)
    assert len({id(module) for _, _, module in found}) == len(found) == 2 * 4 + 1
