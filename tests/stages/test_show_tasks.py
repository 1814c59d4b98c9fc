"""``regimen show`` for tasks: pytest tests/stages/test_show_tasks.py."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml

from regimen.cli import main
from regimen.instances.lints.rows import entropy
from regimen.layout import width_of
from regimen.records import Task
from regimen.stages import show_tables
from regimen.stages.show_coverage import answer_balance, spread
from regimen.stages.show_encodings import MOST_TEMPLATES
from regimen.stages.show_material import TaskMaterial
from regimen.stages.show_tasks import show_tasks
from regimen.tables import read_table, table_to_instances
from regimen.tokens.bpe import train_tokenizer

SHARED = Path(os.environ.get("REGIMEN_SHARED", Path(__file__).parents[2] / ".." / "shared"))
COLOURS = ("red", "green", "blue")
DEFINITION = "Say which colour the thing has."


def colours(rows=30, **more):
    """A task with everything that a task can have."""
    things = [f"thing number {n} is {COLOURS[n % 3]}" for n in range(rows)]
    examples = [
        {"input": f"a {c} door", "output": c, "explanation": f"It says {c}."} for c in COLOURS[:2]
    ]
    task = {
        "name": "colours",
        "category": "reading",
        "definition": DEFINITION,
        "definitions": {"es": "Di de qué color es la cosa.", "zh": "说出这个东西的颜色。"},
        "options": list(COLOURS),
        "templates": [
            {"name": "plain", "input": "Which colour? {{ input }}"},
            {"name": "fr", "input": "De quelle couleur ? {{ input }}", "language": "fr"},
            {"name": "broken", "input": "{{ shade }}: {{ input }}"},
            {
                "name": "turned",
                "input": "Name a thing that is {{ output }}.",
                "output": "{{ input }}",
                "inverted": True,
            },
        ],
        "positive": examples,
        "negative": [{"input": "a red cup", "output": "cup", "explanation": "No colour."}],
        "instances": [
            {"input": text, "output": COLOURS[n % 3], "rationale": f"Row {n} says so."}
            for n, text in enumerate(things)
        ],
    }
    return task | more


def write(path, task):
    path.write_text(yaml.safe_dump(task, allow_unicode=True))
    return path


def run(*arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture
def show(capsys):
    """What ``regimen show`` prints, as lines that fit, and its result."""

    def shown(*arguments):
        assert run("show", *arguments, "--json") == 0
        *lines, result = capsys.readouterr().out.splitlines()
        assert max(map(width_of, lines)) <= 100
        return lines, json.loads(result)

    return shown


@pytest.fixture
def refused(capsys):
    """What ``regimen show`` says where it refuses."""

    def error(*arguments):
        assert run("show", *arguments) == 1
        return capsys.readouterr().err

    return error


# -- encodings ------------------------------------------------------------------------------------


def test_a_row_is_shown_in_every_encoding_that_its_task_has(tmp_path, show):
    lines, result = show(write(tmp_path / "t.yaml", colours()), "--row", 4)
    (shown,) = result["shown"]
    assert shown["row"] == 4
    found = shown["encodings"]
    assert list(found) == [
        "definition",
        "definition + 2 positive",
        "definition + 2 positive + 1 negative, explained",
        "natural_instructions",
        "template plain",
        "template fr (fr)",
        "template broken",
        "template turned (inverted)",
        "inverted",
        "options shuffled, answered by label",
        "rationale before the answer",
        "rationale after the answer",
        "instruction in es",
        "instruction in zh",
    ]
    thing = "thing number 4 is green"
    assert found["definition"]["prompt"].startswith(f"{DEFINITION}\n{thing}\nOptions:\n- ")
    assert found["definition"]["answer"] == "green"
    assert found["definition + 2 positive"]["prompt"].count("Input: ") == 3
    explained = found["definition + 2 positive + 1 negative, explained"]["prompt"]
    assert "Not like this. Input: a red cup" in explained
    assert explained.count("Explanation: ") == 3
    assert found["natural_instructions"]["prompt"].startswith(f"Definition: {DEFINITION}\n\n Posit")
    assert found["template fr (fr)"]["prompt"] == f"De quelle couleur ? {thing}"
    assert found["template turned (inverted)"]["answer"] == thing
    assert found["inverted"]["answer"] == thing
    assert found["rationale before the answer"]["answer"].startswith("Row 4 says so.\n")
    assert found["rationale after the answer"]["answer"].endswith("Row 4 says so.")
    assert found["instruction in zh"]["prompt"].startswith("说出这个东西的颜色。\n")
    assert found["template broken"]["error"] == "template_missing_column"
    text = "\n".join(lines)
    assert "template_missing_column: no column 'shade'" in text
    assert "row 4 of 30" in text


def test_the_label_that_is_learned_stands_before_the_right_option(tmp_path, show):
    _, result = show(write(tmp_path / "t.yaml", colours()), "-n", 30)
    assert [one["row"] for one in result["shown"]] == list(range(30))
    places = set()
    for one in result["shown"]:
        found = one["encodings"]["options shuffled, answered by label"]
        right = COLOURS[one["row"] % 3]
        assert f"{found['answer']} {right}" in found["prompt"].splitlines()
        places.add(found["answer"])
    assert places == {"(A)", "(B)", "(C)"}


def test_a_settings_file_comes_first_and_shows_what_a_build_makes(tmp_path, show, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("t.yaml"), colours(60))
    build = {
        "sources": [{"path": "t.yaml"}],
        "instances_per_task": 60,
        "seed": 7,
        "formatting": {
            "encoding": "mixed",
            "template_share": 0.5,
            "positive": [0, 2],
            "demonstrations": "both",
            "option_labels": "mixed",
        },
    }
    settings = write(Path("regimen.yaml"), {"run": "run", "build": build})
    lines, result = show(settings, "-n", 60)
    assert result["seed"] == 7
    assert run("build", settings) == 0
    built = table_to_instances(read_table(Path("run/build/instances.parquet")))
    made = {one.lineage.row: [m.text for m in one.messages] for one in built}
    assert len(made) > 40
    for one in result["shown"]:
        name, mine = next(iter(one["encodings"].items()))
        assert name == "your settings"
        if one["row"] in made:
            assert [mine["prompt"], mine["answer"]] == made[one["row"]]
        else:
            assert mine["error"]
    assert any(line.startswith("your settings") for line in lines)


def test_many_templates_and_languages_are_counted_beyond_the_first(tmp_path, show):
    templates = [{"name": f"t{n}", "input": f"{n}: {{{{ input }}}}"} for n in range(20)]
    definitions = {code: f"({code})" for code in ("es", "fr", "de", "it", "pt", "nl", "sv", "da")}
    file = write(tmp_path / "t.yaml", colours(templates=templates, definitions=definitions))
    lines, result = show(file)
    assert result["shown"][0]["left_out"] == {"templates": 20 - MOST_TEMPLATES, "languages": 2}
    assert f"… and {20 - MOST_TEMPLATES} more templates" in lines
    assert len(result["coverage"]["encodings"]) == 21


# -- coverage -------------------------------------------------------------------------------------


def test_every_row_is_rendered_or_failed_in_each_encoding(tmp_path, show):
    rows = [{"input": f"{n} {'x' * n}", "output": "odd" if n % 4 == 1 else "even"}
            for n in range(40)]  # fmt: skip
    rows += [{"input": "no such option", "output": "neither"}]
    task = colours(instances=rows, options=["odd", "even"])
    _, result = show(write(tmp_path / "t.yaml", task))
    report = {one["name"]: one for one in result["coverage"]["encodings"]}
    for one in report.values():
        lost = sum(said["count"] for said in one["failed"].values())
        assert one["rows"] == 41 == one["instances"] + lost
    assert report["definition"]["failed"]["answer_not_in_options"]["row"] == 40
    assert report["template broken"]["instances"] == 0
    plain = report["template plain"]
    assert plain["instances"] == 41
    assert plain["prompt"]["longest"] == len("Which colour? 39 ") + 39
    assert plain["distinct_prompts"] == 1.0
    assert report["template turned (inverted)"]["distinct_prompts"] == pytest.approx(3 / 41)
    (place,) = result["coverage"]["positions"]["tasks"]["definition"].values()
    assert sum(place["counts"]) == 40


def test_labels_have_counts_bars_and_an_entropy(tmp_path, show):
    rows = [{"input": f"n {n}", "output": "Yes" if n % 4 else "No"} for n in range(40)]
    task = {"name": "t", "definition": "Answer.", "instances": rows}
    lines, result = show(write(tmp_path / "t.yaml", task))
    answers = result["coverage"]["answers"]
    assert answers["labels"] == {"Yes": 30, "No": 10}
    assert answers["entropy"] == pytest.approx(0.8113, abs=1e-4)
    (yes,) = (line for line in lines if line.startswith("Yes ") and "%" in line)
    (no,) = (line for line in lines if line.startswith("No ") and "%" in line)
    assert yes.count("█") == 30
    assert no.count("█") == 10
    assert "75.0%" in yes


def test_answers_that_are_no_labels_are_counted_with_their_lengths():
    report = answer_balance([f"a{'b' * n}" for n in range(100)])
    assert report == {
        "answers": 100,
        "different": 100,
        "characters": {"median": 50, "p95": 95, "longest": 100},
    }
    assert "labels" not in report
    assert spread([]) == {}
    counts = answer_balance(["x"] * 3 + ["X", "y"] * 3)
    assert counts["labels"] == {"x": 6, "y": 3}
    assert counts["entropy"] == entropy(Counter(x=6, y=3))


def test_lints_say_their_row(tmp_path, show):
    rows = colours(12)["instances"]
    rows[7] = rows[7] | {"output": "thing"}
    lines, result = show(write(tmp_path / "t.yaml", colours(instances=rows)))
    found = {one["lint"]: one for one in result["lints"]}
    assert found["answer_outside_options"]["rows"] == [7]
    assert any(line.startswith("error") and "answer_outside_options" in line for line in lines)


def test_a_limit_says_how_many_rows_were_looked_at(tmp_path, show):
    lines, result = show(write(tmp_path / "t.yaml", colours(50)), "--limit", 20)
    assert result["coverage"]["rows"] == {"all": 50, "looked_at": 20, "held_out": 0}
    assert any(line.startswith("rows: 50, 20 looked at") for line in lines)
    assert {one["rows"] for one in result["coverage"]["encodings"]} == {20}


@pytest.mark.parametrize(
    ("share", "bar"), [(1.0, "█" * 30), (0.5, "█" * 15), (0.001, "▏"), (0, "")]
)
def test_bars(share, bar):
    assert show_tables.bar(share) == bar


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
    assert any("1 records could not be read. The first is bad.yaml:0" in line for line in lines)


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


def test_tokens_are_counted_with_a_model(tmp_path, show):
    train_tokenizer([DEFINITION] * 20, 300).save_pretrained(tmp_path / "base")
    file = write(tmp_path / "t.yaml", colours())
    lines, result = show(file, "--row", 1, "--model", tmp_path / "base")
    found = result["shown"][0]["encodings"]["definition"]
    assert 0 < found["tokens"]["prompt"] < found["characters"]["prompt"]
    told = f"{found['tokens']['prompt']} + {found['tokens']['answer']} tokens"
    assert any(told in line for line in lines)


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
    assert "1 instances" in error
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
