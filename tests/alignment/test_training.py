"""pytest tests/alignment/test_training.py: each method moves a small model the way it should."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from regimen.alignment.forms import Row, answer_table, with_mismatched
from regimen.alignment.reference import reference_logps
from regimen.models.forward import prepare
from regimen.objectives.answers import BEST, OTHER, AnswerObjective
from regimen.objectives.table import METHODS
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.training.gradients import step_gradients
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions
from regimen.training.schedules import Schedule

ROWS = 8


def tiny():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return prepare(LlamaForCausalLM(config))


def rows_of(form):
    """Prompts with a good answer, a bad one and, of ranked lists, one between."""
    good, middle, bad = (5, 6), (7, 8, 5), (9, 10)
    made = []
    for n in range(ROWS):
        answers, roles, scores = (good, bad), (BEST, OTHER), (1.0, 0.0)
        if form == "labelled":
            wanted = n % 2 == 0
            answers, roles = (good if wanted else bad,), (BEST if wanted else OTHER,)
            scores = (float(wanted),)
        if form == "ranked":
            answers, roles = (middle, good, bad), (OTHER, BEST, OTHER)
            scores = (0.5, 2.0, -1.0)
        made.append(Row(RenderedAnswers((11 + n, 12), answers), roles, scores))
    return made


@pytest.mark.matrix
@pytest.mark.parametrize("name", METHODS)
def test_the_better_answers_gain_on_the_others(name):
    method = METHODS[name]
    made = rows_of(method.form)
    if method.mismatched:
        made = with_mismatched(made, 0, 20)
    model, rows = tiny(), token_rows([row.rendered for row in made])
    before_A = reference_logps(model, rows, tokens_per_batch=64, bf16=False)
    table = answer_table(made, before_A if method.reference else None)
    options = LoopOptions(
        learning_rate=3e-3,
        max_steps=25,
        num_train_epochs=None,
        tokens_per_batch=200,
        log_every=1,
        schedule=Schedule("constant", 0.0),
    )
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    losses = []
    hooks = Hooks(log=lambda state, values: losses.append(values["loss"]))
    train(model, rows, AnswerObjective(table, [(1.0, method.loss())]), optimizer, options, hooks)
    gain_A = reference_logps(model, rows, tokens_per_batch=64, bf16=False) - before_A
    best, other = gain_A[table.role_A == BEST].mean(), gain_A[table.role_A == OTHER].mean()
    assert losses[-1] < losses[0]
    assert best > other + 0.5


@pytest.mark.parametrize("names", [("kto",), ("bco",), ("kto", "bco", "sft")], ids=str)
def test_what_is_compared_with_the_step_does_not_see_its_micro_batches(names):
    made = with_mismatched(rows_of("labelled"), 0, 20) if "kto" in names else rows_of("labelled")
    model, rows = tiny(), token_rows([row.rendered for row in made])
    reference_A = reference_logps(model, rows, tokens_per_batch=64, bf16=False)
    reference_A -= torch.linspace(-3.0, 6.0, len(reference_A))
    losses = [
        (1.0, METHODS[name].loss(**({} if name == "sft" else {"beta": 0.7}))) for name in names
    ]
    objective = AnswerObjective(answer_table(made, reference_A), losses)
    options = LoopOptions(learning_rate=1e-3, max_steps=1, tokens_per_batch=200)

    def step(*cuts):
        batches = [ragged_batch(rows.segments(some)) for some in cuts]
        return step_gradients(model, objective, batches, options)

    whole, wanted = step(range(ROWS))
    for cuts in ((range(1), range(1, ROWS)), (range(0, ROWS, 2), range(1, ROWS, 2))):
        told, found = step(*cuts)
        assert told["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)
    alone, _ = step(range(0, ROWS, 2))  # the means of half of the rows are others
    rest, _ = step(range(1, ROWS, 2))
    assert abs((alone["loss"] + rest["loss"]) / 2 - whole["loss"]) > 1e-3
