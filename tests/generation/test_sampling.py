"""Sampling many rows at once: the nucleus, its probabilities, and noise of one's own."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.errors import GenerationError
from regimen.generation import sampling
from regimen.generation.sampling import sample


def nucleus(logits_V, temperature, top_p):
    """Probabilities by sorting, 0 outside the nucleus: Holtzman et al. 2020, section 3.1."""
    probability = (logits_V / temperature).softmax(-1)
    ordered, order = probability.sort(descending=True, stable=True)
    before = ordered.cumsum(0) - ordered
    probability[order[(before >= top_p) & (before > 0)]] = 0.0
    return probability / probability.sum()


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setattr(sampling, "WIDTH", 4)


@pytest.mark.matrix
@pytest.mark.parametrize("patience", [0, 1, 8])
@pytest.mark.parametrize("top_p", [1.0, 0.7, 0.2])
def test_frequencies_are_the_probabilities_of_the_nucleus(top_p, patience, narrow, monkeypatch):
    monkeypatch.setattr(sampling, "PATIENCE", patience)
    draws = 2000
    logits = torch.randn(10, generator=torch.Generator().manual_seed(3))
    expected = nucleus(logits, 0.8, top_p)
    seeds = [(seed, 5) for seed in range(draws)]
    ids = sample(logits.expand(draws, -1), [0.8] * draws, [top_p] * draws, seeds)
    count = torch.bincount(torch.tensor(ids), minlength=10).float()
    assert count[expected == 0].sum() == 0
    inside = expected > 0
    error = (count[inside] - draws * expected[inside]) / (draws * expected[inside]).sqrt()
    assert float(error.abs().max()) < 4.5  # deviations


@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=9),
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.95, 1.0]),
    st.integers(0, 1000),
)
@examples(100)
def test_what_is_drawn_is_in_the_nucleus_also_where_ids_tie(values, top_p, seed):
    logits = torch.tensor(values, dtype=torch.float32)
    # a share that rounding cannot take to either side of a sum of these
    (token,) = sample(logits[None], [1.0], [top_p], [(seed, 0)])
    assert nucleus(logits, 1.0, top_p + 1e-5 if top_p else 0.0)[token] > 0


def test_a_row_draws_alike_with_and_without_neighbours():
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(0))
    temperatures, shares = [0.5, 1.0, 1.5, 1.0, 2.0, 1.0], [1.0, 0.9, 0.5, 0.02, 0.8, 1.0]
    seeds = [(i, 7 * i) for i in range(6)]
    together = sample(logits, temperatures, shares, seeds)
    alone = [
        sample(logits[i : i + 1], temperatures[i : i + 1], shares[i : i + 1], seeds[i : i + 1])[0]
        for i in range(6)
    ]
    assert together == alone
    other = sample(logits, temperatures, [1.0] * 6, [(seed, at + 1) for seed, at in seeds])
    assert other != sample(logits, temperatures, [1.0] * 6, seeds)


def test_logits_that_are_no_numbers_are_an_error():
    logits = torch.zeros(2, 5)
    logits[1, 3] = float("nan")
    with pytest.raises(GenerationError, match="logits-not-finite"):
        sample(logits, [1.0, 1.0], [1.0, 0.9], [(0, 0), (1, 0)])
