"""The evaluation as a whole. Run: pytest tests/evaluation/test_runner.py"""

import json
import math

import pytest

from regimen.errors import EvaluationError
from regimen.evaluation.answers import TEXT_COLUMNS, answers_to_table
from regimen.evaluation.changes import Change
from regimen.evaluation.metrics import UNSCORED, Metrics
from regimen.evaluation.runner import evaluate
from regimen.evaluation.suites import ask_chat, copy_demonstration, copy_input
from regimen.evaluation.summaries import BASELINES, default_pairs
from regimen.evaluation.systems import ComputedSystem, GeneratedSystem
from regimen.protocols import Completion
from regimen.records import Example, Item, Lineage, Message


def make_items(suite="unseen_families", tasks=12, per_task=4):
    return [
        Item(
            suite=suite,
            messages=(Message(role="user", content=f"Double it.\n\nt{task} {n}"),),
            references=(f"t{task} {n} t{task} {n}", "either"),
            input=f"t{task} {n}",
            definition="Double it.",
            demonstrations=(Example(input="q", output="q q"),),
            lineage=Lineage(
                task=f"task-{task}",
                family=f"family-{task % 3}",
                category="text",
                language="en" if task % 2 else "",
            ),
        )
        for task in range(tasks)
        for n in range(per_task)
    ]


def exact(answer, item):
    return float(answer in item.references)


def overlap(answer, item):
    """Share of the first reference's words that the answer has."""
    words = item.references[0].split()
    return sum(word in answer.split() for word in words) / len(words)


SCORERS = {"exact": exact, "rouge_l": overlap}
METRICS = Metrics(primary="exact", scorers=SCORERS)


def with_scorers(**more):
    return Metrics(primary="exact", scorers={**SCORERS, **more})


class Script:
    name = "script"

    def __init__(self, answer):
        self.answer, self.calls = answer, 0

    def generate(self, requests):
        self.calls += 1
        for request in reversed(requests):
            yield request.id, self.answer(request.messages[0].text.split("\n\n")[-1])


def model(answer):
    return GeneratedSystem(Script(answer), ask_chat)


def wrong(text):
    return Completion(text="no idea", finish="length")


def doubles(text):
    # The last item of each task comes out wrong, so that scores have some spread.
    return Completion(text=text if text.endswith(" 3") and "1" in text else f"{text} {text}")


def systems(**changes):
    return {
        "base": model(wrong),
        "tuned": model(doubles),
        "copy_input": ComputedSystem(copy_input),
        "copy_demonstration": ComputedSystem(copy_demonstration),
        **changes,
    }


def test_the_shape_that_programs_read():
    change = Change(adapter_tensors=14, mean_abs_delta_logp=0.3)
    items = make_items() + make_items("unseen_languages", tasks=3)
    result = evaluate(items, systems(), METRICS, change=change, seeds=2)
    found = json.loads(json.dumps(result.to_json({"documents": 3}), allow_nan=False))
    assert list(found) == ["schema_version", "changed", "suites", "retention"]
    assert found["changed"]["answers_differing"] == 60
    assert found["changed"]["adapter_tensors"] == 14
    assert found["retention"] == {"documents": 3}
    assert list(found["suites"]) == ["unseen_families", "unseen_languages"]
    suite = found["suites"]["unseen_families"]
    assert (suite["items"], suite["clusters"], suite["duplicates"]) == (48, 12, 0)
    assert list(suite["systems"]) == ["base", "tuned", "copy_input", "copy_demonstration"]
    tuned = suite["systems"]["tuned"]
    assert tuned["low"] < tuned["score"] < tuned["high"] <= 1
    assert tuned["score"] == pytest.approx(45 / 48)
    assert tuned["rouge_l"] == 1.0
    assert (tuned["failed"], tuned["empty"], tuned["stop_rate"]) == (0, 0, 1.0)
    base = suite["systems"]["base"]
    assert base["finish"] == {"stop": 0, "length": 48, "error": 0}
    assert base["stop_rate"] == 0
    assert "stop_rate" not in suite["systems"]["copy_input"]
    assert list(suite["paired"]) == ["tuned-base", "tuned-copy_input", "tuned-copy_demonstration"]
    paired = suite["paired"]["tuned-base"]
    assert paired["difference"] == pytest.approx(45 / 48)
    assert 0 < paired["low"] < paired["difference"] < paired["high"]
    assert paired["verdict"] == "better"
    assert (paired["n"], paired["clusters"], paired["seeds"]) == (48, 12, 2)
    assert 0 < paired["resolvable"] < 0.5
    buckets = suite["buckets"]["tuned-base"]
    assert (buckets["regressed"], buckets["fixed"]) == (0, 45)
    assert (buckets["still_wrong"], buckets["still_right"]) == (3, 0)
    assert buckets["mcnemar_p"] == pytest.approx(2 * 0.5**45)
    assert list(suite["buckets"]) == ["tuned-base"]


def test_breakdowns_add_up_and_small_ones_say_nothing():
    suite = evaluate(make_items(), systems(), METRICS).suites["unseen_families"]
    assert list(suite["by_family"]) == ["family-0", "family-1", "family-2"]
    assert list(suite["by_language"]) == ["en", "unnamed"]
    for by in ("by_family", "by_category", "by_language"):
        cells = suite[by].values()
        assert sum(cell["items"] for cell in cells) == suite["items"]
        for name, whole in suite["systems"].items():
            weighed = sum(cell["items"] * cell["systems"][name]["score"] for cell in cells)
            assert weighed / suite["items"] == pytest.approx(whole["score"])
    family = suite["by_family"]["family-0"]
    assert family["clusters"] == 4
    assert family["paired"]["tuned-base"]["verdict"] == "no evidence"
    assert family["systems"]["tuned"]["rouge_l"] == 1.0


def test_every_answer_is_kept_with_what_was_asked():
    rows = evaluate(make_items(tasks=2), systems(), METRICS).rows
    assert len(rows) == 8 * 4
    first = rows[0].as_dict()
    assert first["system"] == "base"
    assert first["prompt"] == "Double it.\n\nt0 0"
    assert first["reference"] == "t0 0 t0 0 || either"
    assert (first["task"], first["cluster"], first["finish"]) == ("task-0", "task-0", "length")
    table = answers_to_table(rows)
    contract = "suite item_id system answer score rouge_l family category language task prompt "
    assert set((contract + "reference").split()) <= set(table.column_names)
    assert table.num_rows == 32
    assert table.schema.metadata[b"schema_version"] == b"1"
    scores = zip(table["system"].to_pylist(), table["score"].to_pylist(), strict=True)
    assert sum(score for system, score in scores if system == "tuned") == 7
    only = Metrics(primary="exact", scorers={"exact": exact})
    plain = answers_to_table(evaluate(make_items(tasks=1), systems(), only).rows)
    assert plain["rouge_l"].to_pylist() == [None] * 16
    columns = [*TEXT_COLUMNS, "row", "score", "rouge_l", "contaminated"]
    assert answers_to_table([]).column_names == columns


def test_failed_requests_score_0_and_are_counted():
    def flaky(text):
        if text.endswith(" 0"):
            return Completion(text="", finish="error", error="time-out")
        return Completion(text="") if text.endswith(" 1") else doubles(text)

    result = evaluate(make_items(), systems(tuned=model(flaky)), METRICS)
    suite = result.suites["unseen_families"]
    tuned = suite["systems"]["tuned"]
    assert (tuned["failed"], tuned["empty"]) == (12, 12)
    assert tuned["finish"] == {"stop": 36, "length": 0, "error": 12}
    assert tuned["stop_rate"] == 0.75
    assert suite["items"] == suite["paired"]["tuned-base"]["n"] == 48
    failed = [row for row in result.rows if row.error]
    assert {row.error for row in failed} == {"time-out"}
    assert {row.score for row in failed} == {0.0}
    assert len(failed) == 12


def test_a_scorer_that_raises_on_an_item_is_counted():
    def fussy(answer, item):
        if answer.endswith(" 2"):
            raise ValueError("cannot read a 2")
        return exact(answer, item)

    result = evaluate(make_items(), systems(), with_scorers(format=fussy))
    suite = result.suites["unseen_families"]
    assert suite["systems"]["tuned"]["scorer_errors"] == 12
    assert suite["systems"]["base"]["scorer_errors"] == 0
    assert suite["systems"]["tuned"]["format"] < suite["systems"]["tuned"]["score"]
    said = [row.error for row in result.rows if row.system == "tuned" and row.error]
    assert said == ["scorer format: ValueError: cannot read a 2"] * 12


def test_a_scorer_that_never_scores_is_an_error():
    with pytest.raises(EvaluationError) as caught:
        evaluate(make_items(), systems(), with_scorers(chrf=lambda answer, item: math.nan))
    assert caught.value.slug == "scorer-failed"
    assert "'chrf'" in caught.value.what


def test_nothing_changed_stops_before_anything_else_is_asked():
    other = Script(wrong)
    same = systems(tuned=model(wrong), other=GeneratedSystem(other, ask_chat))
    change = Change(adapter_tensors=0, mean_abs_delta_logp=0.0)
    with pytest.raises(EvaluationError) as caught:
        evaluate(make_items(), same, METRICS, change=change)
    assert caught.value.slug == "nothing-changed"
    assert other.calls == 0


def test_one_call_per_generator_whatever_the_number_of_suites():
    script = Script(doubles)
    ticks = []
    evaluate(
        make_items("a") + make_items("b"),
        {"tuned": GeneratedSystem(script, ask_chat)},
        METRICS,
        advance=ticks.append,
    )
    assert script.calls == 1
    assert sum(ticks) == 96


def test_repeated_items_count_once():
    items = make_items(tasks=2)
    suite = evaluate(items + items[:3], systems(), METRICS).suites["unseen_families"]
    assert (suite["items"], suite["duplicates"]) == (8, 3)


def test_default_pairs():
    assert default_pairs(["base", "tuned", "base_prompted", "aligned"]) == (
        ("tuned", "base"),
        ("tuned", "base_prompted"),
        ("aligned", "base"),
        ("aligned", "base_prompted"),
        ("aligned", "tuned"),
    )
    assert default_pairs(list(BASELINES)) == ()


def test_aligned_against_tuned_has_buckets_too():
    suite = evaluate(make_items(), systems(aligned=model(wrong)), METRICS).suites
    block = suite["unseen_families"]
    assert list(block["buckets"]) == ["tuned-base", "aligned-base", "aligned-tuned"]
    assert block["buckets"]["aligned-tuned"]["regressed"] == 45
    assert block["paired"]["aligned-tuned"]["verdict"] == "worse"


def test_a_single_item_is_reported_without_interval():
    items = make_items(tasks=1, per_task=1)
    suite = evaluate(items, systems(), METRICS).suites["unseen_families"]
    assert suite["systems"]["tuned"] == {
        "score": 1.0,
        "low": None,
        "high": None,
        "rouge_l": 1.0,
        "failed": 0,
        "empty": 0,
        "scorer_errors": 0,
        "stop_rate": 1.0,
        "stop_low": None,
        "stop_high": None,
        "finish": {"stop": 1, "length": 0, "error": 0},
    }
    assert suite["paired"]["tuned-base"]["verdict"] == "no evidence"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pairs": [("tuned", "best")]}, "best"),
        ({"change": Change(adapter_tensors=1, mean_abs_delta_logp=1, after="lost")}, "lost"),
        ({"systems": {}}, "lack"),
    ],
)
def test_wrong_calls(changes, words):
    call = {"systems": systems(), "metrics": METRICS, **changes}
    with pytest.raises(ValueError, match=words):
        evaluate(make_items(), **call)


def test_an_empty_suite_is_an_error():
    with pytest.raises(EvaluationError) as caught:
        evaluate([], systems(), METRICS)
    assert caught.value.slug == "no-items"


def test_each_suite_has_its_own_metrics():
    items = make_items("a") + make_items("b") + make_items("c", tasks=2)
    graded = Metrics(primary="overlap", scorers={"overlap": overlap}, right_at=0.5)
    result = evaluate(
        items, systems(), METRICS, suite_metrics={"b": graded, "c": UNSCORED, "absent": graded}
    )
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))["suites"]
    assert [found[name]["metric"] for name in "abc"] == ["exact", "overlap", None]
    assert [found[name]["right_at"] for name in "ab"] == [1.0, 0.5]
    # All words are there in half of the answer already: every item of b is right.
    assert found["a"]["buckets"]["tuned-base"]["still_wrong"] == 3
    assert found["b"]["buckets"]["tuned-base"]["fixed"] == 48
    assert found["b"]["systems"]["tuned"]["score"] == 1.0
    assert "rouge_l" not in found["b"]["systems"]["tuned"]
    unscored = found["c"]
    assert (unscored["paired"], unscored["buckets"]) == ({}, {})
    tuned = unscored["systems"]["tuned"]
    assert (tuned["score"], tuned["low"], tuned["stop_rate"], tuned["failed"]) == (None, None, 1, 0)
    assert list(unscored["by_family"]["family-0"]["systems"]) == list(found["a"]["systems"])
    table = answers_to_table(result.rows)
    by_suite = dict(zip(table["suite"].to_pylist(), table["metric"].to_pylist(), strict=True))
    assert by_suite == {"a": "exact", "b": "overlap", "c": ""}
    assert [row.score for row in result.rows if row.suite == "c"] == [None] * 32


def test_answers_stand_beside_the_items():
    result = evaluate(make_items("a", 2) + make_items("b", 1), systems(), METRICS)
    assert [item.suite for item in result.items] == ["a"] * 8 + ["b"] * 4
    for item, answer in zip(result.items, result.answers["copy_input"], strict=True):
        assert answer.text == item.input
