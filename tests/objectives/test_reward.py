"""pytest tests/objectives/test_reward.py: rewards against naive formulas, and what must hold."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from regimen.alignment.reward_rows import RewardRow, held_out, score_table
from regimen.models.head import Reduced
from regimen.objectives.reward import (
    BradleyTerry,
    Ordinal,
    Process,
    RewardObjective,
    borders,
    cuts_from_counts,
)
from regimen.objectives.table import REWARDS
from regimen.settings import align_methods
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedAnswers
from regimen.tokens.store import token_rows

DIMENSIONS = ("helpful", "harmless")


def row(values, margins=None, *, dimensions=DIMENSIONS, weight=1.0, prompt="p"):
    """A row of answers of one token more than their place, each with a mark at its end."""
    answers = tuple((7,) * (n + 1) for n in range(len(values)))
    weights = tuple((0.0,) * n + (1.0,) for n in range(len(values)))
    rendered = RenderedAnswers((1, 2), answers, weights=weights)
    margins = margins or (0.0,) * len(values)
    return RewardRow(rendered, tuple(values), tuple(margins), tuple(dimensions), prompt, weight)


def steps(labels, weight=1.0):
    """A row of one answer with two tokens for each step."""
    ids, marks = (7, 8) * len(labels), (0.0, 1.0) * len(labels)
    rendered = RenderedAnswers((1,), (ids,), weights=(marks,))
    return RewardRow(rendered, tuple(labels), (0.0,) * len(labels), DIMENSIONS[:1], "p", weight)


def batch_of(rows, numbers):
    flat = token_rows(one.rendered for one in rows)
    segments = flat.segments(numbers)
    return ragged_batch([type(s)(s.ids, s.weights, s.parent, s.instance, True) for s in segments])


def loss_of(objective, parts):
    """The loss over micro-batches, each component divided once."""
    sums, weights = {}, {}
    for batch, reduced in parts:
        out = objective(batch, reduced)
        for name, weight in objective.weights(batch).items():
            weights[name] = weights.get(name, 0.0) + weight
        for name, total in out.components.items():
            sums[name] = sums.get(name, 0.0) + total
    return sum(total / max(weights[name], 1e-12) for name, total in sums.items())


def test_scores_are_read_at_the_marked_tokens_themselves():
    rows = [row((1.0, 0.0)), steps((1.0, 0.0))]
    batch = batch_of(rows, [0, 1])
    # prompt 2, answers 1 and 2, prompt 1, answer 4
    assert batch.source_row_N.tolist() == [2, 4, 7, 9]
    assert batch.ids_T[batch.source_row_N].tolist() == batch.target_N.tolist()


ROWS = [
    row((1.0, 0.0), (2.0, 0.0), weight=0.5),
    row((0.0, 3.0, 1.0), (0.0, 3.0, 1.0), dimensions=("helpful",)),
    row((1.0, 0.0), (0.25, 0.0), dimensions=("harmless",), weight=2.0),
    row((1.0, 1.0, 0.0, 2.0), (1.0, 1.0, 0.0, 2.0)),
]


@pytest.mark.parametrize("centre", [0.0, 0.3])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_bradley_terry_is_the_formula_of_every_row_and_score(centre, members, seed):
    table = score_table(ROWS, DIMENSIONS, members, seed)
    objective = RewardObjective(table, BradleyTerry(center_rewards_coefficient=centre))
    draw = torch.Generator().manual_seed(seed)
    heads = members * len(DIMENSIONS)
    scores = torch.randn(sum(len(r.values) for r in ROWS), heads, generator=draw).double()
    scores.requires_grad_()
    ours = loss_of(objective, [(batch_of(ROWS, range(4)), Reduced(score_NH=scores))])

    total, weights = 0.0, 0.0
    done = 0
    for number, one in enumerate(ROWS):
        own = scores[done : done + len(one.values)]
        done += len(one.values)
        for head in range(heads):
            weight = float(table.weight_RH[number, head])
            if DIMENSIONS[head // members] not in one.dimensions:
                assert weight == 0
            losses = []
            for a, better in enumerate(one.values):
                for b, worse in enumerate(one.values):
                    if better > worse:
                        x = own[a, head] - own[b, head] - (one.margins[a] - one.margins[b])
                        loss = torch.log(1 + torch.exp(-x))
                        losses.append(loss + centre * (own[a, head] + own[b, head]) ** 2)
            total = total + weight * sum(losses) / len(losses)
            weights += weight
    naive = total / weights
    assert float(ours.detach()) == pytest.approx(float(naive.detach()), rel=1e-9)
    for mine, theirs in zip(
        torch.autograd.grad(ours, scores, retain_graph=True),
        torch.autograd.grad(naive, scores),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_ordinal_is_the_difference_of_two_logistic_functions():
    levels = [0, 2, 1, 3, 3, 0]
    rows = [row((float(v),), dimensions=DIMENSIONS[:1], weight=1.0 + v) for v in levels]
    table = score_table(rows, DIMENSIONS[:1], 1, 0)
    cuts = torch.tensor([-1.0, 0.3, -0.5], dtype=torch.float64, requires_grad=True)
    scores = torch.linspace(-3, 2, 6, dtype=torch.float64)[:, None].clone().requires_grad_()
    reduced = Reduced(score_NH=scores, cuts_J=cuts)
    ours = loss_of(RewardObjective(table, Ordinal()), [(batch_of(rows, range(6)), reduced)])
    ends = [-1.0]
    for free in (0.3, -0.5):
        ends.append(ends[-1] + math.log(1 + math.exp(free)))
    below = lambda j, r: 0.0 if j < 0 else 1.0 if j == 3 else 1 / (1 + math.exp(r - ends[j]))  # noqa: E731
    naive = 0.0
    for level, score in zip(levels, scores[:, 0].tolist(), strict=True):
        naive -= (1 + level) * math.log(below(level, score) - below(level - 1, score))
    assert float(ours.detach()) == pytest.approx(naive / sum(1 + v for v in levels), rel=1e-9)
    gradients = torch.autograd.grad(ours, (scores, cuts))
    assert all(torch.isfinite(g).all() and g.abs().max() > 0 for g in gradients)


def test_process_is_the_cross_entropy_of_two_classes():
    labels = [(1.0, 1.0, 0.0), (0.0,), (0.25, 1.0)]
    rows = [steps(one, weight=1.0 + n) for n, one in enumerate(labels)]
    table = score_table(rows, DIMENSIONS[:1], 1, 0)
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(6, 1, generator=draw, dtype=torch.float64, requires_grad=True)
    batch = batch_of(rows, range(3))
    ours = loss_of(RewardObjective(table, Process()), [(batch, Reduced(score_NH=scores))])
    flat = torch.tensor([v for one in labels for v in one], dtype=torch.float64)
    weights = torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0, 3.0], dtype=torch.float64)
    two = torch.cat([torch.zeros_like(scores), scores], 1)  # transformers' two labels of a token
    each = F.cross_entropy(two, torch.stack([1 - flat, flat], 1), reduction="none")
    naive = (weights * each).sum() / weights.sum()
    torch.testing.assert_close(ours, naive)
    torch.testing.assert_close(
        torch.autograd.grad(ours, scores), torch.autograd.grad(naive, scores)
    )


@given(
    scores=st.lists(st.floats(-20, 20), min_size=11, max_size=11),
    cut=st.integers(1, 3),
    shift=st.floats(-5, 5),
)
def test_micro_batches_add_up_and_only_differences_count(scores, cut, shift):
    table = score_table(ROWS, DIMENSIONS, 1, 0)
    objective = RewardObjective(table, BradleyTerry())
    score_NH = torch.tensor(scores, dtype=torch.float64)[:, None].expand(11, 2)
    whole = loss_of(objective, [(batch_of(ROWS, range(4)), Reduced(score_NH=score_NH))])
    marks = sum(len(one.values) for one in ROWS[:cut])
    pieces = [
        (batch_of(ROWS, range(cut)), Reduced(score_NH=score_NH[:marks])),
        (batch_of(ROWS, range(cut, 4)), Reduced(score_NH=score_NH[marks:])),
    ]
    assert float(loss_of(objective, pieces)) == pytest.approx(float(whole), rel=1e-9)
    moved = [(batch_of(ROWS, range(4)), Reduced(score_NH=score_NH + shift))]
    assert float(loss_of(objective, moved)) == pytest.approx(float(whole), rel=1e-6, abs=1e-9)


@given(
    cuts=st.lists(st.floats(-8, 8), min_size=1, max_size=6),
    score=st.floats(-10, 10),
)
def test_the_chances_of_all_levels_make_one(cuts, score):
    cuts_J = torch.tensor(cuts, dtype=torch.float64)
    found = borders(cuts_J)
    assert (found[1:] > found[:-1]).all()
    levels = len(cuts) + 1
    rows = [row((float(v),), dimensions=DIMENSIONS[:1]) for v in range(levels)]
    table = score_table(rows, DIMENSIONS[:1], 1, 0)
    chances = []
    for number in range(levels):
        reduced = Reduced(score_NH=torch.tensor([[score]], dtype=torch.float64), cuts_J=cuts_J)
        objective = RewardObjective(table, Ordinal())
        chances.append(math.exp(-float(loss_of(objective, [(batch_of(rows, [number]), reduced)]))))
    assert sum(chances) == pytest.approx(1.0, abs=1e-6)


def test_the_first_borders_give_each_level_its_share():
    counts = torch.tensor([5.0, 1.0, 3.0, 1.0])
    below = torch.sigmoid(borders(cuts_from_counts(counts)))
    torch.testing.assert_close(below, torch.tensor([0.5, 0.6, 0.9]), atol=1e-5, rtol=0)


def test_no_prompt_is_learnt_and_measured():
    rows = [row((1.0, 0.0), prompt=str(n // 3)) for n in range(30)]
    learnt, apart = held_out(rows, 0.3, seed=1)
    assert len(learnt) + len(apart) == 30
    assert len({one.prompt for one in apart}) == 3
    assert not {one.prompt for one in apart} & {one.prompt for one in learnt}
    assert held_out(rows, 0.3, seed=1) == (learnt, apart)
    assert held_out(rows, 0.3, seed=2) != (learnt, apart)
    assert held_out(rows[:3], 0.5, seed=1) == (rows[:3], [])
    assert held_out(rows, 0.0, seed=1) == (rows, [])


def test_members_of_an_ensemble_learn_samples_of_their_own():
    rows = [row((1.0, 0.0)) for _ in range(200)]
    table = score_table(rows, DIMENSIONS, 4, seed=0)
    drawn = table.weight_RH.reshape(200, 2, 4)
    assert torch.equal(drawn[:, 0], drawn[:, 1])
    assert (drawn.sum(0) == 200).all()
    assert all((drawn[:, 0, a] != drawn[:, 0, b]).any() for a in range(4) for b in range(a))
    assert torch.equal(table.weight_RH, score_table(rows, DIMENSIONS, 4, seed=0).weight_RH)


def test_settings_take_what_the_losses_have():
    assert set(REWARDS) == set(align_methods.REWARDS)
    for name, method in REWARDS.items():
        assert set(method.hyperparameters) <= set(align_methods.TAKES[name])
