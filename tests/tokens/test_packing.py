"""pytest tests/tokens/test_packing.py"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regimen.tokens.packing import packing_plan

LENGTHS = st.lists(st.integers(1, 60), min_size=0, max_size=120)


@given(LENGTHS, st.integers(0, 5), st.integers(0, 3), st.integers(8, 80), st.booleans())
def test_a_plan_holds_every_row_once_within_the_budget(lengths, seed, epoch, budget, shuffle):
    plan = packing_plan(lengths, seed=seed, epoch=epoch, token_budget=budget, shuffle=shuffle)
    assert sorted(row for batch in plan for row in batch) == list(range(len(lengths)))
    for batch in plan:
        assert len(batch) == 1 or sum(lengths[row] for row in batch) <= budget
    assert plan == packing_plan(
        lengths, seed=seed, epoch=epoch, token_budget=budget, shuffle=shuffle
    )


def test_the_same_arguments_give_the_same_plan_whatever_was_drawn_before():
    lengths = np.random.default_rng(1).integers(1, 60, 500)
    first = packing_plan(lengths, seed=3, epoch=2, token_budget=128)
    np.random.seed(9)
    np.random.rand(5)
    assert packing_plan(lengths.tolist(), seed=3, epoch=2, token_budget=128) == first


def test_epochs_and_seeds_have_their_own_order():
    lengths = list(range(1, 60))
    plans = [
        packing_plan(lengths, seed=s, epoch=e, token_budget=64) for s, e in ((0, 0), (0, 1), (1, 0))
    ]
    assert plans[0] != plans[1] != plans[2] != plans[0]


def test_packing_wastes_little_of_the_budget():
    lengths = [(i * 37) % 200 + 20 for i in range(2000)]
    plan = packing_plan(lengths, seed=0, epoch=0, token_budget=1024)
    assert sum(lengths) / (len(plan) * 1024) > 0.94


def test_batches_mix_short_and_long_rows():
    lengths = [20] * 1000 + [200] * 1000
    plan = packing_plan(lengths, seed=0, epoch=0, token_budget=2048)
    shares = [sum(row >= 1000 for row in batch) / len(batch) for batch in plan]
    assert sum(0.1 < share < 0.9 for share in shares) > 0.9 * len(plan)


def test_without_shuffling_rows_keep_their_order():
    plan = packing_plan([3, 3, 3, 9, 1], seed=0, epoch=0, token_budget=6, shuffle=False)
    assert plan == [(0, 1), (2,), (3,), (4,)]
