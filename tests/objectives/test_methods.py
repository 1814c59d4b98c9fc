"""pytest tests/objectives/test_methods.py: methods against naive formulas, and what they must do.

The formulas are those of ``verify`` (``regimen.verifying.preferences``): row by row, from the token
log-probabilities of each answer, in float64, differentiated by torch.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.alignment.forms import Row, answer_table, with_mismatched
from regimen.models.head import Reduced
from regimen.objectives.answers import BEST, OTHER, AnswerObjective, Answers, AnswerTable
from regimen.objectives.labelled import Bco, Kto
from regimen.objectives.preference import (
    Dpo,
    DpoNorm,
    Dpop,
    Hinge,
    Ipo,
    Odpo,
    Robust,
    divergence_scores,
)
from regimen.objectives.ranked import Rrhf, Slic
from regimen.objectives.reference_free import Cpo, Orpo, Simpo, Unlikelihood, log1mexp
from regimen.objectives.table import METHODS
from regimen.settings.align_methods import FORMS, TAKES
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.verifying.preferences import FORMULAS, AnswerRow, Term, answers_twin

GIVEN = {
    "dpo": [{}, {"beta": 0.7, "label_smoothing": 0.2}]
    + [{"divergence": kind, "alpha": 0.3} for kind in ("forward_kl", "js", "alpha")],
    "odpo": [{}, {"beta": 0.5, "offset_weight": 0.3}, {"offset_scale": "identity"}],
    "dpo_norm": [{}, {"label_smoothing": 0.1}],
    "dpop": [{"penalty": 2.0}, {"penalty": 0.0}],
    "ipo": [{}, {"beta": 0.5, "length_normalised": False}],
    "hinge": [{}, {"beta": 2.0, "divergence": "js"}],
    "robust": [{}, {"beta": 0.4, "label_smoothing": 0.3, "divergence": "forward_kl"}],
    "cpo": [{}, {"sft_weight": 0.3, "label_smoothing": 0.1}],
    "simpo": [{}, {"gamma": 0.4, "label_smoothing": 0.1}],
    "orpo": [{}, {"beta": 0.6}],
    "kto": [{}, {"beta": 0.4, "desirable_weight": 1.5, "undesirable_weight": 0.5}],
    "bco": [{}, {"beta": 0.4, "desirable_weight": 1.5}],
    "rrhf": [{}, {"sft_weight": 0.2}],
    "slic": [{}, {"delta": 3.0, "length_normalised": True}],
    "unlikelihood": [{}, {"unlikelihood_weight": 0.4}],
    "sft": [{}],
}
CASES = [(name, given) for name, every in GIVEN.items() for given in every]


def drawn_rows(form, draw):
    """Five rows of a form, with answers of drawn lengths."""

    def ids(most):
        size = int(torch.randint(1, most + 1, (), generator=draw))
        return tuple(torch.randint(1, 50, (size,), generator=draw).tolist())

    rows = []
    for number in range(5):
        count = {"labelled": 1, "ranked": 2 + number % 3}.get(form, 2)
        scores = torch.randn(count, generator=draw).tolist() if form == "ranked" else [1.0, 0.0]
        if form == "pairs":  # their margins
            scores[0] = 0.1 + 3 * float(torch.rand((), generator=draw))
        roles = tuple(BEST if s == max(scores) else OTHER for s in scores)
        if form == "labelled":
            roles = (BEST if number % 2 else OTHER,)
            scores = [float(roles[0])]
        rendered = RenderedAnswers(ids(4), tuple(ids(5) for _ in range(count)))
        rows.append(Row(rendered, roles, tuple(scores), weight=0.5 + number))
    return rows


@pytest.mark.parametrize(("name", "given"), CASES)
@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_are_those_of_the_formula(name, given, seed):
    draw = torch.Generator().manual_seed(seed)
    rows = drawn_rows(FORMS[name], draw)
    if METHODS[name].mismatched:
        rows = with_mismatched(rows, seed, 100)
    rendered = [row.rendered for row in rows]
    lengths = [len(ids) for row in rendered for ids in row.answers]
    logps = -3 * torch.rand(sum(lengths), generator=draw, dtype=torch.float64) - 0.01
    references = -2 * torch.rand(len(lengths), generator=draw, dtype=torch.float64)
    references = references * torch.tensor(lengths)
    twin = answers_twin([Term(name, 1.3, given)], answer_table(rows, references), rendered)

    ours = logps.clone().requires_grad_()
    batch = ragged_batch(token_rows(rendered).segments(range(len(rows))))
    weights = twin.objective.weights(batch)
    out = twin.objective(batch, Reduced(logp_N=ours))
    loss = sum(total / weights[part] for part, total in out.components.items())
    (gradient,) = torch.autograd.grad(loss, ours)

    plain = logps.clone().requires_grad_()
    pieces = iter(plain.split(lengths))
    by_row = [[next(pieces) for _ in row.answers] for row in rendered]
    known = [iter(references.tolist())] * len(rows)
    given_rows = [
        AnswerRow(logps, [next(known[0]) for _ in logps], row.scores, row.roles)
        for logps, row in zip(by_row, rows, strict=True)
    ]
    formula = twin.formula.comparing(given_rows)
    expected = sum(
        weight * formula.of_row(row)
        for weight, row in zip(formula.weights, given_rows, strict=True)
    )
    (wanted,) = torch.autograd.grad(expected, plain)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    torch.testing.assert_close(gradient, wanted, rtol=1e-8, atol=1e-12)
    assert float(gradient.abs().max()) > 0


def test_the_tables_agree():
    assert set(METHODS) == set(FORMULAS) == set(GIVEN) == set(FORMS)
    assert all(set(TAKES[name]) == set(method.takes) for name, method in METHODS.items())
    assert all(FORMS[name] == method.form for name, method in METHODS.items())
    for name, method in METHODS.items():
        unused = [loss for loss, parts in [(method.loss, method.loss.PARTS)] if not parts]
        assert not unused, name


def pair(chosen, rejected, reference=(0.0, 0.0), tokens=(1, 1), margin=1.0):
    """A batch of one pair with these summed log-probabilities, as leaf tensors."""
    parts = [
        torch.full((n,), v / n, dtype=torch.float64)
        for v, n in zip((chosen, rejected), tokens, strict=True)
    ]
    logp = torch.cat(parts).requires_grad_()
    answer = torch.tensor([0] * tokens[0] + [1] * tokens[1])
    return logp, Answers(
        token_logp_N=logp,
        answer_N=answer,
        row_A=torch.tensor([0, 0]),
        role_A=torch.tensor([BEST, OTHER]),
        score_A=torch.tensor([margin, 0.0], dtype=torch.float64),
        reference_A=torch.tensor(reference, dtype=torch.float64),
        weight_B=torch.ones(1),
    )


def value(loss, *where, **more):
    return float(next(iter(loss(pair(*where, **more)[1]).values())).detach()[0])


def slopes(loss, *where, **more):
    """The derivatives of the first part by the two answers' log-probabilities."""
    logp, answers = pair(*where, **more)
    first = next(iter(loss(answers).values()))
    return torch.autograd.grad(first[0], logp)[0].tolist()


nats = st.floats(-20, 0)


@given(nats, nats, nats, nats, st.floats(0.01, 2))
def test_swapping_the_answers_turns_the_margin(chosen, rejected, first, second, beta):
    loss = Dpo(beta=beta)
    margin = beta * ((chosen - first) - (rejected - second))
    straight = value(loss, chosen, rejected, (first, second))
    swapped = value(loss, rejected, chosen, (second, first))
    assert swapped - straight == pytest.approx(margin, abs=1e-9)
    smoothed = [Dpo(beta=beta, label_smoothing=e) for e in (0.3, 0.5)]
    assert value(smoothed[1], chosen, rejected, (first, second)) == pytest.approx(
        value(smoothed[1], rejected, chosen, (second, first))
    )
    assert value(smoothed[0], chosen, rejected, (first, second)) == pytest.approx(
        0.7 * straight + 0.3 * swapped
    )


@given(nats, nats, st.floats(0.01, 2), st.floats(0.01, 100), st.floats(0.01, 5))
def test_an_offset_moves_what_is_asked_for_by_what_the_margin_says(
    chosen, rejected, beta, margin, weight
):
    """The loss is log 2 where the difference of rewards is the offset, and grows with the margin;
    without an offset it is that of DPO."""
    for scale, offset in (("log", weight * math.log(margin)), ("identity", weight * margin)):
        loss = Odpo(beta=beta, offset_weight=weight, offset_scale=scale)
        at = rejected + offset / beta
        assert value(loss, at, rejected, margin=margin) == pytest.approx(math.log(2), abs=1e-6)
        less, more = (value(loss, chosen, rejected, margin=margin * by) for by in (0.5, 2.0))
        assert less < value(loss, chosen, rejected, margin=margin) < more
        none = 1.0 if scale == "log" else 0.0
        assert value(loss, chosen, rejected, margin=none) == pytest.approx(
            value(Dpo(beta=beta), chosen, rejected)
        )


@pytest.mark.parametrize("loss", [Dpo(), DpoNorm(), Robust(), Dpop(), Odpo()])
def test_at_the_reference_the_loss_is_log_two(loss):
    assert value(loss, -3.0, -5.0, (-3.0, -5.0)) == pytest.approx(math.log(2))


def test_label_smoothing_of_one_half_has_no_slope_at_margin_zero():
    assert slopes(Dpo(label_smoothing=0.5), -3.0, -5.0, (-3.0, -5.0)) == pytest.approx([0.0, 0.0])
    assert slopes(Dpo(), -3.0, -5.0, (-3.0, -5.0)) == pytest.approx([-0.05, 0.05])


@given(st.floats(0.05, 2), nats, st.booleans())
def test_ipo_is_least_where_the_gap_is_one_over_two_beta(beta, rejected, normalised):
    loss = Ipo(beta=beta, length_normalised=normalised)
    gap = 1 / (2 * beta)
    assert value(loss, rejected + gap, rejected) == pytest.approx(0.0, abs=1e-18)
    assert slopes(loss, rejected + gap, rejected) == pytest.approx([0.0, 0.0], abs=1e-9)
    assert value(loss, rejected + gap + 0.5, rejected) == pytest.approx(0.25)


def test_ipo_divides_by_the_tokens_of_each_answer():
    assert value(Ipo(beta=0.5), -6.0, -4.0, tokens=(3, 2)) == pytest.approx(1.0)
    assert value(Ipo(beta=0.5, length_normalised=False), -6.0, -4.0, tokens=(3, 2)) == 9.0


@given(nats, nats)
def test_hinge_stops_where_the_margin_is_reached(chosen, rejected):
    slope = slopes(Hinge(beta=1.0), chosen, rejected)
    assert slope == ([0.0, 0.0] if chosen - rejected > 1 else pytest.approx([-1.0, 1.0]))


@given(nats, nats, st.floats(0.0, 0.45))
def test_robust_is_unbiased_under_flipped_labels(chosen, rejected, flipped):
    loss = Robust(beta=0.3, label_smoothing=flipped)
    mean = (1 - flipped) * value(loss, chosen, rejected) + flipped * value(loss, rejected, chosen)
    assert mean == pytest.approx(value(Dpo(beta=0.3), chosen, rejected), rel=1e-6)


@given(nats, nats, nats)
def test_dpop_is_dpo_until_the_chosen_answer_falls(chosen, rejected, reference):
    dpo = value(Dpo(beta=0.3), chosen, rejected, (reference, -1.0))
    dpop = value(Dpop(beta=0.3, penalty=5.0), chosen, rejected, (reference, -1.0))
    assert dpop == pytest.approx(dpo) if chosen >= reference else dpop >= dpo
    assert chosen > reference - 0.01 or dpop > dpo


@given(st.floats(-3, 3), st.floats(0.01, 0.99))
def test_divergences_agree_at_the_reference_and_alpha_lies_between(ratio, alpha):
    """Each f' has slope 1 in log t at t = 1, but JS, of which half is left."""
    for kind, slope in (("reverse_kl", 1.0), ("forward_kl", 1.0), ("alpha", 1.0), ("js", 0.5)):
        at = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(divergence_scores(at, kind, alpha), at)
        assert float(found) == pytest.approx(slope)
    u = torch.tensor([ratio, 0.0], dtype=torch.float64)
    gaps = {kind: divergence_scores(u, kind, alpha) for kind in ("reverse_kl", "forward_kl")}
    gaps = {kind: float(s[0] - s[1]) for kind, s in gaps.items()}
    between = divergence_scores(u, "alpha", alpha)
    assert gaps["forward_kl"] - 1e-9 <= float(between[0] - between[1]) <= gaps["reverse_kl"] + 1e-9
    near = divergence_scores(u, "alpha", 1e-6)
    assert float(near[0] - near[1]) == pytest.approx(ratio, abs=1e-4)


def test_scores_far_away_stay_finite():
    u = torch.tensor([-1e4, 1e4])
    for kind in ("forward_kl", "js", "alpha"):
        assert torch.isfinite(divergence_scores(u, kind, 0.5)).all()


@given(nats, nats)
def test_simpo_asks_for_its_margin(chosen, rejected):
    bare = value(Simpo(beta=1.0, gamma=0.0), chosen, rejected)
    assert value(Simpo(beta=1.0, gamma=1.0), chosen, rejected) > bare
    shifted = value(Simpo(beta=1.0, gamma=1.0), chosen + 1.0, rejected)
    assert shifted == pytest.approx(bare)


def test_simpo_and_orpo_do_not_see_lengths_but_means():
    for loss in (Simpo(), Orpo()):
        short = value(loss, -1.0, -2.0, tokens=(1, 1))
        assert value(loss, -3.0, -4.0, tokens=(3, 2)) == pytest.approx(short)
    assert value(Cpo(), -3.0, -4.0, tokens=(3, 2)) == value(Cpo(), -3.0, -4.0)


@given(st.floats(-30, -1e-5))
def test_log_of_one_minus_a_probability(logp):
    x = torch.tensor(logp, dtype=torch.float64, requires_grad=True)
    out = log1mexp(x)
    assert float(out.detach()) == pytest.approx(math.log(-math.expm1(logp)), rel=1e-9)
    (slope,) = torch.autograd.grad(out, x)
    assert float(slope) == pytest.approx(-1 / math.expm1(-logp), rel=1e-6)


def test_a_certain_token_has_a_finite_unlikelihood_and_no_slope():
    logp = torch.tensor([0.0, -1e-9], requires_grad=True)
    out = log1mexp(logp).sum()
    (slope,) = torch.autograd.grad(out, logp)
    assert torch.isfinite(out)
    assert slope.tolist() == [0.0, 0.0]


def labelled(ratios, wanted, mismatched=None):
    """Rows of one answer each, or of one and a mismatched one."""
    every = (
        ratios
        if mismatched is None
        else [x for p in zip(ratios, mismatched, strict=True) for x in p]
    )
    width = 1 if mismatched is None else 2
    logp = torch.tensor(every, dtype=torch.float64, requires_grad=True)
    count = len(every)
    role = torch.tensor([BEST if w else OTHER for w in wanted]).repeat_interleave(width)
    if mismatched is not None:
        role[1::2] = -1
    return logp, Answers(
        token_logp_N=logp,
        answer_N=torch.arange(count),
        row_A=torch.arange(len(ratios)).repeat_interleave(width),
        role_A=role,
        score_A=torch.zeros(count),
        reference_A=torch.zeros(count, dtype=torch.float64),
        weight_B=torch.ones(len(ratios)),
    )


def test_kto_weighs_each_kind_and_compares_with_answers_to_other_prompts():
    logp, answers = labelled([0.5, -0.5], [True, False], mismatched=[1.0, 0.2])
    loss = Kto(beta=1.0, desirable_weight=2.0, undesirable_weight=3.0)(answers)["kto"]
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    assert loss.tolist() == pytest.approx(
        [2 * (1 - sigmoid(0.5 - 0.6)), 3 * (1 - sigmoid(0.6 + 0.5))]
    )
    (slope,) = torch.autograd.grad(loss.sum(), logp)
    assert slope[0] < 0 < slope[2]
    assert slope[1] == slope[3] == 0  # the reference point is given, not learnt
    _, below = labelled([0.5, -0.5], [True, False], mismatched=[-1.0, 0.5])
    assert float(Kto().reference_point(below)) == 0.0


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=6))
def test_bco_is_balanced_at_its_shift(rewards):
    wanted = [i % 2 == 0 for i in range(len(rewards))]
    shift = float(Bco(beta=1.0).shift(labelled(rewards, wanted)[1]))
    means = [
        sum(r for r, w in zip(rewards, wanted, strict=True) if w == k) / wanted.count(k)
        for k in (True, False)
    ]
    assert shift == pytest.approx(sum(means) / 2, abs=1e-5)
    _, answers = labelled([0.0, 0.0], [True, False])
    assert Bco()(answers)["bco"].tolist() == pytest.approx([math.log(2)] * 2)


def test_a_step_of_one_label_has_its_own_mean_for_a_shift():
    _, answers = labelled([1.0, 3.0], [True, True])
    assert float(Bco(beta=0.5).shift(answers)) == 1.0


def test_kto_and_bco_can_be_summed():
    """The answers to other prompts that KTO has are none of BCO's."""
    ratios, others, wanted = [0.5, -0.5, 0.2], [1.0, 0.2, 0.1], [True, False, True]
    _, alone = labelled(ratios, wanted)
    _, both = labelled(ratios, wanted, mismatched=others)
    assert Bco()(both)["bco"].tolist() == Bco()(alone)["bco"].tolist()


@given(st.permutations(range(4)))
@examples(20)
def test_ranked_losses_do_not_depend_on_the_order_of_the_answers(order):
    scores, logps = [3.0, 1.0, 1.0, 2.0], [-5.0, -1.0, -2.0, -4.0]

    def found(loss, numbers):
        answers = Answers(
            token_logp_N=torch.tensor([logps[n] for n in numbers]),
            answer_N=torch.arange(4),
            row_A=torch.zeros(4, dtype=torch.int64),
            role_A=torch.tensor([BEST if n == 0 else OTHER for n in numbers]),
            score_A=torch.tensor([scores[n] for n in numbers]),
            reference_A=torch.zeros(4),
            weight_B=torch.ones(1),
        )
        return float(next(iter(loss(answers).values())))

    for loss in (Rrhf(), Slic(delta=2.0)):
        assert found(loss, order) == pytest.approx(found(loss, range(4)))
    # (0 > 3, 1, 2) and (3 > 1, 2): what the worse one is ahead; the tie of 1 and 2 does not count
    assert found(Rrhf(), order) == pytest.approx(1 + 4 + 3 + 3 + 2)
    assert found(Slic(delta=2.0), order) == pytest.approx((3 + 6 + 5 + 5 + 4) / 5)


def test_answers_in_their_order_cost_nothing():
    _, right = pair(-1.0, -5.0)
    assert float(Rrhf()(right)["rrhf"].detach()) == 0.0
    assert float(Slic(delta=1.0)(right)["slic"].detach()) == 0.0


def test_unlikelihood_lowers_the_other_answer_alone():
    logp, answers = pair(-1.0, -1.0)
    objective = Unlikelihood()
    parts = objective(answers)
    total = sum(answers.total(Unlikelihood.PARTS[name], values) for name, values in parts.items())
    (slope,) = torch.autograd.grad(total, logp)
    assert slope[0] == -1.0
    assert slope[1] > 0


def test_a_policy_at_its_reference_says_so():
    rows = token_rows([RenderedAnswers((1, 2), ((3, 4), (5,)))])
    objective = AnswerObjective(AnswerTable.of_pairs(torch.tensor([[-2.0, -3.0]])), [(1.0, Dpo())])
    batch = ragged_batch(rows.segments([0]))
    out = objective(batch, Reduced(logp_N=torch.tensor([-1.0, -1.0, -3.0])))
    assert out.metrics["max_abs_logratio"] == 0.0
    assert objective.weights(batch)["dpo"] == 1.0
