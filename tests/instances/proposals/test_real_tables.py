"""Proposals for published data: pytest -m realdata tests/instances/proposals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from regimen.instances.readers import RawRow, read_rows
from regimen.instances.task_files import read_task_file
from regimen.records import Task
from regimen.settings.loading import load_settings
from regimen.stages.init import init

QA = {"input": "question", "output": "answer"}
EVAL = {"input": "question", "output": "std_answer"}
UNANSWERED = {"belle/eval_set.json.zst": 0.37}
"""Share of the rows whose answer is blank."""
STEPS = {"input": "input", "output": "output", "rationale": "rationale"}
PLAIN: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("gsm8k/train.jsonl.zst", "question_answering", QA),
    ("xstest/xstest_prompts.csv", "classification", {"input": "prompt", "output": "label"}),
    ("bbh/boolean_expressions.json", "classification", {"input": "input", "output": "target"}),
    ("bbh/date_understanding.json", "multiple_choice", {"input": "input", "output": "target"}),
    ("bbh/geometric_shapes.json", "multiple_choice", {"input": "input", "output": "target"}),
    ("bbh/dyck_languages.json", "generation", {"input": "input", "output": "target"}),
    ("bbh/word_sorting.json", "generation", {"input": "input", "output": "target"}),
    (
        "belle/eval_set.json.zst",
        "question_answering",
        {"input": "question", "output": "std_answer"},
    ),
    ("flan-cot/creak_train.tsv.zst", "classification", STEPS),
    ("flan-cot/strategyqa_train.tsv.zst", "classification", STEPS),
    ("flan-cot/gsm8k_train.tsv.zst", "generation", STEPS),
    ("flan-cot/ecqa_train.tsv.zst", "generation", STEPS),
    ("flan-cot/aqua_train.tsv.zst", "multiple_choice", {"input": "input", "output": "output"}),
    ("flan-cot/qasc_train.tsv.zst", "multiple_choice", {"input": "input", "output": "output"}),
)
FORMATS = (
    ("stanford-alpaca/alpaca_5000.json.zst", "alpaca"),
    ("belle/dev1K.json.zst", "alpaca"),
    ("hh-rlhf", "preference"),
    ("open-instruct-prefs", "preference"),
    ("nanochat-safety", "messages"),
    ("mt-bench/data__dummy_conversation.json.zst", "sharegpt"),
    ("rasbt-instructions/instruction-data-with-preference.json.zst", "preference"),
)


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "kind", "columns"), PLAIN, ids=lambda value: str(value)[:30])
def test_published_tables_are_understood(
    shared_data: Path, tmp_path: Path, name: str, kind: str, columns: Mapping[str, Any]
) -> None:
    said = init(str(shared_data / name), out=tmp_path, name="t")
    assert said["type"] == kind
    assert {key: said["columns"].get(key) for key in columns} == columns
    assert said["usable"] >= (0.99 - UNANSWERED.get(name, 0)) * said["rows"]
    task = list(read_task_file(tmp_path / "t.task.yaml"))[-1]
    assert isinstance(task, Task)
    assert len(task.instances) + len(task.held_out) >= said["usable"]
    assert load_settings(tmp_path / "regimen.yaml").stages == ("build", "tune")


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "format"), FORMATS)
def test_published_instructions_need_no_task(
    shared_data: Path, tmp_path: Path, name: str, format: str
) -> None:
    assert init(str(shared_data / name), out=tmp_path)["format"] == format
    assert [path.name for path in tmp_path.iterdir()] == ["regimen.yaml"]


@pytest.mark.realdata
def test_pairs_that_people_compared(shared_data: Path, tmp_path: Path) -> None:
    said = init(str(shared_data / "pandalm/testset-v1.json.zst"), out=tmp_path)
    assert said["type"] == "pair_classification"
    shown = [column for _, column in said["columns"]["input"]]
    assert {"instruction", "response1", "response2"} <= set(shown)
    assert said["columns"]["output"] == "annotator1"
    assert list(said["labels"]) == ["0", "1", "2"]


@pytest.mark.realdata
def test_questions_about_tales(shared_data: Path, tmp_path: Path) -> None:
    bundle = shared_data / "fairytaleqa" / "fairytaleqa_questions_csv.jsonl.zst"
    rows = [row.values for row in read_rows(bundle) if isinstance(row, RawRow)]
    folder = tmp_path / "tales"
    for row in rows:
        if row["path"].endswith(".csv"):
            (folder / Path(row["path"]).name).parent.mkdir(exist_ok=True)
            (folder / Path(row["path"]).name).write_text(row["text"])
    said = init(str(folder), out=tmp_path / "made")
    assert said["type"] == "question_answering"
    assert said["columns"] == {"input": "question", "output": "answer1"}
    assert said["rows"] > 9_000, json.dumps(said, default=str)
