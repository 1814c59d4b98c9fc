"""Losses of given rows, measured between the steps without gradients and without logits."""

import pytest
import torch

from helpers.small_models import MODELS, PADDED, make
from regimen.models.forward import prepare
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.measure import mean_nll

EVERY = {**MODELS, **PADDED}


def rows():
    draw = torch.Generator().manual_seed(4)
    ids = [torch.randint(61, (n,), generator=draw).tolist() for n in (9, 3, 17, 5, 2)]
    return [Rendered(tuple(x), (0.0, *[1.0] * (len(x) - 1))) for x in ids]


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt2", "mixtral", "mamba", "bloom"])
def test_the_mean_is_that_of_transformers_whatever_the_batches(name):
    model = make(name, EVERY[name])
    total = count = 0.0
    for row in rows():
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        total += float(loss) * (len(row.ids) - 1)
        count += len(row.ids) - 1
    prepared = prepare(model)
    for size in (20, 1000):
        got = mean_nll(prepared, token_rows(rows()), tokens_per_batch=size, bf16=False)
        assert got == pytest.approx(total / count, rel=1e-5)


def test_no_logits_are_made_and_no_gradient(monkeypatch):
    model = make("llama", MODELS["llama"])
    prepared = prepare(model)

    def refuse(*_args):
        raise AssertionError("the vocabulary projection was called")

    model.lm_head.register_forward_pre_hook(refuse)
    assert mean_nll(prepared, token_rows(rows()), tokens_per_batch=20, bf16=False) > 0
    assert all(parameter.grad is None for parameter in model.parameters())
