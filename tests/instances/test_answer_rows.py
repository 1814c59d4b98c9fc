"""Rows with judged answers: pytest tests/instances/test_answer_rows.py."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.answer_rows import ANSWER_CONVERSIONS, VOTES
from regimen.instances.answer_sets import AnswerSet, PairRule, pairs_of
from regimen.instances.formats import Record, read_source
from regimen.instances.readers import RowFailure
from regimen.instances.turns import Unusable
from regimen.records import Instance, Lineage


def read(folder: Path, *rows: Any, **options: Any) -> list[Record]:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return list(read_source(file, **options))


def one_set(folder: Path, row: Any, **options: Any) -> AnswerSet:
    (found,) = read(folder, row, **options)
    assert isinstance(found, AnswerSet), found
    return found


def scores(found: AnswerSet) -> list[tuple[str, float | None]]:
    return [(one.turns[0].text, one.score) for one in found.answers]


ULTRA = {
    "instruction": "q",
    "completions": [
        {
            "model": "m1",
            "response": "a",
            "overall_score": 4.0,
            "annotations": {"honesty": {"Rating": "5"}, "helpfulness": {"Rating": "3"}},
        },
        {
            "model": "m2",
            "response": "b",
            "overall_score": 7.5,
            "annotations": {"honesty": {"Rating": "N/A"}, "helpfulness": {"Rating": "5"}},
        },
    ],
}


@pytest.mark.parametrize(
    ("row", "kind", "expected"),
    [
        ({"answers": ["a", "b"]}, "ranks", [0.0, -1.0]),
        ({"answers": ["a", "b"], "ranks": [2, 1]}, "ranks", [-2.0, -1.0]),
        ({"answers": ["a", "b"], "scores": [1, "3.5"]}, "scores", [1.0, 3.5]),
        ({"answers": [{"text": "a", "rank": 1}, {"text": "b"}]}, "ranks", [-1.0, None]),
        ({"answers": [{"text": "a", "score": 2}, {"answer": "b", "rating": 1}]},
         "scores", [2.0, 1.0]),
        ({"answers": [{"text": "a", "breaks": []}, {"text": "b", "breaks": ["no threats"]}]},
         "rules", [0.0, -1.0]),
        ({"answers": [{"text": "a", "breaks": {"r1": True, "r2": False}}, {"text": "b"}]},
         "rules", [-1.0, None]),
        ({"answers": [[{"role": "assistant", "content": "a"}],
                      {"role": "assistant", "content": "b"}]}, "ranks", [0.0, -1.0]),
    ],
)  # fmt: skip
def test_ranked_answers_in_every_spelling(
    tmp_path: Path, row: Any, kind: str, expected: list[float | None]
) -> None:
    found = one_set(tmp_path, {"prompt": "q", **row})
    assert found.kind == kind
    assert scores(found) == list(zip("ab", expected, strict=True))
    assert [m.text for m in found.prompt] == ["q"]


def test_ratings_by_the_overall_score_and_by_aspects(tmp_path: Path) -> None:
    whole = one_set(tmp_path, ULTRA)
    assert (whole.kind, scores(whole)) == ("scores", [("a", 4.0), ("b", 7.5)])
    assert [one.author for one in whole.answers] == ["m1", "m2"]
    (pair,) = pairs_of(whole, PairRule()).kept
    assert (pair.chosen[0].text, pair.margin, pair.lineage.generator) == ("b", 3.5, "m2")
    assert pairs_of(whole, PairRule(min_margin=4)).dropped[0].reason == "tie"
    helpful = one_set(tmp_path, ULTRA, pairs=PairRule(aspects=("helpfulness",)))
    assert scores(helpful) == [("a", 3.0), ("b", 5.0)]
    both = one_set(tmp_path, ULTRA, pairs=PairRule(aspects=("helpfulness", "honesty")))
    assert scores(both) == [("a", 4.0), ("b", None)]


@pytest.mark.parametrize(
    ("labels", "margin"),
    [
        (["a", "a", "b"], 1 / 3),
        (["a", 1, "tie"], 2 / 3),
        (["b", "2", 2], -1.0),
        (["model_a", None, ""], 1.0),
        (["a", "b", "tie"], 0.0),
        (["a", "tie", 0], 0.0),
        (["a", "a", "b", "b"], 0.0),
    ],
)
def test_the_verdict_of_most_annotators_decides(
    tmp_path: Path, labels: list[Any], margin: float
) -> None:
    found = one_set(tmp_path, {"prompt": "q", "a": "x", "b": "y", "labels": labels})
    made = pairs_of(found, PairRule())
    if margin == 0:
        assert [lost.reason for lost in made.dropped] == ["tie"]
        return
    (pair,) = made.kept
    assert pair.chosen[0].text == ("x" if margin > 0 else "y")
    assert pair.margin == pytest.approx(abs(margin))


@given(st.lists(st.none() | st.sampled_from(list(VOTES)), min_size=1, max_size=7))
def test_votes_are_counted_and_turn_round_with_the_answers(labels: list[str | None]) -> None:
    turned = {1: "b", -1: "a", 0: "tie"}
    other = [None if x is None else turned[VOTES[x]] for x in labels]
    row = {"prompt": "q", "a": "x", "b": "y"}
    convert = ANSWER_CONVERSIONS["compared"]
    if not any(labels):
        with pytest.raises(Unusable):
            convert({**row, "labels": labels}, Lineage(), 1.0, PairRule())
        return
    one = convert({**row, "labels": labels}, Lineage(), 1.0, PairRule())
    two = convert({"prompt": "q", "a": "y", "b": "x", "labels": other}, Lineage(), 1.0, PairRule())
    first, second = (pairs_of(found, PairRule()) for found in (one, two))
    assert [p.content_id for p in first.kept] == [p.content_id for p in second.kept]
    said = [VOTES[x] for x in labels if x is not None]
    counts = "-".join(str(said.count(side)) for side in (1, 0, -1))
    assert one.lineage.verdicts == (f"votes:{counts}",)


def test_annotators_in_columns_of_their_own(tmp_path: Path) -> None:
    row = {"prompt": "q", "response1": "x", "response2": "y", "ann": 1, "bob": 0, "cy": 1}
    found = one_set(
        tmp_path,
        row,
        format="compared",
        columns={"a": "response1", "b": "response2"},
        pairs=PairRule(annotators=("ann", "bob", "cy")),
    )
    assert found.votes == (1, 0, 1)


def test_labelled_rows_of_a_prompt_are_compared(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "z"}]
    found = read(
        tmp_path,
        {"prompt": "q", "completion": "x", "label": True},
        {"prompt": "other", "completion": "x", "label": "bad"},
        {"prompt": "q", "completion": "y", "label": 0},
        {"messages": chat, "label": "false"},
        format="labelled",
    )
    assert all(isinstance(one, AnswerSet) and one.loose for one in found)
    sets = [one for one in found if isinstance(one, AnswerSet)]
    assert [one.answers[0].score for one in sets] == [1.0, 0.0, 0.0, 0.0]
    assert sets[3].prompt_id == sets[0].prompt_id


@pytest.mark.parametrize(
    ("row", "slug"),
    [
        ({"answers": "a"}, "not_answers"),
        ({"answers": []}, "not_answers"),
        ({"answers": ["a", "b"], "ranks": [1]}, "bad_scores"),
        ({"answers": [{"text": "a"}, {"text": "b"}]}, "bad_scores"),
        ({"answers": [{"text": "a", "breaks": 3}]}, "bad_rules"),
        ({"answers": [[{"role": "user", "content": "a"}], "b"]}, "no_answer"),
        ({"answers": [{"text": ["a"], "score": 1}, "b"]}, "answer_not_text"),
        ({"prompt": "", "answers": ["a", "b"]}, "no_question"),
        ({"prompt": [{"role": "assistant", "content": "a"}], "answers": ["a", "b"]},
         "no_question"),
        ({"a": "x", "b": "y"}, "no_votes"),
        ({"a": "x", "b": "y", "label": "neither of them"}, "bad_vote"),
        ({"completion": "x"}, "no_label"),
        ({"completion": "x", "label": "perhaps"}, "no_label"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_compared_are_named(tmp_path: Path, row: Any, slug: str) -> None:
    row = {"prompt": "q", **row}
    name = "ranked" if "answers" in row else "compared" if "a" in row else "labelled"
    good = {"answers": ["x", "y"], "a": "x", "b": "y", "label": 1, "completion": "x"}
    found = read(tmp_path, {"prompt": "q", **good}, row, format=name)
    assert isinstance(found[1], RowFailure), found[1]
    assert (found[1].row, found[1].error) == (2, slug)
    assert found[1].got
    assert found[1].fix


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "a", "1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "rank", "score", "breaks", "annotations"]),
            inner | st.sampled_from(["user", "assistant"]),
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(
    name=st.sampled_from(sorted(ANSWER_CONVERSIONS)),
    row=st.dictionaries(
        st.sampled_from(
            [
                *("prompt", "messages", "answers", "completions", "ranks", "scores", "a", "b"),
                *("labels", "label", "completion", "score", "breaks", "honesty"),
            ]
        ),
        json_values,
    ),
    aspects=st.sampled_from([(), ("honesty",)]),
)
def test_no_row_whatever_its_values_ends_in_a_traceback(
    name: str, row: dict[str, Any], aspects: tuple[str, ...]
) -> None:
    try:
        found = ANSWER_CONVERSIONS[name](row, Lineage(), 1.0, PairRule(aspects=aspects))
        said = ("record", str(pairs_of(found, PairRule()).compared))
    except Unusable as problem:
        said = (problem.error, problem.fix)
    assert all(said)


def test_formats_are_told_by_their_columns(tmp_path: Path) -> None:
    assert one_set(tmp_path, {"prompt": "q", "answers": ["a", "b"]}).kind == "ranks"
    assert one_set(tmp_path, {"prompt": "q", "a": "x", "b": "y", "label": "a"}).kind == "votes"
    with pytest.raises(DataError, match="no column 'b'") as raised:
        read(tmp_path, {"prompt": "q", "a": "x"}, format="compared")
    assert raised.value.slug == "unknown-columns"


def test_answers_to_real_queries_keep_their_author(tmp_path: Path) -> None:
    rows = [
        {"query": "q", "answer": "a", "author": "ann"},
        {"query": "q", "answer": "b", "author": "bob"},
        {"query": "open", "answer": "", "author": ""},
    ]
    first, second, third = read(tmp_path, *rows)
    assert isinstance(first, Instance)
    assert isinstance(second, Instance)
    assert isinstance(third, RowFailure)
    assert [m.text for m in first.messages] == ["q", "a"]
    assert (first.lineage.generator, second.lineage.generator) == ("ann", "bob")
    assert third.error == "no_answer"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "options", "sets", "failed"),
    [
        ("llama-factory-demos/oaast_rm_zh.json.zst",
         {"format": "ranked", "columns": {"answers": "output"}}, 775, {}),
        ("llama-factory-demos/kto_en_demo.json.zst", {"format": "labelled"}, 300, {}),
        ("llama-factory-demos/kto-mix-test.json.zst",
         {"format": "labelled", "columns": {"completion": "output", "label": "tag"}}, None, {}),
        ("alpaca-eval-prefs/results__vicuna-13b__alpaca_eval_gpt4__annotations.json.zst",
         {"format": "compared", "columns": {"a": "output_1", "b": "output_2",
                                            "label": "preference"}}, 805, {}),
    ],
)  # fmt: skip
def test_real_rows_are_sets_or_counted_failures(
    shared_data: Path, file: str, options: Any, sets: int | None, failed: dict[str, int]
) -> None:
    found = list(read_source(shared_data / file, **options))
    assert Counter(r.error for r in found if isinstance(r, RowFailure)) == failed
    kept = [one for one in found if isinstance(one, AnswerSet)]
    assert len(kept) == len(found) > 0
    assert sets is None or len(kept) == sets
