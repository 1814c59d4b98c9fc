"""The recipe of a table: the task that ``init`` began, and what is built on it."""

import json
from collections import Counter

import pytest

from regimen.cli import main
from regimen.instances.task_files import read_task_file
from regimen.records import Task
from regimen.tables import read_table, table_to_instances, table_to_items

TABLE = "recipes/table"


def run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert not stopped.value.code


@pytest.fixture
def task(repo_root):
    (found,) = read_task_file(repo_root / TABLE / "waste.task.yaml")
    assert isinstance(found, Task)
    return found


def test_every_row_of_the_table_is_read(repo_root, task):
    lines = (repo_root / TABLE / "waste.csv").read_text(encoding="utf-8").splitlines()
    assert len(task.instances) + len(task.held_out) == len(lines) - 1
    assert 8 <= len(task.held_out) <= 24
    assert {row["output"] for row in task.instances} == set(task.options)


def test_examples_are_no_rows(task):
    inputs = {row["input"] for row in (*task.instances, *task.held_out)}
    assert not inputs & {one.input for one in (*task.positive, *task.negative)}


def test_the_task_is_what_init_proposes_for_the_table_but_for_words(
    repo_root, task, tmp_path, monkeypatch
):
    monkeypatch.chdir(repo_root)
    run("init", f"{TABLE}/waste.csv", "--out", str(tmp_path))
    (proposed,) = read_task_file(tmp_path / "waste.task.yaml")
    assert isinstance(proposed, Task)
    assert proposed.family == task.family
    assert proposed.options == task.options
    rows = [sorted(map(str, (*one.instances, *one.held_out))) for one in (proposed, task)]
    assert rows[0] == rows[1]


def test_the_recipe_builds(repo_root, task, tmp_path, monkeypatch):
    monkeypatch.chdir(repo_root)
    run("build", f"{TABLE}/regimen.yaml", f"run={tmp_path / 'run'}")
    built = tmp_path / "run" / "build"
    suites = Counter(one.suite for one in table_to_items(read_table(built / "items.parquet")))
    # one held-out row is validated on while training, the others are evaluated
    assert suites == {"unseen_rows": len(task.held_out) - 1, "validation": 1}
    ledger = json.loads((built / "ledger" / "summary.json").read_text(encoding="utf-8"))
    for step in ledger.values():
        parts = step["kept"], *step["removed"].values(), *step["failed"].values()
        assert step["in"] == sum(parts)
    made = list(table_to_instances(read_table(built / "instances.parquet")))
    assert {one.lineage.row for one in made} == set(range(len(task.instances)))
    assert {one.lineage.licence for one in made} == {"CC0-1.0"}
    assert {one.lineage.template for one in made} == {t.name for t in task.templates} | {
        "definition"
    }


@pytest.mark.slow
def test_the_recipe_runs_to_its_report(repo_root, tmp_path, monkeypatch):
    monkeypatch.chdir(repo_root)
    run("run", f"{TABLE}/regimen.yaml", f"run={tmp_path / 'run'}")
    assert (tmp_path / "run" / "report.html").is_file()
