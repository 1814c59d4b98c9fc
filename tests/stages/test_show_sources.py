"""``regimen show`` for tasks: files, folders, starter tasks, any script, bad input."""

import json
import os
from functools import partial
from pathlib import Path

import pytest

from helpers.colour_task import colours, run, shown, write
from regimen.records import Task
from regimen.stages.init import TINY_BASE
from regimen.stages.show_material import TaskMaterial
from regimen.stages.show_tasks import show_tasks

SHARED = Path(os.environ.get("REGIMEN_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.fixture
def show(capsys):
    return partial(shown, capsys)


@pytest.fixture
def refused(capsys):
    """What ``regimen show`` says where it refuses."""

    def error(*arguments):
        assert run("show", *arguments) == 1
        return capsys.readouterr().err

    return error


# -- sources --------------------------------------------------------------------------------------


def test_a_folder_of_tasks_has_a_table_and_totals(tmp_path, show):
    for n in range(45):
        category = "reading" if n % 3 else "counting"
        task = colours(6, name=f"t{n:02}", category=category, language="fr" if n == 1 else "en")
        write(tmp_path / f"t{n:02}.yaml", task)
    (tmp_path / "bad.yaml").write_text("name: [")
    lines, result = show(tmp_path, "--task", "t03")
    assert lines[0] == "45 tasks"
    assert "… and 5 more tasks" in lines
    assert result["task"] == "t03"
    assert result["totals"]["category"]["counting"] == {"tasks": 15, "rows": 90, "generated": 0}
    assert result["totals"]["language"]["fr"]["tasks"] == 1
    assert len(result["tasks"]) == 45
    assert result["tasks"][0]["findings"]["error"] >= 1
    assert result["tasks"][44]["findings"] == dict.fromkeys(("error", "warning", "note"))
    assert (result["failed"], result["failures"][0]["source"]) == (1, "bad.yaml")
    assert any("could not be read: 1. The first is bad.yaml:0" in line for line in lines)


def test_a_task_is_found_by_the_start_of_its_name(tmp_path, show, refused):
    for name in ("task1_sum", "task10_sort", "task2_count"):
        write(tmp_path / f"{name}.yaml", colours(3, name=name))
    assert show(tmp_path, "--task", "task2")[1]["task"] == "task2_count"
    assert show(tmp_path, "--task", "task1_")[1]["task"] == "task1_sum"
    assert "Did you mean 'task1_sum'?" in refused(tmp_path, "--task", "task1")


def test_natural_instructions_are_shown(tmp_path, show):
    task = {
        "Definition": ["Add the numbers."],
        "Categories": ["Arithmetic"],
        "Positive Examples": [{"input": "1 1", "output": "2", "explanation": "1 + 1 is 2."}],
        "Negative Examples": [],
        "Instances": [{"input": f"{n} 1", "output": [str(n + 1)]} for n in range(5)],
    }
    (tmp_path / "sum.json").write_text(json.dumps(task))
    _, result = show(tmp_path / "sum.json", "--row", 2)
    found = result["shown"][0]["encodings"]
    assert found["definition"]["prompt"] == "Add the numbers.\n2 1"
    assert "definition + 1 positive, explained" in found
    assert found["natural_instructions"]["prompt"].endswith("Input: 2 1.\nOutput: ")


def test_the_starter_tasks_are_shown_and_twice_the_same(capsys):
    arguments = ("show", "starter:tasks", "--task", "pick.first/animals/json/en", "--limit", 70)
    outputs = []
    for seed in (3, 3, 4):
        assert run(*arguments, "--seed", seed, "--json") == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]
    *lines, last = outputs[0].splitlines()
    assert all(len(line) <= 100 for line in lines)
    result = json.loads(last)
    assert result["coverage"]["rows"] == {"all": None, "looked_at": 70, "held_out": 0}
    assert len(result["tasks"]) > 5000


def test_a_row_of_a_generated_task_is_the_one_of_that_number():
    def generator(seed, n):
        return [{"input": f"{seed}/{k}", "output": "a"} for k in range(n)]

    task = Task(name="t", definition="Say a.", generator=generator)
    result = show_tasks(TaskMaterial("here", [task], seed=5), row=8, number=2, limit=10)
    assert [one["row"] for one in result["shown"]] == [8, 9]
    assert result["shown"][0]["encodings"]["definition"]["prompt"] == "Say a.\n5/8"


def test_a_task_with_one_row_is_shown(tmp_path, show):
    task = {"name": "t", "definition": "Say it.", "instances": [{"input": "a", "output": "b"}]}
    lines, result = show(write(tmp_path / "t.yaml", task), "-n", 9)
    assert [one["row"] for one in result["shown"]] == [0]
    assert list(result["shown"][0]["encodings"]) == [
        *("definition", "natural_instructions", "inverted")
    ]
    assert any("too_few_rows" in line for line in lines)


def test_a_task_with_held_out_rows_alone_shows_those(tmp_path, show):
    rows = colours(4)["instances"]
    task = Task(name="t", definition="Say it.", held_out=tuple(rows))
    result = show_tasks(TaskMaterial("here", [task]), row=2)
    assert result["coverage"]["rows"] == {"all": 0, "looked_at": 4, "held_out": 4}
    assert "thing number 2" in result["shown"][0]["encodings"]["definition"]["prompt"]


def test_any_script_and_a_megabyte_fit_and_are_whole_in_json(tmp_path, show):
    texts = [
        "把下面的单词按字母顺序排列，并且只写出答案。" * 40,
        "رتب الكلمات التالية حسب الأبجدية واكتب الإجابة فقط. " * 40,
        "e\u0301\u0302te\u0301 " * 300,
        "start " + "x" * 1_000_000 + " end",
        "\x1b[2J\u202eabc\r\n\ttab",
    ]
    rows = [{"input": text, "output": "好"} for text in texts]
    (tmp_path / "t.json").write_text(
        json.dumps({"Definition": ["排序"], "Instances": rows, "Positive Examples": []})
    )
    lines, result = show(tmp_path / "t.json", "-n", 5)
    for one, text in zip(result["shown"], texts, strict=True):
        assert one["encodings"]["definition"]["prompt"] == f"排序\n{text}"
    assert len(lines) < 600
    assert any("characters left out …" in line for line in lines)
    assert any(line.startswith("\u2068رتب") for line in lines)
    assert not any(mark in line for line in lines for mark in "\x1b\u202e\r")


# -- bad input ------------------------------------------------------------------------------------


def conversations(tmp_path):
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps({"messages": messages}))
    return path


def test_conversations_need_a_model(tmp_path, refused, capsys):
    chats = conversations(tmp_path)
    said = refused(chats)
    assert "[show-model]" in said
    assert f"regimen show {chats} --model FOLDER" in said


def test_tasks_among_conversations_are_found(tmp_path, show):
    conversations(tmp_path)
    write(tmp_path / "t.yaml", colours(3))
    lines, result = show(tmp_path)
    assert (result["task"], result["others"]) == ("colours", {"instance": 1})
    assert any("no tasks, and are not shown: instance 1" in line for line in lines)


def test_conversations_are_shown_with_a_model(tmp_path, show):
    lines, result = show(conversations(tmp_path), "--model", TINY_BASE)
    assert result["rows"] == 1
    assert any(line.startswith("⟦yes") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "colors"), ("[task-unknown]", "Did you mean 'colours'?")),
        (("--row", "30"), ("[row-unknown]", "0 to 29")),
    ],
)
def test_unknown_tasks_and_rows(tmp_path, refused, arguments, said):
    error = refused(write(tmp_path / "t.yaml", colours()), *arguments)
    assert all(text in error for text in said)


def test_a_source_without_tasks_says_what_is_there(tmp_path, refused):
    error = refused(conversations(tmp_path), "--task", "x")
    assert "[no-tasks]" in error
    assert "instance 1" in error
    assert "[starter-unknown]" in refused("starter:task")
    assert "Did you mean 'tasks'?" in refused("starter:task")
    assert "[file-missing]" in refused(tmp_path / "none.yaml")


def test_malformed_yaml_names_its_line(tmp_path, refused):
    file = tmp_path / "t.yaml"
    file.write_text("name: t\ninstances:\n  - {input: a, output: [b}\n")
    error = refused(file)
    assert "[task-file]" in error
    assert f"{file}:3" in error


def test_a_task_without_rows_left_gives_the_reason(tmp_path, refused):
    task = {"name": "t", "definition": "Say it.", "instances": [{"input": "a", "output": ""}]}
    error = refused(write(tmp_path / "t.yaml", task))
    assert "[no-usable-rows]" in error
    assert "no_answer" in error


def test_settings_without_tasks(tmp_path, refused, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = {"name": "t", "definition": "Say it.", "instances": [{"input": "a", "output": ""}]}
    write(tmp_path / "t.yaml", bad)
    conversations(tmp_path)
    for source in ("t.yaml", "chats.jsonl"):
        build = {"sources": [{"path": source}]}
        write(tmp_path / "regimen.yaml", {"run": "r", "build": build})
        error = refused("regimen.yaml")
        assert "[no-tasks]" in error or "[no-usable-rows]" in error
    write(tmp_path / "regimen.yaml", {"run": "r", "report": {}, "evaluate": {"suites": []}})
    assert refused("regimen.yaml").startswith("error: ")


@pytest.mark.realdata
def test_every_shared_task_fits_and_reconciles(show):
    folder = SHARED / "data" / "super-natural-instructions" / "tasks"
    if not folder.is_dir():
        pytest.skip("needs the shared third-party data")
    _, result = show(folder)
    assert len(result["tasks"]) == 70
    for file in sorted(folder.glob("*.json"))[::7]:
        _, one = show(file, "--limit", 100)
        for encoding in one["coverage"]["encodings"]:
            lost = sum(said["count"] for said in encoding["failed"].values())
            assert encoding["rows"] == encoding["instances"] + lost
