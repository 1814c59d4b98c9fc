"""Clustered statistics. Run: pytest tests/evaluation/test_statistics.py"""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from helpers.examples import examples
from regimen.evaluation.ratios import unseen_share
from regimen.evaluation.statistics import (
    clustered_mean,
    clustered_rate,
    mcnemar,
    paired_difference,
    resolvable_difference,
    verdict,
)

rows = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmn"), st.integers(0, 4), st.integers(0, 4)),
    min_size=2,
    max_size=40,
).filter(lambda some: len({cluster for cluster, _, _ in some}) > 1)


def columns(some):
    return [c for c, _, _ in some], [x / 4 for _, x, _ in some], [y / 4 for _, _, y in some]


def naive_jackknife(values, clusters, sizes):
    """Leave out one cluster after the other and recompute the ratio, by loops."""
    names = sorted(set(clusters))
    whole = sum(values) / sum(sizes)
    total = 0.0
    for left_out in names:
        kept = [i for i, c in enumerate(clusters) if c != left_out]
        without = sum(values[i] for i in kept) / sum(sizes[i] for i in kept)
        total += (without - whole) ** 2
    return whole, math.sqrt((len(names) - 1) / len(names) * total)


def naive_linearised(values, clusters):
    """Cluster-robust error of a mean with the G / (G - 1) correction, by loops."""
    names = sorted(set(clusters))
    mean = sum(values) / len(values)
    total = 0.0
    for name in names:
        total += sum(v - mean for v, c in zip(values, clusters, strict=True) if c == name) ** 2
    return math.sqrt(len(names) / (len(names) - 1) * total) / len(values)


def test_clusters_of_one_item_give_the_textbook_t_interval():
    # 2, 4, 6, 8: mean 5, sd sqrt(20/3), se sqrt(20/3)/2, t(3) at 0.975 = 3.18245.
    interval = clustered_mean([2.0, 4.0, 6.0, 8.0], list("abcd"))
    half = 3.182446305 * math.sqrt(20 / 3) / 2
    assert interval.estimate == 5
    assert interval.df == pytest.approx(3)
    assert interval.low == pytest.approx(5 - half)
    assert interval.high == pytest.approx(5 + half)


def test_equal_clusters_give_the_t_interval_of_their_means():
    # Cluster means 0.5, 1, 0: their sd is 0.5, so the error is 0.5 / sqrt(3) with 2 degrees.
    interval = clustered_mean([0, 1, 1, 1, 0, 0], ["a", "a", "b", "b", "c", "c"])
    assert interval.estimate == pytest.approx(0.5)
    assert interval.se == pytest.approx(0.5 / math.sqrt(3))
    assert interval.df == pytest.approx(2)
    assert (interval.n, interval.clusters) == (6, 3)


@given(st.integers(2, 8), st.integers(1, 5), st.randoms(use_true_random=False))
def test_equal_clusters_match_the_linearised_variance(count, size, rng):
    clusters = [f"c{i % count}" for i in range(count * size)]
    values = [float(rng.randint(0, 3)) for _ in clusters]
    interval = clustered_mean(values, clusters)
    assert interval.se == pytest.approx(naive_linearised(values, clusters), abs=1e-12)
    assert interval.df == pytest.approx(count - 1)


@given(rows)
def test_unequal_clusters_match_leaving_each_out(some):
    clusters, values, other = columns(some)
    sizes = [1 + y for y in other]
    mean, error = naive_jackknife(values, clusters, sizes)
    interval = clustered_mean(values, clusters, sizes=sizes)
    assert interval.estimate == pytest.approx(mean, abs=1e-12)
    assert interval.se == pytest.approx(error, abs=1e-12)


def test_unequal_clusters_are_never_less_cautious_than_the_linearised_error():
    rng = random.Random(3)
    clusters = [f"c{i}" for i in range(12) for _ in range(1 + 3 * i)]
    values = [float(rng.random() < 0.4) for _ in clusters]
    interval = clustered_mean(values, clusters)
    assert interval.se > naive_linearised(values, clusters)
    assert interval.df < 11


def test_correlation_within_tasks_widens_the_interval():
    clusters = [f"c{i // 10}" for i in range(200)]
    together = [float(i // 10 % 2) for i in range(200)]
    spread = [float(i % 2) for i in range(200)]
    alone = [str(i) for i in range(200)]
    assert clustered_mean(together, clusters).se > 2 * clustered_mean(together, alone).se
    assert clustered_mean(spread, clusters).se == 0


def test_one_cluster_has_no_interval():
    interval = clustered_rate([0.0, 1.0, 1.0], ["a"] * 3)
    assert interval.estimate == pytest.approx(2 / 3)
    assert (interval.low, interval.high, interval.se) == (None, None, None)
    paired = paired_difference([1.0, 1.0], [0.0, 0.0], ["a", "a"], bounds=(-1, 1))
    assert (paired.low, paired.resolvable, paired.p) == (None, None, None)
    assert paired.verdict == "no evidence"


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0])
def test_rates_without_spread_keep_an_interval(score):
    # 0 of 20 tasks differ: a share of 1 - 0.025^(1/20) = 0.1684 is still compatible with that.
    interval = clustered_rate([score] * 60, [f"c{i % 20}" for i in range(60)])
    assert interval.estimate == score
    assert interval.low == pytest.approx(score - 0.16843 * score, abs=1e-5)
    assert interval.high == pytest.approx(score + 0.16843 * (1 - score), abs=1e-5)


def test_a_difference_without_spread_claims_what_the_tasks_allow():
    clusters = [f"c{i % 12}" for i in range(48)]
    ties = paired_difference([0.0] * 48, [0.0] * 48, clusters, bounds=(-1, 1))
    share = unseen_share(12)
    assert (ties.low, ties.high) == pytest.approx((-share, share))
    assert (ties.verdict, ties.p) == ("no difference shown", 1.0)
    assert ties.resolvable == pytest.approx(share)
    everything = paired_difference([1.0] * 48, [0.0] * 48, clusters, bounds=(-1, 1))
    assert everything.low == pytest.approx(1 - 2 * share)
    assert (everything.high, everything.verdict) == (1.0, "better")
    # A hundredth on every item says little about tasks that could differ by 1.
    little = paired_difference([0.51] * 48, [0.5] * 48, clusters, bounds=(-1, 1))
    assert little.verdict == "no difference shown"


def test_width_0_without_known_range_never_claims():
    clusters = [f"c{i}" for i in range(30)]
    same = paired_difference([2.0] * 30, [2.0] * 30, clusters)
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert same.verdict == "no difference shown"
    constant = paired_difference([3.0] * 30, [2.0] * 30, clusters)
    assert constant.low == constant.high == 1
    assert constant.verdict == "no evidence"


def test_rounding_is_not_a_difference():
    values = [0.1 * i for i in range(1, 31)]
    noisy = [value + (1e-16 if i % 2 else 0) for i, value in enumerate(values)]
    paired = paired_difference(noisy, values, [str(i) for i in range(30)])
    assert paired.difference == 0
    assert paired.verdict == "no difference shown"


@given(rows)
def test_identical_systems_do_not_differ(some):
    clusters, values, _ = columns(some)
    paired = paired_difference(values, values, clusters, bounds=(-1, 1))
    assert paired.difference == 0
    assert paired.low == -paired.high
    assert paired.verdict in ("no difference shown", "no evidence")


MIRROR = {"better": "worse", "worse": "better"}


@given(rows)
def test_swapping_the_systems_mirrors_everything(some):
    clusters, a, b = columns(some)
    forward = paired_difference(a, b, clusters, bounds=(-1, 1))
    backward = paired_difference(b, a, clusters, bounds=(-1, 1))
    assert backward.difference == pytest.approx(-forward.difference, abs=1e-12)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low), abs=1e-9)
    assert backward.verdict == MIRROR.get(forward.verdict, forward.verdict)
    assert backward.resolvable == pytest.approx(forward.resolvable)
    lower = paired_difference(a, b, clusters, bounds=(-1, 1), lower_is_better=True)
    assert lower.verdict == backward.verdict


@given(rows, st.randoms(use_true_random=False))
def test_order_of_items_and_names_of_clusters_do_not_matter(some, rng):
    shuffled = [(f"z{ord(c) * 7 % 31}", x, y) for c, x, y in some]
    rng.shuffle(shuffled)
    clusters, a, b = columns(some)
    clusters_2, a_2, b_2 = columns(shuffled)
    first = paired_difference(a, b, clusters, bounds=(-1, 1))
    second = paired_difference(a_2, b_2, clusters_2, bounds=(-1, 1))
    assert first.difference == pytest.approx(second.difference, abs=1e-12)
    assert (first.low, first.high) == pytest.approx((second.low, second.high), abs=1e-9)


@given(rows, st.sampled_from([0.01, 3.0, 1000.0]), st.integers(-5, 5))
def test_scale_and_shift(some, factor, shift):
    clusters, values, _ = columns(some)
    plain = clustered_mean(values, clusters)
    moved = clustered_mean([factor * value + shift for value in values], clusters)
    assert moved.estimate == pytest.approx(factor * plain.estimate + shift, abs=1e-9 * factor)
    assert moved.low == pytest.approx(factor * plain.low + shift, rel=1e-6, abs=1e-6 * factor)
    assert moved.se == pytest.approx(factor * plain.se, rel=1e-6, abs=1e-9 * factor)


@given(rows)
def test_intervals_hold_the_estimate_and_stay_in_range(some):
    clusters, a, b = columns(some)
    rate = clustered_rate(a, clusters)
    assert 0 <= rate.low <= rate.estimate <= rate.high <= 1
    paired = paired_difference(a, b, clusters, bounds=(-1, 1))
    assert -1 <= paired.low <= paired.difference <= paired.high <= 1


@examples(30)
@given(rows)
def test_rate_interval_solves_the_score_equation(some):
    """Wilson: (estimate - p)^2 = t^2 p (1 - p) / n_eff at both ends, found here by bisection."""
    clusters, values, _ = columns(some)
    interval = clustered_rate(values, clusters)
    rate = interval.estimate
    if interval.se < 1e-6 or not 0.01 < rate < 0.99:
        return
    items = rate * (1 - rate) / interval.se**2
    t = stats.t.ppf(0.975, interval.df)

    def gap(p):
        return (rate - p) ** 2 - t**2 * p * (1 - p) / items

    assert interval.low == pytest.approx(optimize.brentq(gap, 0, rate), abs=1e-6)
    assert interval.high == pytest.approx(optimize.brentq(gap, rate, 1), abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "clusters", "word"),
    [
        (0.01, 0.2, 10, "better"),
        (-0.2, -0.01, 10, "worse"),
        (-0.1, 0.1, 500, "no difference shown"),
        (0.0, 0.1, 50, "no difference shown"),
        (0.01, 0.2, 9, "no evidence"),
        (None, None, 1, "no evidence"),
        (0.3, 0.3, 50, "no evidence"),
        (0.0, 0.0, 50, "no difference shown"),
    ],
)
def test_verdict_words(low, high, clusters, word):
    assert verdict(low, high, clusters) == word
    assert verdict(low, high, clusters, lower_is_better=True) == MIRROR.get(word, word)


def test_verdict_and_p_value_agree():
    rng = np.random.default_rng(5)
    seen = set()
    for shift in np.linspace(-0.5, 0.5, 41):
        a = rng.normal(shift, 1, 60)
        paired = paired_difference(a, np.zeros(60), [str(i % 20) for i in range(60)])
        assert (paired.p < 0.05) == (paired.verdict in ("better", "worse"))
        seen.add(paired.verdict)
    assert seen == {"better", "worse", "no difference shown"}


@pytest.mark.parametrize("df", [9, 19, 59])
def test_resolvable_difference_has_80_percent_power(df):
    ratio = resolvable_difference(1.0, df)
    power = stats.nct.sf(stats.t.ppf(0.975, df), df, ratio)
    assert power == pytest.approx(0.8, abs=0.002)
    assert resolvable_difference(0.25, df) == pytest.approx(ratio / 4)


def test_mcnemar_by_hand():
    # 1 regressed, 9 fixed: 2 (1 + 10) / 1024; mid-p takes the point's 10/1024 off once.
    test = mcnemar(1, 9)
    assert test.exact == pytest.approx(22 / 1024)
    assert test.mid_p == pytest.approx(12 / 1024)
    assert (mcnemar(0, 0).exact, mcnemar(0, 0).mid_p) == (1, 1)
    # 2 against 2: both tails together are more than everything; mid-p 1 - (6/16)/2.
    assert mcnemar(2, 2).exact == 1
    assert mcnemar(2, 2).mid_p == pytest.approx(1 - 3 / 16)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_matches_enumeration(regressed, fixed):
    n = regressed + fixed
    weights = [math.comb(n, k) / 2**n for k in range(n + 1)]
    far = [k for k in range(n + 1) if abs(k - n / 2) >= abs(regressed - n / 2)]
    at = {regressed, fixed} if n else {0}
    test = mcnemar(regressed, fixed)
    assert test.exact == pytest.approx(sum(weights[k] for k in far))
    halves = sum(weights[k] for k in at) / 2 if n else 0.0
    assert test.mid_p == pytest.approx(sum(weights[k] for k in far) - halves)
    assert test.mid_p <= test.exact
    mirrored = mcnemar(fixed, regressed)
    assert (mirrored.exact, mirrored.mid_p) == (test.exact, test.mid_p)


@pytest.mark.parametrize(
    ("values", "clusters", "sizes", "words"),
    [
        ([], [], None, "no rows"),
        ([1.0], ["a", "b"], None, "one value"),
        ([1.0, 2.0], ["a", "b"], [1.0], "one value"),
        ([1.0, math.nan], ["a", "b"], None, "finite"),
        ([1.0, 2.0], ["a", "b"], [1.0, 0.0], "positive"),
        ([[1.0], [2.0]], ["a", "b"], None, "one value"),
    ],
)
def test_wrong_rows_are_refused(values, clusters, sizes, words):
    with pytest.raises(ValueError, match=words):
        clustered_mean(values, clusters, sizes=sizes)


def test_a_rate_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        clustered_rate([0.5, 1.5], ["a", "b"])
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)
