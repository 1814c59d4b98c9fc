"""pytest tests/models/test_arithmetic.py"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.small_models import MODELS, make
from regimen.adapters.lora import Lora
from regimen.adapters.methods import add_adapter
from regimen.models.arithmetic import arithmetic, flop_of, pairs
from regimen.models.forward import backbone_of, prepare
from regimen.models.native import ops
from regimen.models.parts import ATTENTION, HEAD, NETWORK, parts_below
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Plan, Segment, ragged_batch
from regimen.training.loop import batch_loss

WINDOWS_ONLY = {"mistral", "qwen2", "qwen2_moe", "gemma3_text", "phi3", "cohere2"}
"""Small models in which both layers have a window."""


def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=6,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config)


def batch(lengths=(7, 5), learned=2):
    """Sequences whose last ``learned`` tokens are supervised."""
    return ragged_batch(
        [Segment(list(range(n)), [0.0] * (n - learned) + [1.0] * learned) for n in lengths]
    )


def test_a_small_llama_counted_by_hand():
    """12 tokens in 7 + 5, 4 supervised; width 16, 4 query and 2 key heads of 6, inner width 24."""
    found = arithmetic(prepare(tiny())).flop(batch())
    projections = 16 * 24 + 16 * 12 + 16 * 12 + 24 * 16  # queries, keys, values, output
    seen = (1 + 2 + 3 + 4 + 5 + 6 + 7) + (1 + 2 + 3 + 4 + 5)
    mixing = 2 * (2 * 4 * 6) * seen  # scores, and values weighted by them
    assert found[ATTENTION].forward == 3 * (2 * 12 * projections + mixing)
    assert found[ATTENTION].backward == 2 * found[ATTENTION].forward
    # 4 of the 12 rows are read, so the last gated network computes 4
    assert found[NETWORK].forward == (12 + 12 + 4) * 2 * 3 * 16 * 24
    assert found[NETWORK].backward == 2 * found[NETWORK].forward
    assert found[HEAD].forward == 2 * 4 * 16 * 50
    assert found[HEAD].backward == 2 * found[HEAD].forward
    assert set(found) == {ATTENTION, NETWORK, HEAD}


def test_where_most_rows_are_read_the_last_network_computes_all():
    found = arithmetic(prepare(tiny())).flop(batch((6, 6), learned=5))
    assert found[NETWORK].forward == 3 * 12 * 2 * 3 * 16 * 24


def counted(model, data):
    """What torch's own counter sees of linear layers in both passes; hooks keep them apart.

    Products of batches are attention's, and up to transformers 5.1x those of positions with
    the frequencies that they are turned by.
    """
    for module in model.model.modules():
        if type(module) is torch.nn.Linear:
            module.register_forward_hook(lambda *_: None)
    counter = FlopCounterMode(display=False)
    with counter:
        out = batch_loss(model, Supervised(), data, bf16=False)
        out.components["nll"].backward()
    seen = counter.get_flop_counts()["Global"]
    others = ("attention", "bmm")
    return sum(size for kind, size in seen.items() if not any(o in str(kind) for o in others))


@pytest.mark.parametrize("lora", [False, True])
def test_linear_layers_agree_with_the_counter_of_torch(lora, monkeypatch):
    monkeypatch.setattr(ops.OFF, "now", True)  # torch counts its own operators alone
    network = tiny()
    if lora:
        network = add_adapter(network, Lora(r=2), seed=0)
    model, data = prepare(network), batch((9, 4, 6), learned=3)
    computed = arithmetic(model)
    mixing = 12 * computed.heads * computed.head_width * sum(pairs(data.plan, None) for _ in "abc")
    ours = sum(part.total for part in computed.flop(data).values()) - mixing
    assert counted(model, data) == ours


def test_under_lora_frozen_weights_get_no_gradient_and_the_first_inputs_neither():
    model = prepare(add_adapter(tiny(), Lora(r=2), seed=0))
    layers = arithmetic(model).layers
    frozen = [layer for layer in layers if not layer.grad_weight]
    assert len(frozen) == 3 * 7
    assert sum(not layer.grad_input for layer in frozen) == 3  # queries, keys, values of layer 0
    assert sum(layer.grad_weight for layer in layers) == 2 * 3 * 7
    assert not arithmetic(model).head.grad_weight


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 12))
def test_pairs_are_those_of_the_causal_mask(lengths, window):
    """The second half of the segments continues the first one."""
    parents = tuple(-1 if i < (len(lengths) + 1) // 2 else 0 for i in range(len(lengths)))
    plan = Plan(tuple(lengths), parents)
    for width in (None, window):
        expected = 0
        for segment, length in enumerate(lengths):
            before = lengths[0] if parents[segment] == 0 else 0
            for query in range(before, before + length):
                first = 0 if width is None else max(0, query - width + 1)
                expected += query - first + 1
        assert pairs(plan, width) == expected


@pytest.mark.matrix
@pytest.mark.parametrize("name", MODELS)
def test_every_matrix_of_every_architecture_is_counted_once(name):
    model = prepare(make(name, MODELS[name]))
    computed = arithmetic(model)
    backbone = backbone_of(model.model)
    kinds = [part for part, _, _ in parts_below(backbone)]
    # OPT's layers hold the two matrices of their network themselves
    assert (kinds.count(ATTENTION), kinds.count(NETWORK)) == (2, 4 if name == "opt" else 2)
    tables = {id(m.weight) for m in backbone.modules() if isinstance(m, torch.nn.Embedding)}
    matrices = [p for p in backbone.parameters() if p.ndim > 1 and id(p) not in tables]
    # two experts of each mixture are at work; their biases and the router are left out
    config = model.model.config
    fields = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((n for n in (getattr(config, f, None) for f in fields) if n), 0)
    used = sum(
        p.numel() * (2 / experts if p.ndim == 3 else not experts or len(p) != experts)
        for p in matrices
    )
    ours = sum(layer.inputs * layer.outputs * layer.share for layer in computed.layers)
    assert ours == pytest.approx(used)
    assert set(computed.windows) <= {None, 4}
    assert (None in computed.windows) == (name not in WINDOWS_ONLY)


def test_products_hold_what_linear_layers_compute():
    model, data = prepare(tiny()), batch((9, 4, 6), learned=3)
    computed = arithmetic(model)
    products = computed.products(data)
    total = sum(count * flop_of(product) for product, count in products.items())
    mixing = 12 * 4 * 6 * 3 * pairs(data.plan, None)
    assert total == sum(part.total for part in computed.flop(data).values()) - mixing
