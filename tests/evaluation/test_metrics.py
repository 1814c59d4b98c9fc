"""Metrics of a suite and what they need. Run: pytest tests/evaluation/test_metrics.py"""

from dataclasses import replace

import pytest

from regimen.errors import EvaluationError
from regimen.evaluation.metrics import UNSCORED, Metrics, metrics_named, require_fields
from regimen.records import Constraint, Item, Lineage, Message


def yes(answer, item):
    return 1.0


ITEM = Item(
    suite="s",
    messages=(Message(role="user", content="Say it."),),
    references=("it",),
    choices=("it", "that"),
    constraints=(Constraint(kind="length"),),
    lineage=Lineage(task="t", row=4),
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"primary": "f1"}, "primary"),
        ({"primary": ""}, "primary"),
        ({"scorers": {}}, "primary"),
        ({"scorers": {"exact": yes, "failed": yes}}, "named"),
        ({"right_at": 0.0}, "right_at"),
        ({"right_at": 1.5}, "right_at"),
    ],
)
def test_wrong_metrics(changes, words):
    with pytest.raises(ValueError, match=words):
        Metrics(**{"primary": "exact", "scorers": {"exact": yes}, **changes})


@pytest.mark.parametrize(
    ("need", "slug"),
    [
        ("references", "item-without-reference"),
        ("choices", "item-without-choices"),
        ("constraints", "item-without-constraints"),
    ],
)
def test_items_have_what_their_metrics_need(need, slug):
    metrics = Metrics(primary="m", scorers={"m": yes}, needs=frozenset({need}))
    require_fields([ITEM], metrics)
    with pytest.raises(EvaluationError) as caught:
        require_fields([ITEM, replace(ITEM, **{need: ()})], metrics)
    assert caught.value.slug == slug
    assert "1 of 2" in caught.value.what
    assert "row 4" in caught.value.got


def test_answers_that_are_not_scored_need_nothing():
    assert not UNSCORED.scored
    require_fields([replace(ITEM, references=(), choices=(), constraints=())], UNSCORED)


def test_scorers_by_name_bring_what_they_need():
    metrics = metrics_named("choice", "unparsed", "json_valid")
    assert metrics.needs == {"references", "choices"}
    require_fields([ITEM], metrics)
    with pytest.raises(EvaluationError) as caught:
        require_fields([ITEM, replace(ITEM, choices=())], metrics)
    assert caught.value.slug == "item-without-choices"
    assert metrics_named("json_valid").needs == set()
    with pytest.raises(EvaluationError, match="unknown-scorer"):
        metrics_named("exact", "rouge")
