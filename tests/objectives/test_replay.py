"""pytest tests/objectives/test_replay.py: two losses in one step are the sum of both apart."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from helpers.objective_cases import case
from regimen.objectives.replay import WithReplay
from regimen.objectives.supervised import Supervised
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import Rendered, RenderedAnswers
from regimen.tokens.store import token_rows
from regimen.training.gradients import step_gradients
from regimen.training.options import LoopOptions

OPTIONS = LoopOptions(learning_rate=1e-3, max_steps=1, tokens_per_batch=400)
REPLAYED = [
    Rendered(tuple(range(1 + n, 9 + 2 * n)), (0.0, 0.0, *[0.5 + n % 2] * (6 + n))) for n in range(4)
]
"""Rows whose tokens weigh 0.5 or 1.5, and whose first two are a prompt."""


def made(name):
    """A loss over answers with its rows, those with replayed ones behind, and its model."""
    judged, objective, model = case(name)
    first, last = judged.row_offsets[:-1], judged.row_offsets[1:]
    ids = [tuple(part.tolist()) for part in torch.from_numpy(judged.ids).split(_lengths(judged))]
    rows = [
        RenderedAnswers(ids[start], tuple(ids[start + 1 : end]))
        for start, end in zip(first.tolist(), last.tolist(), strict=True)
    ]
    return judged, token_rows([*rows, *REPLAYED]), objective, model


def _lengths(rows):
    return (rows.offsets[1:] - rows.offsets[:-1]).tolist()


def step(model, objective, rows, *cuts):
    return step_gradients(
        model, objective, [ragged_batch(rows.segments(some)) for some in cuts], OPTIONS
    )


@pytest.mark.parametrize("name", ["dpo", "odpo", "cpo", "kto", "slic"])
def test_gradients_are_the_sum_of_those_of_both_losses(name):
    judged, rows, objective, model = made(name)
    count = len(judged)
    alone, wanted = step(model, objective, judged, range(count))
    again, more = step(model, Supervised(), token_rows(REPLAYED), range(len(REPLAYED)))
    both, found = step(model, WithReplay(objective, 0.3), rows, range(len(rows)))
    assert both["replay"] == pytest.approx(0.3 * again["loss"], rel=1e-5)
    assert both["loss"] == pytest.approx(alone["loss"] + 0.3 * again["loss"], rel=1e-5)
    expected = {parameter: wanted[parameter] + 0.3 * more[parameter] for parameter in wanted}
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    moved = max(float((found[p] - wanted[p]).abs().max()) for p in wanted)
    assert moved > 1e-4  # what is replayed has a gradient that can be seen
    told = {"rewards/chosen", "rewards/margins", "logps/rejected", "max_abs_logratio"} & {*alone}
    assert {key: both[key] for key in told} == pytest.approx({key: alone[key] for key in told})


@examples(20)
@given(st.sampled_from(["dpo", "kto"]), st.permutations(range(8)), st.sets(st.integers(1, 7)))
def test_a_step_is_the_same_however_its_rows_are_cut(name, order, ends):
    """Also where a micro-batch has rows of one kind alone."""
    judged, rows, objective, model = made(name)
    assert (len(judged), len(rows)) == (4, 8)
    both = WithReplay(objective, 0.7)
    places = [0, *sorted(ends), 8]
    cuts = [order[a:b] for a, b in pairwise(places)]
    whole, wanted = step(model, both, rows, range(8))
    told, found = step(model, both, rows, *cuts)
    assert told["loss"] == pytest.approx(whole["loss"], rel=1e-4)
    assert told["replay"] == pytest.approx(whole["replay"], rel=1e-4)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_step_of_one_kind_learns_from_it_alone_and_says_nothing_of_the_other():
    judged, rows, objective, model = made("dpo")
    both = WithReplay(objective, 2.0)
    told, found = step(model, both, rows, range(4))
    alone, wanted = step(model, objective, judged, range(4))
    assert told == pytest.approx({**alone, "dpo": alone["loss"]})
    torch.testing.assert_close(found, wanted)
    told, found = step(model, both, rows, range(4, 8))
    alone, wanted = step(model, Supervised(), token_rows(REPLAYED), range(4))
    assert told == pytest.approx({"loss": 2 * alone["loss"], "replay": 2 * alone["loss"]})
    torch.testing.assert_close(
        found, {name: 2 * gradient for name, gradient in wanted.items()}, rtol=1e-4, atol=1e-6
    )
