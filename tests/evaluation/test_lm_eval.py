"""lm-eval's requests and results, without lm-eval. Run: pytest tests/evaluation/test_lm_eval.py"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError
from regimen.evaluation.lm_eval_requests import fit_left, generation, shared_rows
from regimen.evaluation.lm_eval_results import lm_eval_tasks

IDS = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)


@given(st.lists(st.tuples(IDS, IDS), max_size=12))
def test_every_pair_is_in_its_place_and_no_context_twice(pairs):
    rows, places = shared_rows(pairs)
    assert len({row.prefix for row in rows}) == len(rows)
    assert sum(len(row.rests) for row in rows) == len(pairs)
    for (context, continuation), (row, place) in zip(pairs, places, strict=True):
        assert rows[row].prefix == context
        assert rows[row].rests[place].ids == continuation


@given(IDS, IDS, st.integers(6, 14))
def test_what_is_read_fits_and_the_end_is_kept(context, continuation, most):
    found = fit_left(context, continuation, most)
    assert len(found.context) + len(found.continuation) - 1 <= most
    assert len(found.context) >= 1
    assert found.continuation == continuation
    assert found.context == context[found.lost :]
    assert (found.lost > 0) == (len(context) + len(continuation) > most + 1)


def test_a_continuation_beyond_the_context_is_an_error():
    with pytest.raises(EvaluationError) as error:
        fit_left([1], list(range(9)), 8)
    assert error.value.slug == "continuation-too-long"


@pytest.mark.parametrize(
    ("settings", "until", "tokens", "temperature", "top_p"),
    [
        ({}, (), 99, 0.0, 1.0),
        ({"until": "\n"}, ("\n",), 99, 0.0, 1.0),
        ({"until": ["a", "b"], "max_gen_toks": 5}, ("a", "b"), 5, 0.0, 1.0),
        ({"max_new_tokens": 7, "do_sample": False, "temperature": 0.7}, (), 7, 0.0, 1.0),
        ({"do_sample": True, "temperature": 0.7, "top_p": 0.9}, (), 99, 0.7, 0.9),
        ({"do_sample": True}, (), 99, 1.0, 1.0),
        ({"temperature": 0.5}, (), 99, 0.5, 1.0),
        ({"do_sample": False, "top_k": 50, "num_beams": 1}, (), 99, 0.0, 1.0),
    ],
)
def test_what_a_task_asks_for(settings, until, tokens, temperature, top_p):
    found = generation(settings, 99)
    assert (found.until, found.max_tokens) == (until, tokens)
    assert (found.temperature, found.top_p) == (temperature, top_p)


@pytest.mark.parametrize(
    "settings",
    [{"num_beams": 4}, {"repetition_penalty": 1.2}, {"do_sample": True, "top_k": 5}, {"odd": 1}],
)
def test_other_ways_to_choose_tokens_are_refused(settings):
    with pytest.raises(EvaluationError) as error:
        generation(settings, 99)
    assert error.value.slug == "generation-unsupported"
    assert next(iter(settings)) in error.value.got or "top_k" in error.value.got


def results(scores, *, filters=("none",), name="acc", score=None, higher=True):
    samples = [
        {"doc_id": n, "filter": filter_, name: value}
        for filter_ in filters
        for n, value in enumerate(scores)
    ]
    plain = [value for value in scores if isinstance(value, int | float)]
    mean = sum(plain) / max(len(plain), 1) if score is None else score
    entry = {"alias": "quiz", "sample_len": len(scores)}
    for filter_ in filters:
        entry |= {f"{name},{filter_}": mean, f"{name}_stderr,{filter_}": 0.1}
    return {
        "results": {"quiz": entry},
        "samples": {"quiz": samples},
        "n-samples": {"quiz": {"original": 500, "effective": len(scores)}},
        "higher_is_better": {"quiz": {name: higher}},
    }


PAIRS = [("tuned", "base")]


def test_the_block_that_programs_read():
    base = results([0, 1] * 10, filters=("strict", "loose"))
    tuned = results([1] * 20, filters=("strict", "loose"))
    block = lm_eval_tasks({"base": base, "tuned": tuned}, PAIRS, seeds=3)
    assert json.loads(json.dumps(block, allow_nan=False)) == block
    quiz = block["quiz"]
    assert quiz["n"] == 20
    assert set(quiz["metrics"]) == {"acc,strict", "acc,loose"}
    acc = quiz["metrics"]["acc,strict"]
    assert (acc["filter"], acc["higher_is_better"]) == ("strict", True)
    assert acc["systems"]["base"] == {"score": 0.5, "stderr": 0.1}
    paired = acc["paired"]["tuned-base"]
    assert paired["difference"] == 0.5
    assert (paired["verdict"], paired["clusters"], paired["seeds"]) == ("better", 20, 3)


def test_a_smaller_number_can_be_the_better_one():
    base = results([3.0, 4.0] * 8, higher=False)
    tuned = results([1.0, 1.5] * 8, higher=False)
    block = lm_eval_tasks({"base": base, "tuned": tuned}, PAIRS)
    assert block["quiz"]["metrics"]["acc,none"]["paired"]["tuned-base"]["verdict"] == "better"


@pytest.mark.parametrize(
    "tuned",
    [
        results([1, 1, 1], score=0.2),  # the score is no mean of the documents
        results([(1, 2), (3, 4), (5, 6)], score=0.2),  # parts of a corpus score
        results([1, 1]),  # other documents
        results([1, float("nan"), 1], score=0.9),
    ],
)
def test_what_is_no_number_of_each_document_is_not_compared(tuned):
    block = lm_eval_tasks({"base": results([1, 0, 1]), "tuned": tuned}, PAIRS)
    acc = block["quiz"]["metrics"]["acc,none"]
    assert acc["paired"] == {}
    assert set(acc["systems"]) == {"base", "tuned"}


def test_scores_and_errors_that_are_not_there_are_null():
    one = results([1, 0])
    one["results"]["quiz"]["acc_stderr,none"] = "N/A"
    block = lm_eval_tasks({"base": one}, [])
    assert block["quiz"]["metrics"]["acc,none"]["systems"]["base"]["stderr"] is None


def test_a_group_has_a_score_and_no_documents_of_its_own():
    one = results([1, 0])
    one["results"]["all"] = {"alias": "all", "acc,none": 0.5, "acc_stderr,none": 0.2}
    block = lm_eval_tasks({"base": one, "tuned": one}, PAIRS)
    assert block["all"]["n"] is None
    assert block["all"]["metrics"]["acc,none"]["paired"] == {}
