"""pytest tests/models/test_teaching.py: a teacher's divergence against full logits."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.test_head import CASES, full, gradients, setting
from models.test_head_memory import Blocks
from regimen.models.buffers import kept_buffers
from regimen.models.head import Head, reduce
from regimen.models.teaching import Taught, divergence_rows

BETAS = [0.0, 0.3, 0.5, 1.0]


def naive(student, teacher, beta, temperature):
    """The divergence of each row by its definition, from probabilities."""
    q = (student / temperature).softmax(-1)
    p = (teacher / temperature).softmax(-1)
    if beta == 0.0:
        return (p * (p / q).log()).sum(-1)
    if beta == 1.0:
        return (q * (q / p).log()).sum(-1)
    m = beta * p + (1 - beta) * q
    return beta * (p * (p / m).log()).sum(-1) + (1 - beta) * (q * (q / m).log()).sum(-1)


def a_teacher(rows=7, vocabulary=37, width=4, **more):
    draw = torch.Generator().manual_seed(5)
    hidden = torch.randn(rows, width, generator=draw, dtype=torch.float64)
    return Taught(
        hidden, Head(torch.randn(vocabulary, width, generator=draw, dtype=torch.float64)), **more
    )


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("chunk", [2, 100])
@pytest.mark.parametrize("case", CASES)
def test_the_sum_and_its_gradients_equal_full_logits(case, chunk, beta):
    hidden, head, source, target, leaves = setting(case)
    taught = a_teacher(beta=beta, temperature=1.7)
    weight = torch.linspace(0.1, 2, len(target))
    needs = {"teacher_kl", "logp"}
    got = reduce(hidden, head, source, target, needs, weight_N=weight, chunk=chunk, taught=taught)
    teacher = taught.hidden_ND @ taught.head.weight_VD.t()
    wanted_N = naive(full(hidden, head)[source], teacher, beta, 1.7)
    torch.testing.assert_close(got.teacher_N.double(), wanted_N, atol=1e-5, rtol=1e-5)
    assert not got.teacher_N.requires_grad
    assert got.logp_N.requires_grad
    for a, b in zip(
        gradients(got.teacher_sum / 7, leaves),
        gradients((wanted_N * weight).sum() / 7, leaves),
        strict=True,
    ):
        torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_what_one_projection_is_padded_with_is_left_out():
    hidden, head, source, target, leaves = setting(CASES[0])
    weight = torch.ones(len(target))
    for size in (30, 50):
        taught = a_teacher(vocabulary=size, beta=0.0)
        got = reduce(hidden, head, source, target, {"teacher_kl"}, weight_N=weight, taught=taught)
        shared = min(size, 37)
        teacher = (taught.hidden_ND @ taught.head.weight_VD.t())[:, :shared]
        wanted = naive(full(hidden, head)[source][:, :shared], teacher, 0.0, 1.0).sum()
        assert float(got.teacher_sum.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
        for a, b in zip(gradients(got.teacher_sum, leaves), gradients(wanted, leaves), strict=True):
            torch.testing.assert_close(a.double(), b, atol=2e-5, rtol=1e-4)


def test_gradients_are_added_where_training_keeps_them():
    weight_N = torch.linspace(0.1, 2, 7)
    found = []
    for kept in (False, True):
        draw = torch.Generator().manual_seed(2)
        hidden = torch.randn(7, 6, generator=draw).requires_grad_()
        weight = torch.randn(37, 6, generator=draw).requires_grad_()
        taught = a_teacher(beta=0.4)
        rows = torch.arange(7)
        with kept_buffers(torch.nn.Embedding(2, 2)) if kept else warnings.catch_warnings():
            for _ in range(2):
                got = reduce(
                    *(hidden, Head(weight), rows, rows, {"teacher_kl"}),
                    weight_N=weight_N,
                    taught=taught,
                )
                got.teacher_sum.backward()
            found.append((hidden.grad.clone(), weight.grad.clone()))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_what_is_allocated_does_not_grow_with_the_logits(beta):
    vocabulary, width, chunk = 4096, 8, 16

    def measured(rows):
        draw = torch.Generator().manual_seed(0)
        hidden, theirs = (torch.randn(rows, width, generator=draw) for _ in range(2))
        weight, other = (torch.randn(vocabulary, width, generator=draw) for _ in range(2))
        targets = torch.arange(rows)
        blocks = Blocks()
        with blocks:
            found = reduce(
                *(hidden.requires_grad_(), Head(weight.requires_grad_()), targets, targets),
                {"teacher_kl"},
                weight_N=torch.ones(rows),
                taught=Taught(theirs, Head(other), beta),
                chunk=chunk,
            )
            found.teacher_sum.backward()
        return blocks

    few, many = measured(64), measured(512)
    of_a_chunk = chunk * vocabulary * 4
    assert max(many.sizes) <= of_a_chunk
    assert many.peak - few.peak < of_a_chunk // 2


def test_a_teacher_is_needed():
    hidden, head, source, target, _ = setting(CASES[0])
    with pytest.raises(ValueError, match="teacher"):
        reduce(hidden, head, source, target, {"teacher_kl"}, weight_N=torch.ones(7))
    with pytest.raises(ValueError, match="weights"):
        reduce(hidden, head, source, target, {"teacher_kl"}, taught=a_teacher())


rows_of = st.lists(st.floats(-8, 8), min_size=5, max_size=5)


@given(rows_of, rows_of, st.sampled_from(BETAS), st.floats(0.3, 4))
def test_a_divergence_is_zero_for_equal_models_and_never_below(student, teacher, beta, temperature):
    s, t = (torch.tensor([row], dtype=torch.float64) for row in (student, teacher))
    values, gradient = divergence_rows(s, t, beta, temperature)
    assert float(values) >= -1e-12
    assert float(gradient.sum()) == pytest.approx(0.0, abs=1e-9)  # a shift of all logits is nothing
    nothing, flat = divergence_rows(s, s.clone(), beta, temperature)
    assert float(nothing) == pytest.approx(0.0, abs=1e-12)
    assert float(flat.abs().max()) == pytest.approx(0.0, abs=1e-12)


near_rows = st.lists(st.floats(-2, 2), min_size=5, max_size=5)


@given(near_rows, near_rows)
def test_the_mixture_goes_to_the_kl_divergences_at_its_ends(student, teacher):
    s, t = (torch.tensor([row], dtype=torch.float64) for row in (student, teacher))
    near = 1e-5
    for end, beta in ((0.0, near), (1.0, 1 - near)):
        kl = float(divergence_rows(s, t, end, 1.0)[0])
        jsd = float(divergence_rows(s, t, beta, 1.0)[0])
        assert jsd / near == pytest.approx(kl, rel=1e-3, abs=1e-3)


@pytest.mark.parity
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_loss_and_gradient_are_trls(beta, temperature, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.experimental.gkd import GKDTrainer

        draw = torch.Generator().manual_seed(1)
        student = torch.randn(3, 5, 11, generator=draw, dtype=torch.float64)
        teacher = torch.randn(3, 5, 11, generator=draw, dtype=torch.float64)
        labels = torch.randint(0, 11, (3, 5), generator=draw)
        labels[0, :3] = -100
        theirs = student.clone().requires_grad_()
        loss = GKDTrainer.generalized_jsd_loss(
            theirs, teacher, labels=labels, beta=beta, temperature=temperature
        )
        loss.backward()
    learnt = labels != -100
    values, gradient = divergence_rows(student[learnt], teacher[learnt], beta, temperature)
    assert float(values.mean()) == pytest.approx(float(loss.detach()), rel=1e-9)
    torch.testing.assert_close(gradient / len(values), theirs.grad[learnt], rtol=1e-9, atol=1e-12)
