"""Kappa and alpha against their definitions and published examples.

pytest tests/judging/test_agreement.py
"""

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.judging.agreement import (
    MISSING,
    coded,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    majority,
    raw_agreement,
)

# Krippendorff 2011, section C: four observers, twelve units, missing values.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
tables = st.lists(st.lists(st.integers(MISSING, 2), min_size=3, max_size=3), min_size=2, max_size=9)


def test_alpha_of_the_published_example():
    rows = [[None if x == "." else int(x) for x in line.split()] for line in OBSERVERS]
    codes = np.stack([coded(row, (1, 2, 3, 4, 5)) for row in rows], axis=1)
    assert krippendorff_alpha(codes, 5) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(codes, 5, level="ordinal") == pytest.approx(0.815, abs=5e-4)


def test_kappa_of_the_textbook_example():
    counts = {(0, 0): 20, (0, 1): 5, (1, 0): 10, (1, 1): 15}
    pairs = [pair for pair, n in counts.items() for _ in range(n)]
    a, b = np.asarray(pairs).T
    assert raw_agreement(a, b) == pytest.approx(0.7)
    assert cohen_kappa(a, b, 2) == pytest.approx(0.4)


@pytest.mark.parametrize(("name", "power"), [("nominal", 0), ("linear", 1), ("quadratic", 2)])
def test_weighted_kappa_is_mean_disagreement_over_that_of_shuffled_raters(name, power):
    draw = np.random.default_rng(0)
    for _ in range(9):
        a, b = draw.integers(0, 4, (2, 30))

        def weight(x, y):
            return float(x != y) * abs(int(x) - int(y)) ** power

        observed = np.mean([weight(x, y) for x, y in zip(a, b, strict=True)])
        expected = np.mean([weight(x, y) for x in a for y in b])
        assert cohen_kappa(a, b, 4, weights=name) == pytest.approx(1 - observed / expected)


def brute_alpha(rows, categories, level):
    """Mean disagreement within units over that of any two ratings, from the definition."""
    units = [[c for c in row if c >= 0] for row in rows]
    units = [unit for unit in units if len(unit) > 1]
    every = [c for unit in units for c in unit]
    margin = [every.count(c) for c in range(categories)]

    def delta(c, k):
        if level == "nominal":
            return float(c != k)
        low, high = min(c, k), max(c, k)
        return (sum(margin[low : high + 1]) - (margin[low] + margin[high]) / 2) ** 2

    if not units:
        return math.nan
    observed = sum(
        sum(delta(c, k) for c, k in permutations(unit, 2)) / (len(unit) - 1) for unit in units
    ) / len(every)
    expected = sum(delta(c, k) for c, k in permutations(every, 2)) / (len(every) * (len(every) - 1))
    return 1 - observed / expected if expected else math.nan


@given(tables, st.sampled_from(["nominal", "ordinal"]))
def test_alpha_is_its_definition_and_knows_no_order_of_raters(rows, level):
    codes = np.asarray(rows)
    found = krippendorff_alpha(codes, 3, level=level)
    assert found == pytest.approx(brute_alpha(rows, 3, level), nan_ok=True)
    again = krippendorff_alpha(codes[:, [2, 0, 1]], 3, level=level)
    assert again == pytest.approx(found, nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20))
def test_kappa_is_its_definition_symmetric_and_one_for_identical_raters(pairs):
    a, b = np.asarray(pairs).T
    agree = sum(x == y for x, y in pairs) / len(pairs)
    chance = sum((a == c).mean() * (b == c).mean() for c in range(3))
    wanted = (agree - chance) / (1 - chance) if chance < 1 - 1e-12 else math.nan
    assert cohen_kappa(a, b, 3) == pytest.approx(wanted, nan_ok=True)
    assert cohen_kappa(b, a, 3) == pytest.approx(cohen_kappa(a, b, 3), nan_ok=True)
    same = cohen_kappa(a, a, 3)
    assert same == pytest.approx(1.0) if len(set(a)) > 1 else math.isnan(same)


@given(tables)
def test_majority_is_the_single_most_frequent_label(rows):
    found = majority(np.asarray(rows), 3)
    for row, code in zip(rows, found, strict=True):
        given_ = [c for c in row if c >= 0]
        counts = sorted(((given_.count(c), c) for c in set(given_)), reverse=True)
        clear = counts and (len(counts) == 1 or counts[0][0] > counts[1][0])
        assert code == (counts[0][1] if clear else MISSING)


def test_raters_without_a_common_unit_and_unknown_labels():
    a, b = coded(["x", None], ("x", "y")), coded([None, "y"], ("x", "y"))
    assert math.isnan(raw_agreement(a, b))
    assert math.isnan(cohen_kappa(a, b, 2))
    with pytest.raises(ValueError, match="'z'"):
        coded(["z"], ("x", "y"))
    assert list(combinations(coded(["y", "x"], ("x", "y")).tolist(), 2)) == [(1, 0)]


def test_fleiss_kappa_of_a_table_worked_by_hand():
    # three raters, four units: 3-0, 2-1, 0-3, 1-2; agreement (1 + 1/3 + 1 + 1/3) / 4, chance 1/2
    codes = np.asarray([[0, 0, 0], [0, 0, 1], [1, 1, 1], [0, 1, 1]])
    assert fleiss_kappa(codes, 2) == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    assert fleiss_kappa(np.vstack([codes, [[0, MISSING, 1]]]), 2) == fleiss_kappa(codes, 2)
    assert math.isnan(fleiss_kappa(np.zeros((3, 2), dtype=np.int64), 2))


@given(tables)
def test_fleiss_kappa_is_alpha_but_for_the_sample_size(rows):
    codes = np.asarray([row for row in rows if MISSING not in row], dtype=np.int64).reshape(-1, 3)
    kappa, alpha = fleiss_kappa(codes, 3), krippendorff_alpha(codes, 3)
    if math.isnan(kappa) or math.isnan(alpha):
        assert math.isnan(kappa) == math.isnan(alpha)
        return
    total = codes.size
    assert 1 - alpha == pytest.approx((1 - kappa) * (total - 1) / total)
