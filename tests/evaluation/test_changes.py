"""Did anything change. Run: pytest tests/evaluation/test_changes.py"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.evaluation.changes import BUCKETS, bucket, bucket_counts, changed


def test_the_block():
    before = {"a": "x", "b": "y", "c": "z", "d": "w"}
    after = {**before, "a": "new"}
    assert changed(before, after, 12, 0.25) == {
        "adapter_tensors": 12,
        "answers_compared": 4,
        "answers_differing": 1,
        "share_differing": 0.25,
        "mean_abs_delta_logp": 0.25,
    }


@pytest.mark.parametrize(("tensors", "first"), [(0, "adapter was not"), (8, "template mismatch")])
def test_nothing_changed_is_an_error_with_causes(tensors, first):
    answers = {"a": "x", "b": "y"}
    with pytest.raises(EvaluationError) as caught:
        changed(answers, dict(answers), tensors, 9e-7)
    error = caught.value
    assert error.slug == "nothing-changed"
    assert first in error.fix.split(";")[0]
    for cause in ("template", "learning rate of 0", "wrong checkpoint", "adapter"):
        assert cause in error.fix
    assert "0 of 2 answers" in error.got


def test_either_sign_of_change_is_enough():
    answers = {"a": "x"}
    assert changed(answers, answers, 0, 1e-6)["answers_differing"] == 0
    assert changed(answers, {"a": "y"}, 0, 0.0)["answers_differing"] == 1


@pytest.mark.parametrize("delta", [math.nan, math.inf, -1.0])
def test_a_change_that_is_not_a_number_is_an_error(delta):
    with pytest.raises(EvaluationError) as caught:
        changed({"a": "x"}, {"a": "y"}, 1, delta)
    assert caught.value.slug == "change-not-finite"


@pytest.mark.parametrize("other", [{}, {"b": "x"}, {"a": "x", "b": "x"}])
def test_answers_must_be_for_the_same_items(other):
    with pytest.raises(ValueError, match="same items"):
        changed({"a": "x"}, other, 1, 1.0)
    with pytest.raises(ValueError, match="same items"):
        changed({}, {}, 1, 1.0)


def test_buckets():
    counts = bucket_counts([1, 1, 0, 0, 0.9, 1], [1, 0, 1, 0, 0.5, 0])
    assert list(counts)[:4] == ["regressed", "fixed", "still_wrong", "still_right"]
    assert [counts[name] for name in BUCKETS] == [2, 1, 2, 1]
    assert counts["mcnemar_p"] == 1.0
    assert counts["mcnemar_mid_p"] == pytest.approx(1 - 3 / 8)
    assert bucket(0.6, 0.4, right_at=0.5) == "regressed"


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0]))))
def test_every_item_is_in_one_bucket(some):
    before, after = [a for a, _ in some], [b for _, b in some]
    counts = bucket_counts(before, after)
    assert sum(counts[name] for name in BUCKETS) == len(some)
    right = sum(score == 1 for score in after)
    assert counts["fixed"] + counts["still_right"] == right
    back = bucket_counts(after, before)
    assert (back["regressed"], back["fixed"]) == (counts["fixed"], counts["regressed"])
    assert back["mcnemar_mid_p"] == counts["mcnemar_mid_p"]
