"""Tasks as sources of a build, end to end: pytest tests/stages/test_task_sources.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from regimen.cli import main

TASK = """
name: colours
definition: Say the colour.
data:
  path: rows.csv
  held_out: 0.2
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(here: Path, **section: Any) -> Path:
    (here / "regimen.yaml").write_text(yaml.safe_dump({"run": "run", "build": section}))
    with pytest.raises(SystemExit) as stopped:
        main(["build", "regimen.yaml"])
    assert stopped.value.code == 0
    return here / "run" / "build"


def rows(place: Path, *columns: str) -> list[dict[str, Any]]:
    table = pq.read_table(place / "instances.parquet", partitioning=None)
    return table.select(list(columns)).to_pylist()


def table(here: Path, colour: str = "blue") -> None:
    lines = [f"thing {n},{colour if n % 2 else 'red'}" for n in range(60)]
    (here / "rows.csv").write_text("\n".join(["input,output", *lines]))


def test_data_that_a_task_names_make_a_build_stale(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "task.yaml").write_text(TASK)
    table(here)
    sources = [{"path": "task.yaml"}]
    first = len(rows(build(here, sources=sources, instances_per_task=100), "row"))
    capsys.readouterr()
    build(here, sources=sources, instances_per_task=100)
    assert "runs" not in capsys.readouterr().out.split("build:")[1]
    table(here, "green")
    place = build(here, sources=sources, instances_per_task=100)
    assert "rows.csv" in capsys.readouterr().out
    answers = {m["messages"][1]["content"] for m in rows(place, "messages")}
    assert answers == {"red", "green"}
    items = pq.read_table(place / "items.parquet")
    assert first + 4 <= 60
    held = [s for s in items["suite"].to_pylist() if s == "unseen_rows"]
    assert len(held) == 4


def test_held_out_rows_are_never_trained_on(here: Path) -> None:
    (here / "task.yaml").write_text(TASK)
    table(here)
    place = build(here, sources=[{"path": "task.yaml"}], held_out={"items_per_task": 99})
    prompts = {m["messages"][0]["content"] for m in rows(place, "messages")}
    items = pq.read_table(place / "items.parquet").to_pylist()
    asked = {i["messages"][0]["content"] for i in items if i["suite"] == "unseen_rows"}
    assert len(asked) > 5
    assert not asked & prompts


def test_lints_are_reported_with_counts_and_remove_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = [{"input": f"thing {n}", "output": "yes"} for n in range(40)]
    task = {"name": "same", "definition": "Answer.", "instances": same}
    (here / "task.yaml").write_text(yaml.safe_dump(task))
    place = build(here, sources=[{"path": "task.yaml"}], instances_per_task=100)
    found = json.loads((place / "lints.json").read_text())
    assert "label_entropy_zero" in {one["lint"] for one in found}
    assert "label_entropy_zero" in capsys.readouterr().out
    card = json.loads((place / "data_card.json").read_text())
    assert card["lints"]["tasks"] == 1
    assert len(rows(place, "row")) == 40
    place = build(here, sources=[{"path": "task.yaml"}], instances_per_task=100, lints=False)
    assert not (place / "lints.json").exists()


def test_rendered_t0_files_become_tasks(here: Path) -> None:
    (here / "t0").mkdir()
    lines = [{"prompt": f"Say {n}.", "completion": f" {n}<|endoftext|>"} for n in range(5)]
    text = "\n".join(map(json.dumps, [*lines, {"prompt": "x", "completion": "<|endoftext|>"}]))
    (here / "t0" / "numbers_say.jsonl").write_text(text)
    source = {"path": "t0", "format": "t0", "licence": "MIT"}
    place = build(here, sources=[source], instances_per_task=9)
    found = rows(place, "messages", "task", "licence", "source")
    assert {(one["task"], one["licence"], one["source"]) for one in found} == {
        ("numbers_say", "MIT", "t0")
    }
    assert [one["messages"][1]["content"] for one in found] == list("01234")
    summary = json.loads((place / "ledger" / "summary.json").read_text())
    assert summary["read-t0"]["failed"] == {"no_answer": 1}


def test_a_saved_data_set_is_a_source(here: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = {"prompt": ["a?", "b?"], "completion": ["1", "2"]}
    datasets.Dataset.from_dict(made).save_to_disk(here / "saved")
    place = build(here, sources=[{"path": "saved"}])
    assert [one["messages"][1]["content"] for one in rows(place, "messages")] == ["1", "2"]


def test_two_columns_of_one_name_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "rows.csv").write_text("prompt,completion,prompt\na,b,c\n")
    settings = {"run": "run", "build": {"sources": [{"path": "rows.csv"}]}}
    (here / "regimen.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SystemExit) as stopped:
        main(["build", "regimen.yaml"])
    assert stopped.value.code == 1
    assert "rows.csv:1" in capsys.readouterr().err


def test_a_failed_row_of_a_directory_names_the_task_and_its_data(here: Path) -> None:
    (here / "tasks").mkdir()
    (here / "tasks" / "task.yaml").write_text(TASK.replace("rows.csv", "../rows.csv"))
    (here / "rows.csv").write_text(
        "input,output\na,b\nc,\n" + "".join(f"e{n},f\n" for n in range(9))
    )
    place = build(here, sources=[{"path": "tasks"}])
    (file,) = (place / "ledger").glob("*read-tasks.failed.jsonl")
    assert json.loads(file.read_text())["where"].startswith("task.yaml: rows.csv:3")


def test_two_tasks_of_one_name_and_the_weight_of_a_source(here: Path) -> None:
    for folder, answer in (("one", "x"), ("two", "y")):
        (here / folder).mkdir()
        rows_of = [{"input": f"{answer} {n}", "output": answer} for n in range(3)]
        task = {"name": "same", "definition": "Answer.", "instances": rows_of}
        (here / folder / "task.yaml").write_text(yaml.safe_dump(task))
    sources = [{"path": "one"}, {"path": "two", "weight": 0.5}]
    place = build(here, sources=sources, instances_per_task=9)
    found = {(one["task"], one["weight"]) for one in rows(place, "task", "weight")}
    assert found == {("same", 1.0), ("same@two/task.yaml", 0.5)}
    summary = json.loads((place / "ledger" / "summary.json").read_text())
    assert summary["read-two"]["changed"] == {"task_renamed": 1}
    assert "changed" not in summary["read-one"]


def test_pairs_are_made_under_a_budget_of_tokens(here: Path) -> None:
    tokenizer = Path(__file__).parents[2] / "src/regimen/assets/tiny-base"
    (here / "task.yaml").write_text(TASK)
    table(here)
    place = build(
        here,
        sources=[{"path": "task.yaml"}],
        formatting={"max_tokens": 64, "tokenizer": str(tokenizer)},
        preferences={"corrupted_answers": 1},
    )
    assert pq.read_table(place / "preferences.parquet").num_rows == 1
