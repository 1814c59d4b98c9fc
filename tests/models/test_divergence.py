"""How far two models are apart: pytest tests/models/test_divergence.py."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from regimen.models.divergence import divergence
from regimen.models.forward import prepare
from regimen.tokens.ragged import Segment, ragged_batch

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
ROWS = ([3, 7, 9, 11, 4], [5, 1, 8])


def model(seed: int):
    torch.manual_seed(seed)
    return prepare(AutoModelForCausalLM.from_config(LlamaConfig(**CONFIG)))


def batch():
    return ragged_batch(
        [Segment(row, [0.0] + [1.0] * (len(row) - 1), -1, n) for n, row in enumerate(ROWS)]
    )


def test_means_are_those_of_the_whole_distributions_of_each_row_alone() -> None:
    first, second = model(0), model(1)
    kl, nll, same, count = 0.0, [0.0, 0.0], 0, 0
    for row in ROWS:
        ids = torch.tensor([row])
        with torch.no_grad():
            logs = [
                it.model(input_ids=ids).logits[0].double().log_softmax(-1) for it in (first, second)
            ]
        for place, token in enumerate(row[1:]):
            p, q = logs[0][place], logs[1][place]
            kl += float((p.exp() * (p - q)).sum())
            nll = [nll[0] - float(p[token]), nll[1] - float(q[token])]
            same += int(p.argmax() == q.argmax())
            count += 1
    found = divergence(first, second, [batch()])
    assert found.positions == count
    assert found.kl == pytest.approx(kl / count, rel=1e-5)
    assert found.first_nll == pytest.approx(nll[0] / count, rel=1e-5)
    assert found.second_nll == pytest.approx(nll[1] / count, rel=1e-5)
    assert found.agree == pytest.approx(same / count)


def test_a_model_is_no_way_from_itself_and_keeps_its_mode() -> None:
    it = model(0)
    it.model.train()
    found = divergence(it, it, [batch(), batch()])
    assert (found.kl, found.agree, found.positions) == (0.0, 1.0, 12)
    assert it.model.training


def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ValueError, match="no supervised position"):
        divergence(model(0), model(0), [])
