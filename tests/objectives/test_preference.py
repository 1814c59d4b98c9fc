"""pytest tests/objectives/test_preference.py"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimen.models.head import Reduced
from regimen.objectives.preference import Dpo, pair_segments, sequence_logp
from regimen.tokens.ragged import ragged_batch
from regimen.tokens.rendering import RenderedPair
from regimen.tokens.store import token_rows

ROWS = token_rows([RenderedPair((1, 2), (3, 4), (5,)), RenderedPair((1,), (6,), (7, 8, 9))])
BATCH = ragged_batch(ROWS.segments([0, 1]))


def loss(logp, reference, **options):
    out = Dpo(torch.tensor(reference), **options)(BATCH, Reduced(logp_N=torch.tensor(logp)))
    return out


def test_pairs_are_found_and_log_probabilities_summed_by_segment():
    chosen, rejected = pair_segments(BATCH)
    assert chosen.tolist() == [1, 4]
    assert rejected.tolist() == [2, 5]
    sums = sequence_logp(BATCH, torch.tensor([-1.0, -2.0, -4.0, -8.0, -16.0, -32.0, -64.0]))
    assert sums.tolist() == [0.0, -3.0, -4.0, 0.0, -8.0, -112.0]


def test_dpo_equals_the_equation_by_hand():
    logp = [-1.0, -1.0, -3.0, -2.0, -1.0, -1.0, -1.0]
    out = loss(logp, [[-2.0, -2.0], [-1.0, -4.0]], beta=0.5)
    margins = [0.5 * ((-2 + 2) - (-3 + 2)), 0.5 * ((-2 + 1) - (-3 + 4))]
    expected = sum(-math.log(1 / (1 + math.exp(-m))) for m in margins)
    assert float(out.components["dpo"]) == pytest.approx(expected, rel=1e-6)
    assert out.metrics["rewards/accuracies"] == 1.0
    assert Dpo(torch.zeros(2, 2)).weights(BATCH) == {"dpo": 2.0}


def test_a_policy_at_its_reference_has_loss_log_two():
    logp = [-1.0, -1.0, -3.0, -2.0, -1.0, -1.0, -1.0]
    out = loss(logp, [[-2.0, -3.0], [-2.0, -3.0]], label_smoothing=0.2)
    assert float(out.components["dpo"]) == pytest.approx(2 * math.log(2))
    assert out.metrics["max_abs_logratio"] == 0.0


@given(st.floats(0.01, 2), st.floats(0, 0.4), st.lists(st.floats(-9, 0), min_size=7, max_size=7))
def test_swapping_answers_mirrors_the_margin(beta, smoothing, logp):
    reference = [[-1.0, -2.0], [-3.0, -1.5]]
    out = loss(logp, reference, beta=beta, label_smoothing=smoothing)
    swapped_rows = token_rows(
        [RenderedPair((1, 2), (5,), (3, 4)), RenderedPair((1,), (7, 8, 9), (6,))]
    )
    batch = ragged_batch(swapped_rows.segments([0, 1]))
    order = [2, 0, 1, 4, 5, 6, 3]
    other = Dpo(torch.tensor(reference).flip(1), beta, smoothing)(
        batch, Reduced(logp_N=torch.tensor(logp)[order])
    )
    assert other.metrics["rewards/margins"] == pytest.approx(
        -out.metrics["rewards/margins"], abs=1e-4
    )
