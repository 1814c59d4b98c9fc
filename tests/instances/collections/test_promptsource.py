"""Templates of promptsource as tasks: pytest tests/instances/collections/test_promptsource.py."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.collections.files import FileText
from regimen.instances.collections.promptsource import parse_promptsource, read_promptsource
from regimen.instances.readers import RowFailure
from regimen.instances.templates import Rendering, TemplateWorker, template_job
from regimen.records import Task, Template

HEAD = "dataset: fruit_reviews\nsubset: tropical\ntemplates:\n"


def entry(identity: str, name: str, jinja: str, choices: str = "null", **metadata: str) -> str:
    """A template as the format writes it; texts are written as JSON, which YAML reads."""
    said = "".join(f"      {key}: {value}\n" for key, value in metadata.items())
    return (
        f"  {identity}: !Template\n    answer_choices: {choices}\n    id: {identity}\n"
        f"    jinja: {json.dumps(jinja)}\n    metadata: !TemplateMetadata\n"
        f"      choices_in_prompt: null\n{said}    name: {name}\n    reference: ''\n"
    )


TASTE = entry(
    "aaaaaaaa-1",
    "taste",
    "How was it?\n{{ text }} ||| {{ answer_choices[label] }}",
    "sweet ||| sour",
    languages="[es, en]",
    metrics="[Accuracy, Other]",
    original_task="true",
)
WRITE = entry("bbbbbbbb-2", "write", "{{ label }} ||| {{ text }}", original_task="false")


def read(text: str) -> list[Task | RowFailure]:
    return list(parse_promptsource(FileText("t.yaml", text, "t.yaml", lone=True)))


def task_of(text: str) -> Task:
    (task,) = read(text)
    assert isinstance(task, Task), task
    return task


def test_a_file_is_a_task_without_rows_that_keeps_all_it_says() -> None:
    task = task_of(HEAD + TASTE + WRITE)
    assert task == Task(
        name="fruit_reviews/tropical",
        source="promptsource",
        tags={"dataset": "fruit_reviews", "subset": "tropical"},
        templates=(
            Template(
                name="taste",
                input="How was it?\n{{ text }} ||| {{ answer_choices[label] }}",
                output="",
                choices="sweet ||| sour",
                language="es",
                tags={
                    "id": "aaaaaaaa-1",
                    "metrics": "Accuracy; Other",
                    "languages": "es; en",
                },
            ),
            Template(
                name="write",
                input="{{ label }} ||| {{ text }}",
                output="",
                inverted=True,
                tags={"id": "bbbbbbbb-2"},
            ),
        ),
    )


def test_its_templates_render_prompt_and_answer() -> None:
    task = task_of(HEAD + TASTE)
    with TemplateWorker() as worker:
        (made,) = worker.render([template_job(task.templates[0], {"text": "Mango", "label": 1})])
    assert isinstance(made, Rendering), made
    assert (made.texts, made.options) == (("How was it?\nMango", "sour"), ("sweet", "sour"))


def test_bad_templates_are_failures_with_their_line_and_the_others_stay() -> None:
    text = HEAD + "".join(
        [
            entry("a", "no_answer", "{{ text }}"),
            entry("b", "open", "{{ text ||| x"),
            entry("c", "unknown", "{{ text | frobnicate }} ||| x"),
            entry("d", "choices", "{{ text }} ||| x", json.dumps("{% if %}")),
            entry("e", "listed", "{{ text }} ||| x", "[a, b]"),
            "  f: {name: plain, jinja: 'a ||| b'}\n",
            "  g: !Template {name: no_source}\n",
            TASTE,
        ]
    )
    *failed, task = read(text)
    assert isinstance(task, Task)
    assert [template.name for template in task.templates] == ["taste"]
    lines = text.splitlines()
    found = []
    for failure in failed:
        assert isinstance(failure, RowFailure)
        assert lines[failure.row - 1].lstrip().startswith(f"{'abcdefg'[len(found)]}: ")
        found.append(failure.error)
    wrong = ["not_a_template"] * 3
    assert found == ["no_separator", *["template_syntax"] * 3, *wrong]


def test_equal_names_are_told_apart_by_their_ids() -> None:
    bodies = [entry(f"{n}{n}{n}{n}{n}{n}{n}{n}-x", "same", "a ||| b") for n in (1, 2)]
    task = task_of(HEAD + "".join(bodies) + TASTE)
    names = [template.name for template in task.templates]
    assert names == ["same (11111111)", "same (22222222)", "taste"]


def test_plain_scalars_stay_the_texts_that_were_written() -> None:
    task = task_of(
        "dataset: 007\ntemplates:\n"
        + entry("1e5", "no", "a ||| b", "True ||| False", languages="[no]")
    )
    template = task.templates[0]
    assert (task.name, template.name, template.language) == ("007", "no", "no")
    assert (template.tags["id"], template.choices) == ("1e5", "True ||| False")
    assert task.instruction_language == "no"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (HEAD + "  a: !Template\n\tname: x\n", 5, "tab"),
        (HEAD + "  a: !Other {}\n", 4, "!Other"),
        (HEAD + "  a: !!python/object/apply:os.system ['true']\n", 4, "python/object"),
        (HEAD + "  a: !Template {x: !!python/name:os.system }\n", 4, "python/name"),
        (HEAD + TASTE + TASTE, 4 + TASTE.count("\n"), "aaaaaaaa-1 is set twice"),
        (HEAD + "  a: !Template {name: x, name: y}\n", 4, "name is set twice"),
        (HEAD + "  a: !Template x\n", 4, "mapping"),
        ("dataset: x\ndataset: y\ntemplates: {}\n", 1, "set twice"),
        ("subset: x\ntemplates: {}\n", 1, "names no data set"),
        ("dataset: x\ntemplates: []\n", 2, "no templates by id"),
        ("- a\n", 1, "not a section"),
    ],
)
def test_errors_name_the_line(text: str, line: int, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text)
    assert caught.value.slug == "collection-file"
    assert says in str(caught.value)
    assert caught.value.where.startswith(f"t.yaml:{line}")


def test_control_characters_and_deep_nesting_are_errors_too() -> None:
    for text in (HEAD + "  a: \x00", HEAD + "  a: " + "[" * 3000):
        with pytest.raises(DataError, match="collection-file"):
            read(text)
    with pytest.raises(DataError, match="file-empty"):
        read(" \n")


def test_a_file_without_templates_is_a_failure() -> None:
    (failure,) = read("dataset: x\ntemplates: {}\n")
    assert isinstance(failure, RowFailure)
    assert failure.error == "no_templates"


def test_a_tree_and_a_bundle_give_the_same_tasks(tmp_path: Path) -> None:
    files = {"a/templates.yaml": HEAD + TASTE, "b/c/templates.yaml": "dataset: x\ntemplates: [\n"}
    tree = tmp_path / "tree"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(text)
    (tree / "LICENSE").write_text("free")
    bundle = tmp_path / "all.jsonl.gz"
    rows = [{"path": name, "text": text} for name, text in {"LICENSE": "free", **files}.items()]
    with gzip.open(bundle, "wt") as file:
        file.write("\n".join(map(json.dumps, rows)) + '\n{"path": 3}\n')
    task, failure = read_promptsource(tree)
    assert task == task_of(HEAD + TASTE)
    assert isinstance(failure, RowFailure)
    assert (failure.row, failure.source) == (0, "b/c/templates.yaml")
    assert "templates.yaml:3" in failure.got
    first, second, third = read_promptsource(bundle)
    assert first == task
    assert isinstance(second, RowFailure)
    assert (second.error, second.source) == (failure.error, failure.source)
    assert isinstance(third, RowFailure)
    assert third.error == "not_a_file"


def test_a_place_without_such_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="file-format"):
        list(read_promptsource(tmp_path))
    (tmp_path / "t.yaml").write_text("dataset: x\ntemplates: {}\n")
    records = read_promptsource(tmp_path)
    assert isinstance(next(records), RowFailure)
    with pytest.raises(DataError, match="no-usable-rows"):
        next(records)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=9)


@given(name=words.filter(str.strip), before=words, choices=words | st.none())
def test_texts_survive_whatever_they_look_like(name: str, before: str, choices: str | None) -> None:
    source = "".join(c for c in before if c not in "{}") + "|||"
    options = None if choices is None else "".join(c for c in choices if c not in "{}")
    values = {"name": name, "jinja": source, "answer_choices": options}
    body = yaml.safe_dump({"x": values}, allow_unicode=True, default_flow_style=True, width=10**6)
    body = body.strip().removeprefix("{x: ").removesuffix("}")
    template = task_of(f"{HEAD}  i: !Template {body}\n").templates[0]
    assert (template.name, template.input, template.choices) == (name, source, options or "")
