"""Tasks as files, in both spellings: pytest tests/instances/test_task_files.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.formats import read_source
from regimen.instances.natural_tasks import natural_instructions_task
from regimen.instances.readers import RawRow, RowFailure, read_rows
from regimen.instances.task_files import (
    parse_task,
    read_task_file,
    task_yaml,
    write_task,
)
from regimen.records import Example, Task, Template

NATURAL = {
    "Definition": ["Say the opposite."],
    "Categories": ["Word Relations", "Wording"],
    "Domains": ["Everyday"],
    "Source": ["words"],
    "Reasoning": [],
    "Input_language": ["English"],
    "Output_language": ["French"],
    "Instruction_language": ["English"],
    "Instance License": ["CC BY 4.0"],
    "Positive Examples": [
        {"input": "hot", "output": "cold", "explanation": "Cold is the opposite of hot."}
    ],
    "Negative Examples": ["-", {"input": "hot", "output": ["warm"]}],
    "Instances": [
        {"id": "1", "input": "up", "output": ["down", "downwards"]},
        {"id": "2", "input": "in", "output": []},
        {"id": "3", "input": "left", "output": "right"},
        {"id": "4", "input": "", "output": ["x"]},
        "five",
    ],
}


def only_task(found: list[Task | RowFailure]) -> Task:
    assert len(found) == 1
    assert isinstance(found[0], Task), found[0]
    return found[0]


def test_a_natural_instructions_task_keeps_all_it_says() -> None:
    *failed, task = natural_instructions_task(NATURAL, name="task1_opposites", source="mine")
    assert isinstance(task, Task)
    assert task == Task(
        name="task1_opposites",
        family="Word Relations",
        category="Word Relations",
        language="fr",
        instruction_language="en",
        licence="CC BY 4.0",
        source="mine",
        definition="Say the opposite.",
        positive=(Example(input="hot", output="cold", explanation="Cold is the opposite of hot."),),
        negative=(Example(input="hot", output="warm"),),
        instances=(
            {"id": "1", "input": "up", "output": ["down", "downwards"]},
            {"id": "3", "input": "left", "output": ["right"]},
        ),
        tags={
            "domains": "Everyday",
            "dataset": "words",
            "categories": "Word Relations; Wording",
            "input_language": "en",
            "output_language": "fr",
        },
    )
    assert [(f.row, f.error) for f in failed if isinstance(f, RowFailure)] == [
        (2, "no_answer"),
        (4, "no_question"),
        (5, "not_an_object"),
    ]


def test_the_licence_of_the_source_holds_where_the_task_knows_none() -> None:
    def licence(said: Any) -> str:
        values = NATURAL | {"Instance License": said}
        found = list(natural_instructions_task(values, name="t", licence="MIT"))
        assert isinstance(found[-1], Task)
        return found[-1].licence

    assert [licence(["Unknown"]), licence(None), licence(["GPL-3.0"])] == ["MIT", "MIT", "GPL-3.0"]


def test_a_task_without_instances_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(NATURAL | {"Instances": []}))
    (tmp_path / "u.json").write_text(json.dumps(NATURAL))
    found = list(read_source(tmp_path))
    assert isinstance(found[0], RowFailure)
    assert (found[0].error, found[0].source) == ("no_instances", "t.json")
    assert isinstance(found[-1], Task)
    assert found[-1].name == "u"


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
visible = names.filter(str.strip)
anything = names | st.sampled_from(
    ["no", "1e-4", "007", "null", "~", "true", "- a", "a: b", "a\nb"]
)
told = visible | st.sampled_from(
    ["no", "1e-4", "007", "true", " a ", "a\n", "#", "<<", "2024-01-01"]
)
examples = st.lists(
    st.builds(
        Example,
        input=anything,
        output=anything,
        explanation=st.none() | anything,
        reason=anything,
        suggestion=anything,
    ),
    max_size=2,
).map(tuple)
rows = st.fixed_dictionaries(
    {"input": told, "output": told | st.lists(told, min_size=1, max_size=2)},
    optional={
        "options": st.lists(anything, max_size=2),
        "rationale": anything,
        "level": st.integers(),
    },
)
tasks = st.builds(
    Task,
    name=told,
    family=anything,
    category=anything,
    language=told,
    instruction_language=told,
    licence=anything,
    source=anything,
    definition=anything,
    definitions=st.dictionaries(told, anything, max_size=2),
    avoid=anything,
    output_format=anything,
    options=st.lists(anything, max_size=3).map(tuple),
    templates=st.lists(
        st.builds(
            Template,
            name=told,
            input=told,
            output=anything,
            choices=anything,
            language=told,
            inverted=st.booleans(),
            tags=st.dictionaries(told, anything, max_size=2),
        ),
        max_size=2,
    ).map(tuple),
    positive=examples,
    negative=examples,
    instances=st.lists(rows, min_size=1, max_size=2).map(tuple),
    held_out=st.lists(rows, max_size=2).map(tuple),
    tags=st.dictionaries(told, anything, max_size=2),
)


@given(tasks)
def test_a_task_survives_the_way_to_yaml_and_back(task: Task) -> None:
    assert only_task(list(parse_task(task_yaml(task), "task.yaml"))) == task


@given(tasks, st.booleans())
def test_a_task_of_templates_alone_can_be_read(task: Task, held_out: bool) -> None:
    bare = replace(task, instances=(), held_out=task.held_out if held_out else ())
    assert only_task(list(parse_task(task_yaml(bare), "t.yaml", require_rows=False))) == bare
    (failure,) = parse_task(task_yaml(bare), "t.yaml")
    assert isinstance(failure, RowFailure)
    assert failure.error == "no_instances"


def test_a_task_file_is_written_and_read(tmp_path: Path) -> None:
    task = Task(
        name="t", definition="Line one.\nLine two.", instances=({"input": "a", "output": "b"},)
    )
    path = write_task(tmp_path / "t.yaml", task)
    assert only_task(list(read_task_file(path))) == task
    assert list(read_source(path, licence="MIT")) != [task]
    with pytest.raises(ValueError, match="function"):
        task_yaml(Task(name="t", generator=lambda seed, n: []))


def test_inputs_and_outputs_stay_as_they_were_written() -> None:
    rows = ("  - {input: 007, output: [1.50, no, true, 1e-4]}\n", "  - input: ~\n    output: a\n")
    text = "instances:\n" + "".join(rows)
    failed, task = parse_task(text, "t.yaml", {"name": "t", "licence": "MIT"})
    assert isinstance(task, Task)
    assert task.instances == ({"input": "007", "output": ["1.50", "no", "true", "1e-4"]},)
    assert task.licence == "MIT"
    assert isinstance(failed, RowFailure)
    assert (failed.row, failed.error) == (3, "no_question")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: t\ndefinitoin: x\n", 2, "Did you mean 'definition'?"),
        ("name: t\ninstances: 5\n", 2, "instances is not a list"),
        ("name: t\npositive:\n  - {input: a}\n", 3, "has no output"),
        ("name: t\ntemplates:\n  - {name: a}\n", 3, "has no input"),
        ("name: t\ntemplates:\n  - input: a\n    inverted: maybe\n", 4, "not true or false"),
        ("name: [a]\n", 1, "name is not a text"),
        ("name: t\nname: u\n", 2, "set twice"),
        ("name: t\n  family: u\n", 2, "not valid YAML"),
        ("- a\n", 1, "not a section"),
        ("family: f\n", 1, "has no name"),
    ],
)
def test_errors_name_the_line(text: str, line: int, says: str) -> None:
    rows = "" if "instances" in text else "instances:\n  - {input: a, output: b}\n"
    with pytest.raises(DataError) as caught:
        list(parse_task(text + (rows if text[0] != "-" else ""), "t.yaml"))
    assert caught.value.slug == "task-file"
    assert says in str(caught.value)
    assert caught.value.where.startswith(f"t.yaml:{line}:")


def test_an_empty_task_file_is_an_error() -> None:
    with pytest.raises(DataError, match="file-empty"):
        list(parse_task("# nothing\n", "t.yaml"))


@pytest.mark.realdata
def test_every_real_natural_instructions_task_parses(shared_data: Path) -> None:
    directory = shared_data / "super-natural-instructions" / "tasks"
    raw = {row.source: row for row in read_rows(directory) if isinstance(row, RawRow)}
    found = list(read_source(directory, name="sni"))
    assert len(found) == len(raw) >= 70
    for record in found:
        assert isinstance(record, Task), record
        values = raw[f"{record.name}.json"].values
        assert len(record.instances) == len(values["Instances"])
        assert len(record.positive) == len(values["Positive Examples"])
        assert record.definition
        assert record.family == values["Categories"][0]
    languages = {task.name: task.language for task in found if isinstance(task, Task)}
    assert languages["task1239_ted_translation_gl_ja"] == "gl"
    assert languages["task1393_superglue_copa_text_completion"] == "en"
