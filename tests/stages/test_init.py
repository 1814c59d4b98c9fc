"""regimen init: pytest tests/stages/test_init.py."""

import json
from pathlib import Path

import pytest

from helpers.small_tables import TABLES, long, sentence, texts
from helpers.task_tables import save, write_rows
from regimen.cli import main
from regimen.instances.hub import Opened
from regimen.instances.readers import RawRow
from regimen.instances.task_files import read_task_file
from regimen.instances.task_rows import accepted_outputs
from regimen.instances.templates import Rendering, TemplateWorker, template_job
from regimen.records import Task
from regimen.settings.loading import load_settings
from regimen.stages import init as stage
from regimen.tables import read_table, table_to_instances

FORMATS = ("csv", "tsv", "jsonl", "jsonl.gz", "parquet", "saved")


def run(*arguments):
    """The exit status of a command."""
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def proposed(capsys, *arguments):
    """What ``init --json`` says in its last line."""
    assert run("init", *arguments, "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 100 for line in lines[:-1])
    return json.loads(lines[-1])


def only_task(path):
    """The task of a written file; no row of it fails."""
    (task,) = read_task_file(path)
    assert isinstance(task, Task)
    return task


def built(settings):
    """The instances that ``regimen build`` makes, after a check of the ledger."""
    assert run("build", settings) == 0
    folder = Path(load_settings(settings).run) / "build"
    for step in json.loads((folder / "ledger/summary.json").read_text()).values():
        lost = sum(step["removed"].values()) + sum(step["failed"].values())
        assert step["in"] == step["kept"] + lost
        assert not step["failed"]
    return table_to_instances(read_table(folder / "instances.parquet"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


ONCE = {0, 1, 3, 4, 8, 10, 11, 12, 14, 16, 17, 18}
"""Tables that are every kind of task and every format once; the others where there is time."""
EVERY = [
    pytest.param(number, name, marks=[] if number in ONCE else [pytest.mark.slow])
    for number, name in enumerate(TABLES)
]


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize(("number", "name"), EVERY)
def test_every_kind_of_table_is_built_from_what_is_proposed(here, capsys, number, name):
    rows, kind, _ = TABLES[name]
    ending = FORMATS[number % len(FORMATS)]
    data = write_rows(here / "mine" / ("rows" if ending == "saved" else f"rows.{ending}"), rows)
    said = proposed(capsys, data, "--out", "made", "--name", "my task")
    assert said["type"] == kind
    assert (said["rows"], said["usable"], said["failed"]) == (len(rows), len(rows), 0)
    task = only_task(here / "made" / "my_task.task.yaml")
    assert len(task.instances) + len(task.held_out) == len(rows)
    assert 3 <= len(task.templates) <= 5
    assert task.definition
    instances = list(built("made/regimen.yaml"))
    assert {one.lineage.task for one in instances} == {"my_task"}
    assert 0 < len(instances) <= len(task.instances)
    outputs = [row["output"] for row in task.instances]
    answers = {one if isinstance(one, str) else one[0] for one in outputs}
    if kind != "multiple_choice":
        assert {one.messages[-1].text for one in instances} <= answers


@pytest.mark.matrix
@pytest.mark.parametrize("name", TABLES)
def test_every_template_renders_for_every_row(here, capsys, name):
    rows, kind, _ = TABLES[name]
    write_rows(here / "rows.jsonl", rows)
    proposed(capsys, "rows.jsonl")
    (file,) = here.glob("*.task.yaml")
    task = only_task(file)
    jobs = [
        template_job(template, {**row, "output": accepted_outputs(row)[0]}, 3, shuffle)
        for row in task.instances
        for template in task.templates
        for shuffle in (False, True)
    ]
    with TemplateWorker() as worker:
        rendered = worker.render(jobs)
    for job, one in zip(jobs, rendered, strict=True):
        assert isinstance(one, Rendering), one
        prompt, answer = one.texts
        assert answer == job.values["output"]
        assert str(job.values["input"]) in prompt
        if kind == "multiple_choice" and "options" in job.values:
            assert sorted(one.options) == sorted(job.values["options"])
            assert all(option in prompt for option in job.values["options"])


@pytest.mark.matrix
@pytest.mark.parametrize("ending", FORMATS)
def test_every_kind_of_file_gives_the_same_task(here, capsys, ending):
    rows = texts(text=sentence, label=[0, 1, 2])
    data = write_rows(here / ("a" if ending == "saved" else f"a.{ending}"), rows)
    said = proposed(capsys, data)
    assert (said["type"], said["columns"]) == (
        "classification",
        {"input": "text", "output": "label"},
    )
    rows_of_task = len(only_task(here / "a.task.yaml").instances)
    # one training row may be kept apart as an item of validation
    assert rows_of_task - 1 <= len(list(built("regimen.yaml"))) <= rows_of_task


def test_labels_that_are_numbers_are_asked_for_and_those_of_the_data_set_taken(here, capsys):
    rows = texts(text=sentence, label=[0, 1])
    write_rows(here / "a.jsonl", rows)
    assert run("init", "a.jsonl") == 0
    assert "name them in a.task.yaml" in capsys.readouterr().out
    text = (here / "a.task.yaml").read_text()
    assert "PLEASE NAME THE LABELS" in text
    assert f"# - 0: {rows[0]['text']}" in text
    save(here / "b", rows, {"label": {"_type": "ClassLabel", "names": ["calm", "loud"]}})
    said = proposed(capsys, "b", "--out", "b-made")
    assert said["labels"] == {"0": "calm", "1": "loud"}
    assert "PLEASE" not in (here / "b-made" / "b.task.yaml").read_text()


def test_a_test_file_beside_the_data_is_held_out_if_it_has_answers(here, capsys):
    rows = texts(text=sentence, label=["a", "b"])
    write_rows(here / "d" / "train.csv", rows[:12])
    write_rows(here / "d" / "dev.csv", rows[12:16])
    write_rows(here / "d" / "test.csv", [{**row, "label": ""} for row in rows[16:]])
    for data, out in (("d/train.csv", "one"), ("d", "two")):
        said = proposed(capsys, data, "--out", out)
        assert (said["name"], said["rows"]) == ("d", 12)
        task = only_task(here / out / "d.task.yaml")
        assert [row["text"] for row in task.held_out] == [row["text"] for row in rows[12:16]]
        written = (here / out / "d.task.yaml").read_text()
        assert "# Not test.csv: only 0% of its first rows" in written
        assert "dev.csv is there already" in written


def test_a_split_of_a_saved_data_set_is_held_out_if_it_has_answers(here, capsys):
    rows = texts(text=sentence, label=[0, 1])
    labels = {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}
    save(here / "d" / "train", rows[:12], labels)
    save(here / "d" / "test", [{**row, "label": -1} for row in rows[16:]], labels)
    save(here / "d" / "validation", rows[12:16], labels)
    (here / "d" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    proposed(capsys, "d", "--out", "made")
    task = only_task(here / "made" / "d.task.yaml")
    assert (len(task.instances), len(task.held_out)) == (12, 4)
    assert "Not test: only 0%" in (here / "made" / "d.task.yaml").read_text()


def test_a_file_without_a_header_gets_names(here, capsys):
    lines = [
        f"Was {sentence(n)[:-1]} seen?\t{'yes' if n % 2 else 'no'}\t{long(n)}" for n in range(12)
    ]
    (here / "a.tsv").write_text("\n".join(lines) + "\n")
    said = proposed(capsys, "a.tsv")
    assert said["columns"] == {"input": "input", "output": "output", "rationale": "rationale"}
    task = only_task(here / "a.task.yaml")
    assert len(task.instances) + len(task.held_out) == 12
    assert list(built("regimen.yaml"))


@pytest.mark.parametrize(
    "columns",
    [
        {"instruction": sentence, "output": long},
        {"prompt": sentence, "response": long},
        {
            "messages": lambda n: [
                {"role": "user", "content": sentence(n)},
                {"role": "assistant", "content": long(n)},
            ]
        },
    ],
)
def test_instructions_need_settings_alone(here, capsys, columns):
    write_rows(here / "a.jsonl", texts(**columns))
    said = proposed(capsys, "a.jsonl")
    assert said["type"] == "instructions"
    assert list(here.glob("*.yaml")) == [here / "regimen.yaml"]
    assert {one.messages[-1].text for one in built("regimen.yaml")} <= {long(n) for n in range(20)}


def test_preferences_are_aligned_with(here, capsys):
    write_rows(here / "a.jsonl", texts(prompt=sentence, chosen=long, rejected=lambda n: "no"))
    assert proposed(capsys, "a.jsonl")["format"] == "preference"
    assert load_settings("regimen.yaml").stages == ("build", "align")
    assert list(built("regimen.yaml")) == []


def test_nothing_is_overwritten(here, capsys):
    write_rows(here / "a.jsonl", texts(text=sentence, label=["a", "b"]))
    for name in ("regimen.yaml", "a.task.yaml"):
        (here / name).write_text("mine")
        assert run("init", "a.jsonl") == 1
        said = capsys.readouterr().err
        assert "file-exists" in said
        assert name in said
        assert (here / name).read_text() == "mine"
        assert len(list(here.glob("*.yaml"))) == 1
        (here / name).unlink()


def test_equal_data_gives_equal_files(here, capsys):
    folders = ("made-first", "made-again")  # in no path to a clone
    rows = texts(text=sentence, label=["a", "b", "c"], more=long)
    write_rows(here / "a.jsonl", rows)
    for out in folders:
        proposed(capsys, "a.jsonl", "--out", out)
    for name in ("a.task.yaml", "regimen.yaml"):
        first, again = ((here / out / name).read_text() for out in folders)
        assert first.replace(*folders) == again


def test_only_the_first_rows_are_looked_at_and_that_is_said(here, capsys, monkeypatch):
    monkeypatch.setattr(stage, "MOST_ROWS", 10)
    write_rows(here / "a.jsonl", texts(text=sentence, label=["a", "b"]))
    said = proposed(capsys, "a.jsonl")
    assert (said["rows"], said["more"]) == (10, True)
    assert "from the first 10 rows" in (here / "a.task.yaml").read_text()


def test_data_that_says_odd_things_stays_in_its_comments(here, capsys):
    odd = ["one\u2028name: x\n# y", "two\x85\x07 {{ z }}"]
    rows = texts(**{"te{{xt\n": sentence, "label": odd})
    write_rows(here / "a.jsonl", rows)
    proposed(capsys, "a.jsonl")
    task = only_task(here / "a.task.yaml")
    assert task.name == "a"
    assert set(task.options) == set(odd)
    assert list(built("regimen.yaml"))


def test_a_name_of_the_hub_is_written_as_one(here, capsys, monkeypatch):
    rows = texts(text=sentence, label=[0, 1])
    asked = []

    def opened(name, config, split, limit):
        asked.append((name, config, split))
        return Opened(
            iter([RawRow(n, row) for n, row in enumerate(rows, 1)]), {"label": ("x", "y")}
        )

    monkeypatch.setattr(stage, "open_dataset", opened)
    monkeypatch.setattr(stage, "dataset_splits", lambda name, config: ("train", "test"))
    said = proposed(capsys, "org/name", "--dataset", "--config", "small")
    assert asked == [("org/name", "small", "train"), ("org/name", "small", "test")]
    assert said["name"] == "name"
    text = (here / "name.task.yaml").read_text()
    assert "dataset: org/name\n  config: small\n  split: train\n" in text
    assert "held_out:\n    split: test\n" in text


@pytest.mark.parametrize(
    ("content", "slug"),
    [("", "file-empty"), ("{broken", "no-usable-rows"), ('{"text": "a b c d e f"}\n', "no-task")],
)
def test_errors_write_nothing(here, capsys, content, slug):
    (here / "a.jsonl").write_text(content)
    assert run("init", "a.jsonl") == 1
    said = capsys.readouterr().err
    assert slug in said
    assert "fix:" in said
    assert not list(here.glob("*.yaml"))
