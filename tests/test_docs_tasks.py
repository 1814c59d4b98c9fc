"""docs/tasks.md says what the code does, and its files build: pytest tests/test_docs_tasks.py."""

import json
import re
from dataclasses import fields

import pytest

from helpers.doc_examples import code, table
from regimen.cli import main
from regimen.instances import data_spec, task_reader
from regimen.instances.data_rows import ANSWERS, CANONICAL
from regimen.instances.lints.findings import LINTS
from regimen.instances.task_files import read_task_file, task_inputs
from regimen.records import Example, Task, Template
from regimen.tables import read_table, table_to_instances, table_to_items

FILES = re.compile(r'(?ms)^```\w+ title="([^"]+)"\n(.*?)^```$')


@pytest.fixture(scope="module")
def page(repo_root):
    return (repo_root / "docs" / "tasks.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(page, tmp_path, monkeypatch):
    """The files of the page, written where they say."""
    for name, text in FILES.findall(page):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(settings, name):
    """The folder of a build, and its ledger, whose account is even."""
    with pytest.raises(SystemExit) as stopped:
        main(["build", settings])
    assert not stopped.value.code
    ledger = json.loads((name / "build/ledger/summary.json").read_text(encoding="utf-8"))
    for step in ledger.values():
        assert step["in"] == sum(
            (step["kept"], *step["removed"].values(), *step["failed"].values())
        )
    return name / "build", ledger


def firsts(rows):
    """All that is written as code in the first cells of a table's rows."""
    return [name for row in rows for name in code(row[0])]


def second(rows, first):
    """What is written as code in the second cell of the row that begins with a name."""
    (found,) = (set(code(row[1])) for row in rows if code(row[0])[0] == first)
    return found


def test_the_sources_of_the_page_build_without_a_failure(folder):
    place, ledger = build("settings.yaml", folder / "runs/tasks")
    assert ledger["format"]["failed"] == ledger["format"]["removed"] == {}
    made = list(table_to_instances(read_table(place / "instances.parquet")))
    tasks = {"first_vowel", "animal_quiz", "mood", "fruit", "task1_rhyme", "weather"}
    assert {one.lineage.task for one in made} == tasks
    assert {"which", "taste"} <= {one.lineage.template for one in made}
    items = table_to_items(read_table(place / "items.parquet"))
    asked = {one.lineage.task for one in items if one.suite == "unseen_rows"}
    assert asked == {"first_vowel", "animal_quiz", "mood"}


def test_the_rewordings_of_the_page_are_kept_and_removed_as_it_says(folder):
    place, ledger = build("reworded-settings.yaml", folder / "runs/reworded")
    assert ledger["reword"] == {"in": 6, "kept": 3, "removed": {"marks_lost": 3}, "failed": {}}
    made = table_to_instances(read_table(place / "instances.parquet"))
    new = {one.lineage.template for one in made if one.lineage.generator}
    assert new == {"plain~p1", "plain~es", "listed~p1"}


def test_every_key_of_a_task_is_in_its_file_and_in_the_table(page, folder):
    assert set(firsts(table(page, "Key"))) == set(task_reader.KEYS)
    *failures, task = read_task_file(folder / "vowel.task.yaml")
    assert failures == []
    assert isinstance(task, Task)
    given = {key for key in task_reader.KEYS if getattr(task, key, None)}
    assert given == set(task_reader.KEYS) - {"data", "templates_from"}


@pytest.mark.parametrize(("key", "record"), [("templates", Template), ("positive", Example)])
def test_every_key_of_templates_and_examples_is_in_the_table(page, key, record):
    assert second(table(page, "Key"), key) == {field.name for field in fields(record)}


def test_every_key_of_data_is_in_its_table(page):
    rows = table(page, "Key of `data`")
    assert set(firsts(rows)) == set(data_spec._KEYS)
    assert second(rows, "columns") == set(CANONICAL)
    assert second(rows, "answer") == set(ANSWERS)


def test_a_task_of_the_hub_names_no_file(folder):
    assert task_inputs(folder / "hub.task.yaml") == ()


def test_every_error_and_failure_is_one_of_the_code(page, repo_root):
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for row in ("instances", "stages", "settings")
        for file in (repo_root / "src/regimen" / row).rglob("*.py")
    )
    errors = [slug for row in table(page, "Error") for slug in code(row[0].split(" (")[-1])]
    failures = firsts(table(page, "Failure of a row"))
    assert len(errors) > 12
    assert len(failures) > 12
    made = {"unknown-dataset", "unknown-subset", "unknown-template"}
    # a failure is made of the slug of an error too
    spelled = {name: (name, name.replace("_", "-")) for name in failures}
    assert [one for one in errors if one not in made and f'"{one}"' not in source] == []
    assert [n for n, forms in spelled.items() if not any(f'"{f}"' in source for f in forms)] == []


def test_every_lint_is_on_its_page(repo_root):
    page = (repo_root / "docs" / "lints.md").read_text(encoding="utf-8")
    rows = table(page[page.index("## All lints") :], "lint")
    assert [row[0] for row in rows] == list(LINTS)
    assert [row[1] for row in rows] == [one.severity for one in LINTS.values()]


def test_every_page_is_in_the_navigation(repo_root):
    site = (repo_root / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.name for page in (repo_root / "docs").glob("*.md")]
    assert [name for name in pages if f": {name}\n" not in site] == []
