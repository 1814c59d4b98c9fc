"""How far apart two results are, and what that means."""

import math

import torch

from regimen.verifying.outcomes import (
    Measurement,
    Outcome,
    gradient_difference,
    logit_difference,
    not_applicable,
    not_run,
)

ONES = torch.ones(4)


def test_a_tensor_is_measured_against_its_own_norm():
    theirs = {"large": 1000 * ONES, "small": 100 * ONES}
    ours = {"large": 1000 * ONES, "small": 101 * ONES}
    difference, where = gradient_difference(ours, theirs)
    assert (round(difference, 6), where) == (0.01, "small")


def test_what_is_only_rounding_counts_little():
    theirs = {"large": ONES, "zero": 1e-9 * ONES}
    difference, _ = gradient_difference({"large": ONES, "zero": -1e-9 * ONES}, theirs)
    assert difference < 1e-6


def test_a_missing_gradient_counts_whole():
    assert gradient_difference({"a": ONES}, {"a": ONES, "b": ONES}) == (1.0, "b")
    difference, where = gradient_difference({"a": ONES, "b": ONES}, {"a": ONES})
    assert difference > 1.0
    assert where == "b"


def test_nothing_to_compare_with_is_no_agreement():
    zero = {"a": 0 * ONES}
    assert gradient_difference(zero, zero)[0] == math.inf
    difference, where = gradient_difference({"a": math.nan * ONES}, {"a": ONES})
    assert math.isnan(difference)
    assert where == "a"
    assert not Measurement("", difference, 1.0).holds


def test_logits_are_compared_in_the_columns_that_both_have():
    theirs = torch.tensor([[1.0, -2.0]])
    assert logit_difference(torch.tensor([[1.5, -2.0, 9.0]]), theirs) == 0.25


def test_one_broken_measurement_breaks_a_contract():
    fine, off = Measurement("a", 0.0, 0.0), Measurement("b", 1e-3, 1e-4)
    assert Outcome((fine,)).verdict == "holds"
    assert Outcome((fine, off)).verdict == "broken"
    assert not_run("x").verdict == "not run"
    assert not_applicable("x").verdict == "not applicable"
