"""pytest tests/training/test_loop.py"""

import copy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.examples import examples
from regimen.errors import TrainingError
from regimen.models.forward import prepare
from regimen.objectives.answers import AnswerObjective, AnswerTable
from regimen.objectives.preference import Dpo, Ipo
from regimen.objectives.ranked import Rrhf
from regimen.objectives.reference_free import Orpo
from regimen.objectives.supervised import Supervised
from regimen.tokens.packing import packing_plan
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Rendered, RenderedPair
from regimen.tokens.store import token_rows
from regimen.training.data import Data, total_steps
from regimen.training.loop import Hooks, batch_loss, sum_components, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import LoopOptions, State
from regimen.training.schedules import SCHEDULES, Schedule


def tiny(seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return prepare(LlamaForCausalLM(config))


MODEL = tiny()


def rows(count=12, seed=0):
    draw = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        size = int(torch.randint(3, 12, (1,), generator=draw))
        ids = torch.randint(50, (size,), generator=draw).tolist()
        weights = [0.0, *torch.rand(size - 1, generator=draw).round(decimals=1).tolist()]
        weights[-1] = 1.0
        out.append(Rendered(tuple(ids), tuple(weights)))
    return token_rows(out)


def pairs(count=6):
    draw = torch.Generator().manual_seed(3)
    make = lambda n: tuple(torch.randint(50, (n,), generator=draw).tolist())  # noqa: E731
    return token_rows([RenderedPair(make(5), make(3), make(4)) for _ in range(count)])


def gradient(model, objective, data, batches):
    model.model.zero_grad()
    made = [ragged_batch(data.segments(numbers)) for numbers in batches]
    weights = {}
    for batch in made:
        for name, value in objective.weights(batch).items():
            weights[name] = weights.get(name, 0.0) + value
    for batch in made:
        sum_components(batch_loss(model, objective, batch, bf16=False), weights).backward()
    return torch.cat([p.grad.flatten() for p in model.model.parameters()])


REFERENCES = AnswerTable.of_pairs(torch.full((6, 2), -9.0))
WEIGHED = replace(REFERENCES, weight_R=torch.arange(1.0, 7.0))
OBJECTIVES = {
    "supervised": (Supervised(), rows()),
    "smoothed": (Supervised(label_smoothing=0.1, z_loss=1e-2), rows()),
    "dpo": (AnswerObjective(REFERENCES, [(1.0, Dpo(beta=0.2, label_smoothing=0.1))]), pairs()),
    "sum": (AnswerObjective(WEIGHED, [(0.5, Ipo()), (2.0, Orpo()), (1.0, Rrhf())]), pairs()),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@given(cuts=st.sets(st.integers(1, 5)))
@examples(8)
def test_accumulation_over_uneven_micro_batches_equals_one_batch(name, cuts):
    objective, data = OBJECTIVES[name]
    everything = tuple(range(len(data)))
    edges = [0, *sorted(cuts), len(data)]
    parts = [everything[a:b] for a, b in pairwise(edges) if b > a]
    whole = gradient(MODEL, objective, data, [everything])
    torch.testing.assert_close(gradient(MODEL, objective, data, parts), whole, atol=1e-6, rtol=1e-4)


def test_forward_time_gradients_equal_recomputed_ones():
    data = rows()
    fast = gradient(MODEL, Supervised(), data, [tuple(range(len(data)))])
    # a vanishing z-loss takes the other path through the reducer
    slow = gradient(MODEL, Supervised(z_loss=1e-30), data, [tuple(range(len(data)))])
    torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-4)


def options(**changes):
    base = {"learning_rate": 1e-2, "tokens_per_batch": 24, "log_every": 1}
    return LoopOptions(**{**base, **changes})


def fit(data, opts, hooks=Hooks()):  # noqa: B008
    model = tiny()
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    return model, train(model, data, Supervised(), optimizer, opts, hooks)


def test_training_learns_and_two_runs_are_bitwise_equal():
    data = rows()
    losses = []
    log = lambda state, values: losses.append(values["nll"])  # noqa: E731
    first, state = fit(data, options(num_train_epochs=8.0), Hooks(log=log))
    assert losses[-1] < 0.7 * losses[0]
    second, _ = fit(data, options(num_train_epochs=8.0))
    for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert state.epoch == pytest.approx(8.0)
    assert state.tokens == 8 * int(data.lengths.sum())
    assert state.supervised == 8 * int(data.supervised.sum())


@pytest.mark.parametrize(
    ("limit", "reached"),
    [
        ({"max_steps": 3, "num_train_epochs": None}, lambda s: s.step == 3),
        ({"max_tokens": 50, "num_train_epochs": None}, lambda s: 50 <= s.tokens < 50 + 24),
        ({"num_train_epochs": 0.5}, lambda s: 0.3 < s.epoch <= 0.7),
        ({"max_time": 0.2, "num_train_epochs": None}, lambda s: s.seconds >= 0.2),
        ({"num_train_epochs": 2.0, "accumulation": 3}, lambda s: s.epoch == 2.0),
    ],
)
def test_every_limit_ends_a_run(limit, reached):
    _, state = fit(rows(), options(**limit))
    assert reached(state), state


def test_a_run_that_stops_and_goes_on_equals_one_that_does_not():
    data = rows()
    opts = options(num_train_epochs=4.0, schedule=Schedule("constant", 0.0))
    straight, _ = fit(data, opts)
    model = tiny()
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    state = train(
        model,
        data,
        Supervised(),
        optimizer,
        options(num_train_epochs=None, max_steps=5, schedule=Schedule("constant", 0.0)),
    )
    saved = copy.deepcopy((model.model.state_dict(), optimizer.state_dict()))
    again = tiny(seed=9)
    optimizer = OPTIMIZERS["adamw"](parameter_groups(again.model, 0.0))
    again.model.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    train(again, data, Supervised(), optimizer, opts, state=state)
    for a, b in zip(straight.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_rows():
    model = tiny()
    with torch.no_grad():
        model.model.model.embed_tokens.weight.fill_(float("nan"))
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    named = token_rows([Rendered((1, i, 5), (0.0, 1.0, 1.0), f"instance {i}") for i in range(30)])
    with pytest.raises(TrainingError, match=r"no longer finite[\s\S]*instance 1; instance 9\n"):
        train(model, named.take([1, 9]), Supervised(), optimizer, options(tokens_per_batch=99))
    with pytest.raises(TrainingError, match=r"instance 19 and 10 more"):
        train(model, named, Supervised(), optimizer, options(tokens_per_batch=99))
    with pytest.raises(TrainingError, match=r"nan on row \d"):
        train(model, rows(), Supervised(), optimizer, options())


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_weights_change():
    model = tiny()
    weight = model.model.model.layers[1].mlp.up_proj.weight
    weight.register_hook(lambda gradient: gradient * float("inf"))
    before = {name: p.clone() for name, p in model.model.named_parameters()}
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    named = token_rows([Rendered((1, i, 5), (0.0, 1.0, 1.0), f"instance {i}") for i in range(4)])
    with pytest.raises(TrainingError, match=r"gradient norm is no longer finite[\s\S]*instance 3"):
        train(model, named, Supervised(), optimizer, options(tokens_per_batch=99))
    for name, parameter in model.model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_nothing_to_train_is_an_error():
    model = tiny()
    optimizer = OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    with pytest.raises(TrainingError, match="nothing to train"):
        train(model, token_rows([]), Supervised(), optimizer, options())


def test_total_steps_counts_an_incomplete_last_step():
    data = Data(rows(), options(accumulation=5))
    batches = len(data.plan(0))
    assert total_steps(data, options(accumulation=5)) == -(-batches // 5)
    assert total_steps(data, options(num_train_epochs=None, max_tokens=5)) is None


def test_every_epoch_is_packed_once_and_read_whole(monkeypatch):
    packed = []

    def counted(lengths, *, epoch, **given):
        packed.append(epoch)
        return packing_plan(lengths, epoch=epoch, **given)

    monkeypatch.setattr("regimen.training.data.packing_plan", counted)
    data = Data(rows(), options(num_train_epochs=None, max_steps=1))
    seen, cursor, epoch = [], 0, 0.0
    while epoch < 5:
        numbers, epoch = data.row_numbers(cursor)
        seen += numbers
        cursor += 1
    assert packed == [0, 1, 2, 3, 4]
    assert sorted(seen) == sorted(5 * list(range(12)))
    assert [sorted(seen[at : at + 12]) for at in range(0, 60, 12)] == 5 * [list(range(12))]


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0, 0.4), st.floats(0, 1))
def test_schedules_stay_between_zero_and_one(kind, warmup, progress):
    factor = Schedule(kind, warmup).factor(progress)
    assert 0.0 <= factor <= 1.0 + 1e-12


def test_schedule_values_that_can_be_derived_by_hand():
    assert Schedule("linear", 0.5).factor(0.25) == 0.5
    assert Schedule("linear", 0.5).factor(0.75) == 0.5
    assert Schedule("cosine", 0.0).factor(0.5) == pytest.approx(0.5)
    assert Schedule("wsd", 0.0, decay=0.5).factor(0.75) == pytest.approx(0.5)
    assert Schedule("constant", 0.0).factor(1.0) == 1.0


def test_state_is_where_a_run_stands():
    assert State().cursor == 0
