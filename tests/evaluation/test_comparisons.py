"""Many comparisons. Run: pytest tests/evaluation/test_comparisons.py [-m slow]"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from regimen.evaluation.comparisons import adjusted, adjusted_pairs, benjamini_hochberg, holm
from regimen.evaluation.statistics import paired_difference
from regimen.evaluation.summaries import paired_json

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def naive_holm(p_values):
    """Reject step by step at every level: the adjusted value is the level where each goes."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    result, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, p_values[i] * (len(p_values) - rank)))
        result[i] = worst
    return result


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, then 0.03 x 2 = 0.06, and 0.04 x 1 cannot be less than that.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(P_VALUES)
def test_holm_matches_stepping_down(p_values):
    assert holm(p_values) == pytest.approx(naive_holm(p_values))


@given(P_VALUES)
def test_benjamini_hochberg_matches_scipy(p_values):
    reference = stats.false_discovery_control(p_values, method="bh")
    assert benjamini_hochberg(p_values) == pytest.approx(list(reference), abs=1e-12)


@given(P_VALUES)
def test_corrections_only_raise_and_keep_the_order(p_values):
    for found in (holm(p_values), benjamini_hochberg(p_values)):
        assert all(q >= p - 1e-12 and q <= 1 for p, q in zip(p_values, found, strict=True))
        pairs = sorted(zip(p_values, found, strict=True))
        assert all(b[1] >= a[1] - 1e-12 for a, b in pairwise(pairs))
    single, shared = holm(p_values), benjamini_hochberg(p_values)
    assert all(a >= b - 1e-12 for a, b in zip(single, shared, strict=True))


def test_no_p_value_is_outside_its_range():
    for bad in ([-0.1], [1.1], [float("nan")]):
        with pytest.raises(ValueError, match="p-values"):
            holm(bad)


@pytest.mark.parametrize("shared", [0.0, 0.8])
def test_one_wrong_word_in_the_table_is_rare(shared):
    """t-tests of 8 families of 12 tasks, independent and correlated, in 20,000 tables."""
    rng = np.random.default_rng(9)
    common = rng.normal(0, shared**0.5, (20_000, 1, 12))
    rows = common + rng.normal(0, (1 - shared) ** 0.5, (20_000, 8, 12))
    p = stats.ttest_1samp(rows, 0.0, axis=-1).pvalue
    alone = float((p.min(axis=1) < 0.05).mean())
    corrected = float((8 * p.min(axis=1) < 0.05).mean())  # Holm's first step, at the smallest p
    assert corrected <= 0.055
    assert alone > 0.12
    for table in p[:50]:
        assert min(holm(table.tolist())) == pytest.approx(min(1.0, 8 * table.min()))


@pytest.mark.parametrize("groups", [5, 20])
def test_one_wrong_word_is_rare_with_right_and_wrong_answers(groups):
    """Equal systems, 12 tasks of 6 items, tasks of very different difficulty, 4,000 tables."""
    rng = np.random.default_rng(groups)
    rate = rng.beta(2, 2, (4000, groups, 12))
    gains = (rng.binomial(6, rate) - rng.binomial(6, rate)) / 6
    spread = np.maximum(gains.std(axis=-1, ddof=1), 1e-9) / np.sqrt(12)
    p = 2 * stats.t.sf(np.abs(gains.mean(axis=-1)) / spread, 11)
    assert float((groups * p.min(axis=1) < 0.05).mean()) <= 0.055
    assert float((p.min(axis=1) < 0.05).mean()) > 0.15


@pytest.mark.simulation
def test_verdicts_of_equal_systems_by_family_are_rarely_wrong():
    """The same through the functions that evaluations use."""
    rng = np.random.default_rng(5)
    tasks = [str(i % 12) for i in range(72)]
    wrong, alone, repeats = 0, 0, 2000
    for _ in range(repeats):
        cells = {}
        for g in range(5):
            rate = np.tile(rng.beta(2, 2, 12), 6)
            a, b = ((rng.random(72) < rate).astype(float) for _ in range(2))
            cells[str(g)] = paired_json(paired_difference(a, b, tasks, bounds=(-1, 1)))
        alone += any(entry["verdict"] in ("better", "worse") for entry in cells.values())
        found = adjusted(cells).values()
        wrong += any(entry["verdict"] in ("better", "worse") for entry in found)
    assert wrong / repeats <= 0.055
    assert alone / repeats > 0.12


def entry(p, verdict="better", clusters=12):
    return {"p": p, "verdict": verdict, "clusters": clusters, "difference": 0.1}


def test_words_follow_the_adjusted_values():
    found = adjusted({"a": entry(0.001), "b": entry(0.03), "c": entry(0.9, "no difference shown")})
    assert [e["verdict"] for e in found.values()] == [
        "better",
        "no difference shown",
        "no difference shown",
    ]
    assert [e["p_adjusted"] for e in found.values()] == pytest.approx([0.003, 0.06, 0.9])
    assert {(e["comparisons"], e["correction"]) for e in found.values()} == {(3, "holm")}
    shared = adjusted({"a": entry(0.001), "b": entry(0.03)}, correction="benjamini_hochberg")
    assert shared["b"]["verdict"] == "better"


def test_cells_that_can_claim_nothing_cost_nothing():
    cells = {"a": entry(0.04), "few": entry(0.001, "no evidence", 4), "one": entry(None, "x", 1)}
    found = adjusted(cells)
    assert found["a"]["verdict"] == "better"
    assert found["a"]["comparisons"] == 1
    assert [found[name]["p_adjusted"] for name in ("few", "one")] == [None, None]
    assert found["few"]["verdict"] == "no evidence"


def test_two_planned_systems_stand_alone_and_three_are_a_family():
    second = {"tuned-base": "base", "aligned-base": "base", "aligned-tuned": "tuned"}
    planned = {name: entry(0.04) for name in second}
    assert adjusted_pairs(planned, second) == planned
    second |= {"third-base": "base"}
    many = adjusted_pairs({name: entry(0.04) for name in second}, second)
    assert many["tuned-base"]["verdict"] == "no difference shown"
    assert many["tuned-base"]["p_adjusted"] == pytest.approx(0.12)
    assert many["aligned-tuned"]["verdict"] == "better"
