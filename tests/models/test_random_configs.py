"""Random small models and random forests of segments: together as each path alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.small_models import MODELS, make
from regimen.memory.activations import checkpoint_activations
from regimen.models.forward import prepare
from regimen.models.head import reduce
from regimen.tokens.ragged import Segment, ragged_batch

WINDOWED = {"mistral", "gemma2", "gemma3_text", "qwen2", "phi3", "gpt_oss"}
VARIED = sorted(WINDOWED | {"llama", "llama tied", "qwen3", "olmo2", "mixtral", "qwen2_moe"})
"""Architectures whose heads, key heads, widths, layers and windows are drawn."""


@st.composite
def fields(draw):
    """Architecture and configuration."""
    name = draw(st.sampled_from(VARIED))
    heads = draw(st.sampled_from([2, 4, 6]))
    width = draw(st.sampled_from([4, 8]))
    changed = {
        "num_attention_heads": heads,
        "num_key_value_heads": draw(st.sampled_from([n for n in (1, 2, 3) if heads % n == 0])),
        "hidden_size": heads * width,
        "intermediate_size": 8 * draw(st.integers(1, 5)),
        "num_hidden_layers": draw(st.integers(1, 3)),
    }
    if "head_dim" in MODELS[name]:
        changed["head_dim"] = width
    if name in WINDOWED:
        changed["sliding_window"] = draw(st.integers(2, 9))
    if "layer_types" in MODELS[name]:
        kinds = ["sliding_attention", "full_attention"]
        count = changed["num_hidden_layers"]
        changed["layer_types"] = draw(
            st.lists(st.sampled_from(kinds), min_size=count, max_size=count)
        )
    return name, {**MODELS[name], **changed}


@st.composite
def forests(draw):
    """Segments of 1 to 20 tokens, some of which continue an earlier one."""
    parts = []
    for index in range(draw(st.integers(1, 6))):
        size = draw(st.integers(1, 20))
        parent = draw(st.integers(-1, index - 1))
        ids = draw(st.lists(st.integers(0, 60), min_size=size, max_size=size))
        parts.append(Segment(ids, [float(parent >= 0), *[1.0] * (size - 1)], parent))
    if not any(sum(part.weights) for part in parts):
        parts.append(Segment([1, 2], [0.0, 1.0]))
    return parts


def alone(model, parts, plan):
    """Sum of log-probabilities, each path by itself in transformers."""
    total = 0.0
    for index, part in enumerate(parts):
        ids = [i for s in plan.path(index) for i in parts[s].ids]
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]
        start = len(ids) - len(part.ids)
        for offset, (token, weight) in enumerate(zip(part.ids, part.weights, strict=True)):
            if weight:
                total = total + logits[start + offset - 1].log_softmax(-1)[token]
    return total


@given(fields(), forests(), st.booleans())
@examples(25)
def test_any_forest_in_any_model_equals_its_paths_alone(config, parts, checkpointing):
    name, drawn = config
    model = make(name, drawn)
    batch = ragged_batch(parts)
    expected = alone(model, parts, batch.plan)
    expected.backward()
    want = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    prepared = prepare(model)
    assert prepared.ragged, prepared.reason
    if checkpointing:
        checkpoint_activations(model)
        model.train()
    hidden = prepared.hidden(batch, batch.source_row_N)
    got = reduce(hidden, prepared.head(), batch.source_row_N, batch.target_N, {"logp"})
    total = got.logp_N.sum()
    total.backward()
    torch.testing.assert_close(total, expected, atol=1e-3, rtol=1e-5)
    size = max(float(gradient.abs().max()) for gradient in want.values())
    for key, parameter in model.named_parameters():
        if key in want:
            assert float((parameter.grad - want[key]).abs().max()) < 1e-4 * size, key
