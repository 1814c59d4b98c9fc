"""What a build of bad tasks says, end to end: pytest tests/stages/test_build_bad_input.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from regimen.cli import main

Rows = list[dict[str, Any]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def task(name: str, rows: Rows, **more: Any) -> None:
    body = {"name": name, "definition": f"Do {name}.", "instances": rows, **more}
    Path(f"{name}.yaml").write_text(yaml.safe_dump(body, allow_unicode=True), encoding="utf-8")


def build(**section: Any) -> int:
    """The exit status of a build of all tasks here."""
    section.setdefault("sources", [{"path": str(file)} for file in sorted(Path().glob("*.yaml"))])
    Path("settings").mkdir(exist_ok=True)
    sources = [{"path": str(Path(one["path"]).resolve())} for one in section["sources"]]
    body = {"run": str(Path("run").resolve()), "build": {**section, "sources": sources}}
    Path("settings/regimen.yaml").write_text(yaml.safe_dump(body))
    with pytest.raises(SystemExit) as stopped:
        main(["build", "settings/regimen.yaml"])
    return int(stopped.value.code or 0)


def steps() -> dict[str, Any]:
    """The ledger, whose every step reconciles."""
    found: dict[str, Any] = json.loads(Path("run/build/ledger/summary.json").read_text())
    for step in found.values():
        out = step["kept"] + sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == out
    return found


def instances() -> Rows:
    rows: Rows = pq.read_table("run/build/instances.parquet", partitioning=None).to_pylist()
    return rows


def items() -> Rows:
    rows: Rows = pq.read_table("run/build/items.parquet", partitioning=None).to_pylist()
    return rows


def failures() -> Rows:
    (file,) = Path("run/build/ledger").glob("*-format.failed.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "line"),
    [("name: t\ninstances:\n  - {input: a, output: [b}\n", 3), ("name: t\n\tinstances: []\n", 2)],
)
def test_malformed_yaml_is_answered_with_its_line(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, line: int
) -> None:
    Path("t.yaml").write_text(text)
    assert build() == 1
    assert f"t.yaml:{line}" in capsys.readouterr().err


def test_malformed_json_is_answered_with_its_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("t.json").write_text('{"name": "t",\n "instances": [\n {"input": "a" "output": "b"}]}')
    assert build(sources=[{"path": "t.json"}]) == 1
    assert "t.json:3" in capsys.readouterr().err


def test_a_template_that_fails_on_some_rows_costs_those(here: Path) -> None:
    rows = [{"input": str(n), "output": f"answer {n}"} for n in range(12)]
    task("t", rows, templates=[{"name": "x", "input": "{{ 1 / (input | int % 4) }}"}])
    assert build(formatting={"encoding": "template"}, instances_per_task=12) == 0
    assert steps()["format"]["failed"] == {"template_error": 3}
    assert [one["where"] for one in failures()] == ["t#x row 0", "t#x row 4", "t#x row 8"]
    assert all("division by zero" in one["got"] and one["fix"] for one in failures())
    assert len(instances()) == 9


def test_a_template_that_cannot_be_parsed_says_where(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task("t", [{"input": "a", "output": "b"}], templates=[{"name": "x", "input": "{{ input"}])
    assert build(formatting={"encoding": "template"}) == 1
    said = capsys.readouterr().err + "".join(
        file.read_text() for file in Path("run/build/ledger").glob("*.failed.jsonl")
    )
    assert "template_syntax" in said
    assert "line 1" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "lost", "workers"), [("definition", "length", 1), ("template", "format", 0)]
)
def test_rows_of_ten_megabytes_are_refused_and_the_others_stay(
    here: Path, encoding: str, lost: str, workers: int
) -> None:
    large = "large " * 1_700_000
    rows = [("input", "output"), (large, "x"), ("small", "y"), ("z", large), ("one more", "z")]
    Path("rows.csv").write_text("\n".join(map(",".join, rows)))
    templates = [{"name": "x", "input": "Say {{ input }}"}]
    body = {"name": "t", "definition": "d", "data": {"path": "rows.csv"}, "templates": templates}
    Path("t.yaml").write_text(yaml.safe_dump(body))
    formatting = {"encoding": encoding, "positive": 1, "demonstrations": "rows"}
    assert build(formatting=formatting, workers=workers, lints=False) == 0
    found = steps()
    assert sum(found[lost]["removed"].values()) + sum(found[lost]["failed"].values()) == 2
    assert len(instances()) == 2
    assert all(len(one["messages"][0]["content"]) < 4000 for one in instances())


TEXTS = [
    "שלום עולם",
    "مرحبا \u202eabc\u202c",
    "e\u0301le\u0300ve",
    "é",
    "नमस्ते",
    "👩\u200d🚀🏽",
    "中文",
]


def test_right_to_left_and_combining_text_stays_as_it_is(here: Path) -> None:
    rows = [{"input": f"{text} {n}", "output": text, "options": TEXTS}
            for n, text in enumerate(TEXTS)]  # fmt: skip
    task("t", rows, templates=[{"name": "x", "input": "{{ input }}\n{{ options_block }}"}])
    for formatting in (
        {"encoding": "definition", "option_labels": "(A)"},
        {"encoding": "template", "option_labels": "1.", "option_answer": "both"},
    ):
        assert build(formatting=formatting) == 0
        assert len(instances()) == len(TEXTS)
        for one in instances():
            text = TEXTS[one["row"]]
            prompt, answer = (turn["content"] for turn in one["messages"])
            assert f"{text} {one['row']}" in prompt
            place = int(one["verdicts"][0][10:].split("/")[0])
            assert TEXTS[one["option_permutation"][place - 1]] == text
            label = f"({chr(64 + place)})" if answer.startswith("(") else f"{place}."
            assert f"\n{label} {text}" in prompt


def test_a_task_with_one_instance_is_trained_on(here: Path) -> None:
    task("one", [{"input": "the only row", "output": "its answer"}])
    task("other", [{"input": "another row", "output": "another answer"}])
    formatting = {"positive": 3, "negative": 3, "demonstrations": "both"}
    assert build(held_out={"tasks": ["other"]}, formatting=formatting) == 0
    (only,) = instances()
    assert (only["task"], only["demonstrations"]) == ("one", [])
    assert [one["suite"] for one in items()] == ["unseen_tasks"]


def test_a_training_task_that_cannot_be_validated_on_stops_no_build(here: Path) -> None:
    bad = [{"input": f"q{n} of many", "output": "pink", "options": ["red"]} for n in range(30)]
    good = [{"input": f"r{n} of many", "output": f"a {n}"} for n in range(30)]
    task("bad", bad)
    task("good", good)
    task("other", good)
    held_out = {"tasks": ["other"], "items_per_task": 2}
    assert build(held_out=held_out, instances_per_task=99) == 0
    assert steps()["format"]["failed"] == {"answer_not_in_options": 30}
    assert {one["task"] for one in items() if one["suite"] == "validation"} == {"good"}


def test_validation_takes_rows_that_are_not_trained_on(here: Path) -> None:
    rows = [{"input": f"word{n} some more words {n}", "output": f"answer {n}"} for n in range(40)]
    task("many", rows)
    task("other", [{"input": "what else", "output": "nothing"}])
    assert build(held_out={"tasks": ["other"]}, instances_per_task=10) == 0
    (item,) = [one for one in items() if one["suite"] == "validation"]
    assert steps()["leaks"]["removed"] == {}
    assert item["row"] not in {one["row"] for one in instances()}
    assert len(instances()) == 10
    # all rows are trained on: one of many is given up, and says so
    assert build(held_out={"tasks": ["other"]}, instances_per_task=100) == 0
    assert sum(steps()["leaks"]["removed"].values()) == 1
    assert len(instances()) == 39


def test_pairs_are_made_where_tokens_are_bounded(here: Path, repo_root: Path) -> None:
    from regimen.tokens.bpe import train_tokenizer

    train_tokenizer(["some words to count and to ask"] * 20, 300).save_pretrained(here / "base")
    task("t", [{"input": f"q{n}", "output": f"a{n}"} for n in range(9)])
    formatting = {"max_tokens": 64, "tokenizer": str(here / "base")}
    assert build(preferences={"corrupted_answers": 1}, formatting=formatting) == 0
    assert steps()["preferences"]["kept"] == 1


def test_nothing_left_is_an_error_that_counts_the_reasons(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task("t", [{"input": f"q{n}", "output": "pink", "options": ["red"]} for n in range(3)])
    assert build() == 1
    said = capsys.readouterr().err
    assert "nothing-left" in said
    assert "'answer_not_in_options': 3" in said
    assert steps()["format"]["failed"] == {"answer_not_in_options": 3}


def test_a_text_that_is_no_unicode_costs_its_row(here: Path) -> None:
    task("t", [{"input": "a", "output": "b"}, {"input": "c", "output": "d"}],
         templates=[{"name": "x", "input": "{{ input }}{% if input == 'a' %}{{ '\\ud83d' }}"
                     "{% endif %}"}])  # fmt: skip
    assert build(formatting={"encoding": "template"}) == 0
    assert [one["row"] for one in instances()] == [1]
    assert sum(steps()["format"]["failed"].values()) == 1
