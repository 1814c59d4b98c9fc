"""Win rates, length control, strengths and agreement on simulated judges.

pytest tests/evaluation/test_win_rates.py
"""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from helpers.examples import examples
from regimen.errors import EvaluationError
from regimen.evaluation.agreement import agreement, judge_against_people, panel
from regimen.evaluation.bradley_terry import Contest, strengths
from regimen.evaluation.jackknife import MOST_GROUPS, jackknife, jackknife_all
from regimen.evaluation.length_control import instruction_difficulty, length_control
from regimen.evaluation.logistic import fit_logistic, sigmoid
from regimen.evaluation.statistics import clustered_mean
from regimen.evaluation.win_rates import pair_summary
from regimen.judging.comparisons import AnswerPair, Comparison, compare
from regimen.judging.judge import FunctionJudge, Verdict
from regimen.records import Item, Lineage, Message


def item(n, clusters=20):
    return Item(
        suite="s",
        messages=(Message(role="user", content=f"q{n}"),),
        references=(),
        cluster=f"c{n % clusters}",
        lineage=Lineage(category="odd" if n % 2 else "even"),
    )


def pairs_of(texts):
    return [
        AnswerPair(item=item(n), systems=("tuned", "base"), a=(a,), b=(b,))
        for n, (a, b) in enumerate(texts)
    ]


def judged(values, lengths=None):
    """Comparisons with given preferences (None failed) for the first system."""
    return [
        Comparison(
            item=item(n),
            systems=("a", "b"),
            lengths=lengths[n] if lengths else (5, 5),
            forward=Verdict(value=value, error="" if value is not None else "no verdict"),
            backward=Verdict(value=-value) if value is not None else Verdict(error="no verdict"),
        )
        for n, value in enumerate(values)
    ]


def test_a_clear_winner_and_what_is_counted():
    block = pair_summary(judged([1] * 50 + [0] * 6 + [-1] * 4 + [None] * 5), seeds=3)
    assert block["win_rate"] == pytest.approx(53 / 60)
    assert block["low"] < 53 / 60 < block["high"]
    assert block["verdict"] == "better"
    counts = {key: block[key] for key in ("wins", "ties", "losses", "failed", "n", "seeds")}
    assert counts == {"wins": 50, "ties": 6, "losses": 4, "failed": 5, "n": 60, "seeds": 3}
    assert block["position_consistency"] == 1
    assert set(block["by_category"]) == {"odd", "even"}
    assert sum(cell["n"] for cell in block["by_category"].values()) == 60


def test_nothing_judged_is_null_and_no_evidence():
    block = pair_summary(judged([None] * 20))
    assert block["win_rate"] is None
    assert block["verdict"] == "no evidence"
    assert block["failed"] == 20


def test_few_clusters_are_no_evidence():
    assert pair_summary(judged([1] * 9))["verdict"] == "no evidence"


def test_a_place_bias_becomes_ties_and_is_reported():
    first = FunctionJudge(lambda prompt, a, b: 1.0, "first")
    block = pair_summary(compare(first, pairs_of([("x", "y")] * 40)))
    assert block["win_rate"] == 0.5
    assert block["ties"] == 40
    assert block["position_consistency"] == 0
    assert block["first_position"] == 1
    assert block["verdict"] == "no difference shown"


def test_a_length_bias_is_taken_out():
    draw = np.random.default_rng(1)
    sizes = draw.integers(1, 60, (400, 2)) + np.asarray([15, 0])
    texts = [("a" * int(m), "b" * int(n)) for m, n in sizes]
    mood = dict(zip([f"q{n}" for n in range(400)], draw.normal(0, 15, 400), strict=True))

    def longer(prompt, a, b):
        """Sees the longer answer through noise, as the same in both orders."""
        sign = 1 if "a" in a else -1
        return float(np.sign(len(a) - len(b) + sign * mood[prompt]))

    block = pair_summary(compare(FunctionJudge(longer, "length"), pairs_of(texts)))
    assert block["win_rate"] > 0.65
    assert block["verdict"] == "better"
    controlled = block["length_controlled"]
    assert controlled["win_rate"] == pytest.approx(0.5, abs=0.06)
    assert controlled["low"] < 0.5 < controlled["high"]
    assert controlled["longer_wins"] > 0.8
    assert controlled["effect"] > 1


def test_length_control_recovers_a_known_preference():
    draw = np.random.default_rng(2)
    estimates, covered = [], 0
    for _ in range(60):
        gap = draw.normal(40, 60, 250).astype(int)
        level = sigmoid(0.4 + 1.5 * np.tanh(gap / gap.std()))
        wins = (draw.random(250) < level).astype(float)
        clusters = [str(n % 25) for n in range(250)]
        found = length_control(wins, [(100 + g, 100) for g in gap], clusters).win_rate
        estimates.append(found.estimate)
        covered += found.low <= sigmoid(np.asarray(0.4)) <= found.high
    assert np.mean(estimates) == pytest.approx(float(sigmoid(np.asarray(0.4))), abs=0.015)
    assert covered >= 53


def test_equal_lengths_leave_the_win_rate_as_it_is():
    wins = [1.0] * 30 + [0.5] * 4 + [0.0] * 10
    found = length_control(wins, [(7, 7)] * 44, [str(n) for n in range(44)])
    assert found.win_rate.estimate == pytest.approx(np.mean(wins), abs=1e-3)
    assert found.effect == 0
    assert found.longer_wins is None


def test_one_side_always_wins_stays_finite():
    found = length_control([1.0] * 30, [(n, 9) for n in range(30)], [str(n) for n in range(30)])
    assert 0.9 < found.win_rate.estimate <= 1
    assert found.win_rate.high <= 1


@examples(15)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=12, max_size=40), st.integers(0, 99))
def test_swapping_the_systems_mirrors_the_win_rates(wins, seed):
    lengths = [tuple(pair) for pair in np.random.default_rng(seed).integers(1, 90, (len(wins), 2))]
    clusters = [str(n % 12) for n in range(len(wins))]
    one = length_control(wins, lengths, clusters).win_rate
    swapped = [(b, a) for a, b in lengths]
    other = length_control([1 - win for win in wins], swapped, clusters).win_rate
    assert one.estimate == pytest.approx(1 - other.estimate, abs=1e-6)
    assert one.low == pytest.approx(1 - other.high, abs=1e-5)
    values = [2 * win - 1 for win in wins]
    block, mirror = pair_summary(judged(values)), pair_summary(judged([-v for v in values]))
    assert block["win_rate"] == pytest.approx(1 - mirror["win_rate"])
    swap = {"better": "worse", "worse": "better"}
    assert swap.get(block["verdict"], block["verdict"]) == mirror["verdict"]


def test_difficulty_is_found_and_sharpens_nothing_it_should_not():
    draw = np.random.default_rng(3)
    true = draw.normal(0, 1.5, 80)
    wins = {
        f"m{s}": {
            f"i{n}": float(draw.random() < sigmoid(np.asarray(0.3 * s - 1 + true[n])))
            for n in range(80)
        }
        for s in range(8)
    }
    found = instruction_difficulty(wins)
    estimated = [found[f"i{n}"] for n in range(80)]
    assert np.corrcoef(estimated, true)[0, 1] > 0.7
    assert sum(estimated) == pytest.approx(0, abs=1e-9)
    own = [float(draw.random() < sigmoid(np.asarray(0.5 + true[n]))) for n in range(80)]
    clusters = [str(n % 20) for n in range(80)]
    plain = length_control(own, [(5, 5)] * 80, clusters).win_rate.estimate
    helped = length_control(own, [(5, 5)] * 80, clusters, difficulty_N=estimated)
    assert helped.win_rate.estimate == pytest.approx(plain, abs=0.01)
    assert instruction_difficulty({}) == {}


def test_logistic_regression_is_the_maximum_that_a_general_optimiser_finds():
    draw = np.random.default_rng(4)
    x = draw.normal(size=(120, 3))
    y = draw.choice([0, 0.5, 1], 120)

    def loss(b):
        p = sigmoid(x @ b)
        return -(y * np.log(p) + (1 - y) * np.log(1 - p)).sum() + 0.5 * b @ b

    wanted = minimize(loss, np.zeros(3), tol=1e-12).x
    assert fit_logistic(x, y, ridge=1.0) == pytest.approx(wanted, abs=1e-5)


def test_strengths_of_simulated_systems():
    draw = np.random.default_rng(5)
    true = {"a": 0.9, "b": 0.2, "c": -0.3, "d": -0.8}
    names = list(true)
    contests = [
        Contest(
            a=one,
            b=other,
            win=float(draw.random() < sigmoid(np.asarray(true[one] - true[other]))),
            cluster=str(n % 40),
        )
        for n in range(400)
        for one, other in [tuple(draw.permutation(names)[:2])]
    ]
    found = strengths(contests)
    assert sum(one.estimate for one in found.values()) == pytest.approx(0, abs=1e-9)
    assert next(iter(found)) == "a"
    for name, interval in found.items():
        assert interval.low - 0.25 < true[name] < interval.high + 0.25
        assert interval.estimate == pytest.approx(true[name], abs=0.4)
    mirrored = strengths(
        [Contest(a=c.b, b=c.a, win=1 - c.win, cluster=c.cluster) for c in contests]
    )
    assert mirrored["a"].estimate == pytest.approx(found["a"].estimate, abs=1e-8)


def test_two_systems_have_the_log_odds_of_their_win_rate():
    contests = [Contest(a="x", b="y", win=float(n < 15), cluster=str(n)) for n in range(20)]
    found = strengths(contests)
    assert found["x"].estimate - found["y"].estimate == pytest.approx(math.log(3), abs=1e-2)


def test_systems_that_never_met_have_no_common_scale():
    contests = [
        Contest(a="a", b="b", win=1.0, cluster="1"),
        Contest(a="c", b="d", win=1.0, cluster="2"),
    ]
    with pytest.raises(EvaluationError, match="systems-not-compared"):
        strengths(contests)


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 8)), min_size=2, max_size=40))
def test_the_jackknife_of_a_mean_is_that_of_ratios(rows):
    values, clusters = np.asarray([v for v, _ in rows]), [str(c) for _, c in rows]
    found = jackknife(lambda index: float(values[index].mean()), clusters)
    wanted = clustered_mean(values, clusters)
    assert found.estimate == pytest.approx(wanted.estimate, abs=1e-9)
    if wanted.se is None:
        assert found.low is None
    else:
        assert found.se == pytest.approx(wanted.se, abs=1e-9)
        assert found.df == pytest.approx(wanted.df)
    (together,) = jackknife_all(lambda index: values[index].mean(keepdims=True), clusters)
    assert together.estimate == pytest.approx(found.estimate)


def test_many_clusters_are_put_into_groups():
    values = np.random.default_rng(6).normal(size=3 * MOST_GROUPS)
    calls = []

    def mean(index):
        calls.append(len(index))
        return float(values[index].mean())

    found = jackknife(mean, [f"{n:04}" for n in range(len(values))])
    assert len(calls) == MOST_GROUPS + 1
    plain = clustered_mean(values, [str(n) for n in range(len(values))])
    assert found.se == pytest.approx(plain.se, rel=0.2)


LABELS = (-1, 0, 1)


def people(n=200, seed=0, noise=0.2):
    """Three people and the truth they see through noise."""
    draw = np.random.default_rng(seed)
    truth = draw.choice([-1, 1, 0], n, p=[0.45, 0.45, 0.1])
    seen = [np.where(draw.random(n) < noise, draw.choice(LABELS, n), truth) for _ in range(4)]
    return {f"p{r}": seen[r].tolist() for r in range(3)}, seen[3].tolist()


def test_a_judge_as_noisy_as_people_reaches_their_ceiling():
    raters, judge = people(600)
    clusters = [str(n % 30) for n in range(600)]
    found = judge_against_people(judge, raters, LABELS, clusters)
    ceiling = found["people"]["one_against_others"]["kappa"]
    own = found["in_place"]["kappa"]
    assert own["value"] == pytest.approx(ceiling["value"], abs=0.05)
    assert own["low"] < own["value"] < own["high"]
    assert found["failed"] == 0
    assert set(found["people"]["pairs"]) == {"p0 and p1", "p0 and p2", "p1 and p2"}


def test_random_judges_agree_with_nobody_and_failures_are_counted():
    raters, _ = people(400)
    draw = np.random.default_rng(9)
    judge = [None if n < 7 else int(draw.choice(LABELS)) for n in range(400)]
    found = judge_against_people(judge, raters, LABELS, [str(n % 40) for n in range(400)])
    assert found["failed"] == 7
    assert abs(found["majority"]["kappa"]["value"]) < 0.1
    assert found["majority"]["kappa"]["low"] < 0 < found["majority"]["kappa"]["high"]
    assert found["majority"]["n"] + found["without_majority"] + 7 >= 400


def test_the_order_of_people_does_not_matter():
    raters, judge = people(80)
    clusters = [str(n % 16) for n in range(80)]
    measure = partial(judge_against_people, judge, categories=LABELS, clusters=clusters)
    one, other = measure(raters=raters), measure(raters=dict(reversed(raters.items())))
    for key in ("agreement", "kappa", "kappa_linear"):
        assert one["in_place"][key] == pytest.approx(other["in_place"][key])
    assert one["people"]["alpha_nominal"] == pytest.approx(other["people"]["alpha_nominal"])


def test_people_who_always_agree_have_kappa_and_alpha_one():
    labels = [1, -1, 0, 1] * 10
    found = panel(dict.fromkeys("xyz", labels), LABELS, [str(n % 20) for n in range(40)])
    assert found["alpha_nominal"]["value"] == found["alpha_ordinal"]["value"] == 1
    assert found["pairs"]["x and y"]["kappa"] == {"value": 1, "low": 1, "high": 1}
    assert found["unanimous"] == 1


def test_a_single_person_has_no_ceiling():
    found = judge_against_people([1, 0, -1], {"p": [1, 0, 1]}, LABELS, ["a", "b", "c"])
    assert found["people"] is None
    assert found["in_place"] is None
    assert found["majority"]["agreement"]["value"] == pytest.approx(2 / 3)


def test_what_is_not_defined_is_null():
    found = agreement([1, 1], [1, 1], LABELS, ["a", "b"])
    assert found["kappa"] == {"value": None, "low": None, "high": None}
    with pytest.raises(ValueError, match="rated by both"):
        agreement([None], [1], LABELS, ["a"])
