"""pytest tests/alignment/test_reference.py"""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.alignment.reference import check_reference, reference_logps
from regimen.errors import TrainingError
from regimen.models.forward import prepare
from regimen.objectives.answers import AnswerObjective, AnswerTable
from regimen.objectives.preference import Dpo
from regimen.tokens.rendering import RenderedPair
from regimen.tokens.store import token_rows
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule


def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        attention_dropout=0.3,
    )
    return prepare(LlamaForCausalLM(config))


ROWS = token_rows([RenderedPair((i, 2, 3), (4, 5 + i), (6, 7, 8)) for i in range(9)])


def test_the_reference_is_the_model_alone_without_dropout():
    model = tiny()
    model.model.train()
    found = reference_logps(model, ROWS, tokens_per_batch=20, bf16=False)
    assert model.model.training
    model.model.eval()
    ids = torch.tensor([[2, 2, 3, 6, 7, 8]])
    logprob = model.model(input_ids=ids).logits[0].log_softmax(-1)
    expected = sum(float(logprob[2 + i, t].detach()) for i, t in enumerate((6, 7, 8)))
    assert float(found[5]) == pytest.approx(expected, abs=1e-4)
    again = reference_logps(model, ROWS, tokens_per_batch=10_000, bf16=False)
    torch.testing.assert_close(found, again, atol=1e-5, rtol=1e-5)


def test_a_policy_elsewhere_than_its_reference_is_an_error():
    model = tiny()
    reference = reference_logps(model, ROWS, tokens_per_batch=64, bf16=False)
    assert check_reference(model, ROWS, reference, bf16=False) < 1e-4
    with pytest.raises(TrainingError, match="does not start at its reference"):
        check_reference(model, ROWS, reference + 1.0, bf16=False)


def test_dpo_raises_the_margin():
    model = tiny()
    reference = reference_logps(model, ROWS, tokens_per_batch=64, bf16=False)
    seen = []
    options = LoopOptions(
        learning_rate=3e-3,
        num_train_epochs=20.0,
        tokens_per_batch=40,
        log_every=1,
        schedule=Schedule("constant", 0.0),
    )
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    hooks = Hooks(log=lambda state, values: seen.append(values["rewards/margins"]))
    table = AnswerTable.of_pairs(reference.view(-1, 2))
    objective = AnswerObjective(table, [(1.0, Dpo())])
    train(model, ROWS, objective, optimizer, options, hooks)
    assert seen[-1] > 0.5 > abs(seen[0])
