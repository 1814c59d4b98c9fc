"""pytest tests/training/test_teacher.py: distillation on the loop, with own answers."""

import copy

import numpy as np
import pytest
import torch

from regimen.objectives.distillation import Distillation
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import Segment, ragged_batch
from regimen.tokens.rendering import Rendered
from regimen.tokens.store import token_rows
from regimen.training.gradients import step_gradients
from regimen.training.loop import Hooks, train
from regimen.training.optimizers import OPTIMIZERS, parameter_groups
from regimen.training.options import State
from regimen.training.teacher import OwnAnswers, Sampling, Teacher, last_answer
from training.test_loop import options, tiny

END = 49


def rows(count=8):
    draw = torch.Generator().manual_seed(0)
    out = []
    for number in range(count):
        ids = torch.randint(48, (5 + number % 3,), generator=draw).tolist()
        out.append(Rendered((*ids, END, 3), (0.0,) * 3 + (1.0,) * (len(ids) - 2) + (0.0,)))
    return token_rows(out)


ROWS = rows()
TEACHER = tiny(seed=7)
TEACHER.model.eval()


def naive_loss(student, beta, sft_weight):
    """By full logits, one row after another."""
    parts, nll = [], []
    for number in range(len(ROWS)):
        (segment,) = ROWS.segments([number])
        ids = torch.tensor(np.asarray(segment.ids), dtype=torch.int64)[None]
        learnt = torch.tensor(np.asarray(segment.weights))[1:] > 0
        s = student(input_ids=ids).logits[0, :-1][learnt].double().log_softmax(-1)
        with torch.no_grad():
            t = TEACHER.model(input_ids=ids).logits[0, :-1][learnt].double().log_softmax(-1)
        nll.append(-s.gather(1, ids[0, 1:][learnt][:, None])[:, 0])
        if beta == 0.0:
            parts.append((t.exp() * (t - s)).sum(-1))
        else:
            m = (beta * t.exp() + (1 - beta) * s.exp()).log()
            parts.append(
                beta * (t.exp() * (t - m)).sum(-1) + (1 - beta) * (s.exp() * (s - m)).sum(-1)
            )
    return torch.cat(parts).mean() + sft_weight * torch.cat(nll).mean()


@pytest.mark.parametrize(("beta", "sft_weight"), [(0.0, 0.0), (0.5, 0.0), (0.5, 0.3)])
def test_a_step_has_the_loss_and_gradient_of_full_logits(beta, sft_weight):
    student = tiny(seed=1)
    objective = Distillation(Teacher(TEACHER, beta), sft_weight)
    batches = [ragged_batch(ROWS.segments(part)) for part in ([0, 1, 2], [3, 4, 5, 6, 7])]
    losses, found = step_gradients(student, objective, batches, options())
    expected = naive_loss(student.model, beta, sft_weight)
    assert losses["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert losses["distillation"] + losses.get("sft", 0.0) == pytest.approx(losses["loss"])
    names = list(found)
    parameters = dict(student.model.named_parameters())
    wanted = torch.autograd.grad(expected, [parameters[name] for name in names])
    for name, gradient in zip(names, wanted, strict=True):
        torch.testing.assert_close(found[name], gradient, atol=2e-6, rtol=1e-3)


def fit(model, objective, steps, hooks=Hooks(), state=None, share=0.0, optimizer=None):  # noqa: B008
    opts = options(max_steps=steps, num_train_epochs=None, tokens_per_batch=32)
    optimizer = optimizer or OPTIMIZERS["adamw"](parameter_groups(model.model, 0.0))
    data = None
    if share:
        sampling = Sampling(share=share, max_new_tokens=4, stop_ids=(END,))
        data = OwnAnswers(ROWS, opts, model, sampling)
    return train(model, ROWS, objective, optimizer, opts, hooks, state, data=data), optimizer


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_student_comes_closer_to_its_teacher(share):
    student = tiny(seed=1)
    before = float(naive_loss(student.model, 0.0, 0.0).detach())
    fit(student, Distillation(Teacher(TEACHER)), 30, share=share)
    assert float(naive_loss(student.model, 0.0, 0.0).detach()) < 0.6 * before


def test_a_teacher_of_itself_teaches_nothing():
    student = tiny(seed=1)
    teacher = copy.deepcopy(student)
    teacher.model.eval()
    batches = [ragged_batch(ROWS.segments(range(8)))]
    for beta in (0.0, 0.5, 1.0):
        losses, found = step_gradients(
            student, Distillation(Teacher(teacher, beta)), batches, options()
        )
        assert losses["loss"] == pytest.approx(0.0, abs=1e-6)
        assert max(float(g.abs().max()) for g in found.values()) < 1e-6


def test_own_answers_follow_the_prompts_and_end_as_the_data_does():
    model = tiny(seed=3)
    sampling = Sampling(share=1.0, max_new_tokens=4, stop_ids=(END,))
    data = OwnAnswers(ROWS, options(tokens_per_batch=64), model, sampling)
    batch, _ = data.at(0)
    numbers, _ = data.row_numbers(0)
    starts = batch.plan.starts
    for place, number in enumerate(numbers):
        (given,) = ROWS.segments([number])
        start, _ = last_answer(given)
        own = batch.ids_T[starts[place] : starts[place] + batch.plan.lengths[place]].tolist()
        assert own[:start] == list(given.ids[:start])
        answer = own[start:]
        assert 1 <= len(answer) <= 5
        assert END not in answer[:-1]
        assert len(answer) == 4 or answer[-1] == END
    assert len(batch.target_N) == sum(batch.plan.lengths) - 3 * len(numbers)
    again, _ = data.at(0)
    assert torch.equal(again.ids_T, batch.ids_T)
    other = [data.at(0)[0].ids_T.tolist(), data.at(len(data.plan(0)))[0].ids_T.tolist()]
    assert other[0] != other[1]


def test_the_share_of_own_answers_is_kept_to():
    model = tiny(seed=3)

    class Counted(OwnAnswers):
        asked = 0

        def _answered(self, numbers, seeds):
            Counted.asked += 1
            return self.rows.segments(numbers)

    data = Counted(ROWS, options(), model, Sampling(share=0.25))
    for cursor in range(200):
        data.at(cursor)
    assert 30 < Counted.asked < 70


def test_a_training_that_goes_on_sees_the_same_own_answers():
    objective = Distillation(Teacher(TEACHER))
    whole = tiny(seed=1)
    fit(whole, objective, 6, share=0.7)
    parts = tiny(seed=1)
    reached = State()
    stop = Hooks(stop=lambda: reached.step == 3)
    state, optimizer = fit(parts, objective, 6, stop, reached, share=0.7)
    assert state.step == 3
    fit(parts, objective, 6, state=state, share=0.7, optimizer=optimizer)
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([0, 0, 1, 1, 0], (2, 4)), ([0, 1, 0, 1, 1], (3, 5)), ([0, 0], (0, 0)), ([0, 1], (1, 2))],
)
def test_the_last_answer_is_found(weights, expected):
    assert last_answer(Segment(list(range(len(weights))), weights)) == expected


def test_another_objective_has_no_teacher():
    losses, _ = step_gradients(tiny(), Supervised(), [ragged_batch(ROWS.segments([0]))], options())
    assert set(losses) == {"loss", "nll"}
