"""pytest tests/reports/test_buckets.py"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from regimen.evaluation import changes
from regimen.reports.buckets import LONGEST, bucket, read_scores, sample_answers
from regimen.reports.evidence import BUCKETS


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_buckets_are_those_of_the_evaluation(before: float, after: float) -> None:
    assert bucket(before, after) == changes.bucket(before, after)


def test_bucket_names_are_those_of_the_evaluation() -> None:
    assert BUCKETS == changes.BUCKETS


def write(path: Path, moves: list[tuple[str, float, float]]) -> Path:
    rows = [
        {"suite": suite, "item_id": f"{suite}{i}", "system": system, "answer": f"{system}{i}",
         "score": score, "family": "f", "language": "en", "task": "t", "prompt": f"ask {system}",
         "reference": "r", "error": ""}
        for i, (suite, *scores) in enumerate(moves)
        for system, score in zip(("base", "tuned"), scores, strict=True)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_regressed_come_first_and_suites_take_turns(tmp_path: Path) -> None:
    each = [(1.0, 0.0)] * 5 + [(0.0, 1.0)] * 40 + [(0.0, 0.0)] * 40 + [(1.0, 1.0)] * 2
    moves = [(suite, *move) for suite in ("a", "b") for move in each]
    path = write(tmp_path / "answers.parquet", moves)
    rows = sample_answers(path, read_scores(path), "base", "tuned", size=20)
    names = [row.bucket for row in rows]
    assert len(rows) == 20
    assert names == sorted(names, key=BUCKETS.index)
    assert {name: names.count(name) for name in BUCKETS} == {
        "regressed": 7, "fixed": 6, "still_wrong": 4, "still_right": 3,
    }  # fmt: skip
    assert [row.suite for row in rows[:4]] == ["a", "b", "a", "b"]
    assert rows[0].prompt == "ask tuned"
    assert {row.answers["base"].score for row in rows[:7]} == {1.0}


def test_items_carry_their_nearest_training_rows_and_the_flag(tmp_path: Path) -> None:
    path = write(tmp_path / "answers.parquet", [("a", 0.0, 1.0), ("a", 1.0, 0.0)])
    near = [
        {"item_id": "a0", "side": side, "rank": rank, "instance_id": f"{side}{rank}", "row": 4,
         "similarity": 1 / rank, "source": "own.jsonl", "task": "t", "text": "x" * n}
        for side in ("prompt", "answer")
        for rank, n in ((1, 5000), (2, 3), (3, 3))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(near), tmp_path / "nearest.parquet")
    flags = [row["item_id"] == "a0" for row in pq.read_table(path).to_pylist()]
    flagged = pq.read_table(path).append_column("contaminated", pa.array(flags))
    pq.write_table(flagged, path)
    regressed, fixed = sample_answers(path, read_scores(path), "base", "tuned")
    assert (regressed.contaminated, regressed.nearest) == (False, ())
    assert fixed.contaminated is True
    shown = [one.instance_id for one in fixed.nearest]
    assert shown == ["prompt1", "prompt2", "answer1", "answer2"]
    assert fixed.nearest[0].origin == "own.jsonl:4 t"
    assert len(fixed.nearest[0].text) == LONGEST


def test_what_a_bucket_does_not_use_goes_to_the_others(tmp_path: Path) -> None:
    path = write(tmp_path / "answers.parquet", [("a", 0.0, 0.0)] * 30)
    assert len(sample_answers(path, read_scores(path), "base", "tuned", size=20)) == 20


def test_a_sample_is_the_same_each_time(tmp_path: Path) -> None:
    path = write(tmp_path / "answers.parquet", [("a", 0.0, float(i % 2)) for i in range(99)])
    first, again = (sample_answers(path, read_scores(path), "base", "tuned") for _ in range(2))
    assert first == again


def test_only_the_named_suites_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "answers.parquet", [("a", 0.0, 1.0), ("safety", 0.0, 1.0)])
    assert {suite for suite, _ in read_scores(path, ["a"])} == {"a"}
    assert len(read_scores(path)) == 2
    assert sample_answers(path, {}, "base", "tuned") == []
