"""Lists of patterns as tasks: pytest tests/instances/collections/test_flan.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.errors import DataError, TemplateError
from regimen.instances.collections.files import FileText
from regimen.instances.collections.flan import parse_patterns, pattern_source, read_patterns
from regimen.instances.readers import RowFailure
from regimen.instances.templates import Rendering, TemplateWorker, template_job
from regimen.records import Task, Template

PATTERNS = {
    "weather": [
        ["{day}: {sky}.\nIs it wet?\n{options_}", "{answer}"],
        {"inputs": "What of {day}?", "targets": "{sky}", "inputs_prefix": "Q: ", "name": "short"},
    ],
    "size": [["Is {x} {{big}}?", "{answer}"]],
}
TASKS = [
    Task(
        name="weather",
        source="patterns",
        templates=(
            Template(
                name="pattern_1",
                input="{{ day }}: {{ sky }}.\nIs it wet?\n{{ options_block }}",
                output="{{ output }}",
            ),
            Template(
                name="short",
                input="What of {{ day }}?",
                output="{{ sky }}",
                tags={"inputs_prefix": "Q: "},
            ),
        ),
    ),
    Task(
        name="size",
        source="patterns",
        templates=(
            Template(name="pattern_1", input="Is {{ x }} {{ '{' }}big}?", output="{{ output }}"),
        ),
    ),
]


def read(text: str, name: str) -> list[Task | RowFailure]:
    return list(parse_patterns(FileText(name, text, name, lone=True)))


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.json", json.dumps(PATTERNS)), ("p.yaml", yaml.safe_dump(PATTERNS, sort_keys=False))],
)
def test_the_same_tasks_from_json_and_yaml(name: str, text: str) -> None:
    assert read(text, name) == TASKS


def test_a_python_file_is_read_and_never_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    text = (
        f"open({str(ran)!r}, 'w').close()\n"
        "LIMIT = 3\nOTHER = {'a': 1}\nESCAPE = '\\d'\n"
        f"PATTERNS: dict = {PATTERNS!r}\n"
        "def late():\n    PATTERNS['more'] = [('a', 'b')]\n"
    )
    (tmp_path / "templates.py").write_text(text)
    found = list(read_patterns(tmp_path / "templates.py"))
    assert not ran.exists()
    assert [task.tags for task in found if isinstance(task, Task)] == [{"variable": "PATTERNS"}] * 2
    assert [getattr(task, "templates", None) for task in found] == [t.templates for t in TASKS]


def test_what_is_not_written_out_in_python_is_a_failure_with_its_line() -> None:
    text = (
        "A = {\n  'one': [('{a}', 'b'), make('x')],\n  'two': [('a', '{b}')],\n"
        "  'two': [('c', 'd')],\n  name: [('a', 'b')],\n  **rest,\n  'three': 3,\n}\n"
        "B = {'one': (['x', 'y'],)}\n"
    )
    found = read(text, "t.py")
    names = [record.name for record in found if isinstance(record, Task)]
    assert names == ["A.one", "two", "B.one"]
    failures = [(f.row, f.error) for f in found if isinstance(f, RowFailure)]
    assert failures == [
        (2, "not_literal"),
        (4, "duplicate_task"),
        (5, "not_literal"),
        (6, "not_literal"),
        (7, "no_list"),
    ]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (["{0}", "a"], "{0}"),
        (["{}", "a"], "{}"),
        (["{x.y}", "a"], "{x.y}"),
        (["{x[0]}", "a"], "{x[0]}"),
        (["{x!r}", "a"], "{x!r}"),
        (["{x:>3}", "a"], "{x:>3}"),
        (["{true}", "a"], "{true}"),
        (["{not}", "a"], "{not}"),
        (["{self}", "a"], "{self}"),
        (["{a b}", "a"], "{a b}"),
        (["open {", "a"], "no partner"),
        (["close }", "a"], "no partner"),
        (["a"], "neither a pair"),
        (["a", ""], "one input and one target"),
        (["a", 3], "no text"),
        ({"input": "a"}, "one input and one target"),
        ({"input": "a", "inputs": "b", "target": "c"}, "one input and one target"),
        ({"input": "a", "target": "c", "inptus_prefix": "b"}, "unknown key"),
        ("ab", "neither a pair"),
    ],
)
def test_a_bad_pattern_is_a_failure_that_shows_it(entry: Any, says: str) -> None:
    failure, task = read(json.dumps({"t": [["{ok}", "x"], entry]}), "p.json")
    assert isinstance(failure, RowFailure)
    assert isinstance(task, Task)
    assert says in failure.got
    assert (failure.row, failure.error, failure.source) == (2, "pattern_field", "p.json#t")
    assert "'t', pattern 2" in failure.got
    assert [template.name for template in task.templates] == ["pattern_1"]


def test_other_failures_of_a_file() -> None:
    text = "a: []\nb: 3\nc:\n- [x, y]\n- {input: x, target: y, name: pattern_1}\n"
    first, second, third, task = read(text, "p.yaml")
    assert isinstance(task, Task)
    failures = [f for f in (first, second, third) if isinstance(f, RowFailure)]
    expected = [(1, "no_templates"), (2, "no_list"), (5, "pattern_field")]
    assert [(f.row, f.error) for f in failures] == expected


@pytest.mark.parametrize(
    ("name", "text", "where", "says"),
    [
        ("p.json", '{"a": [\n]', "p.json:2", "not valid JSON"),
        ("p.json", '{"a": [], "a": []}', "p.json", "'a' is set twice"),
        ("p.json", "[1]", "p.json", "no list of patterns"),
        ("p.json", "[" * 100_000, "p.json", ""),
        ("p.yaml", "a: []\na: []\n", "p.yaml:2", "set twice"),
        ("p.yaml", "a: [\n", "p.yaml:2", "not valid YAML"),
        ("p.yaml", "- a\n", "p.yaml", "no list of patterns"),
        ("p.py", "a = 1\nb = (\n", "p.py:2", "not Python"),
        ("p.py", "a = '\0'\n", "p.py", "not Python"),
        ("p.py", "a = {'b': 1}\n", "p.py", "no list of patterns"),
    ],
)
def test_errors_of_a_file_name_the_place(name: str, text: str, where: str, says: str) -> None:
    with pytest.raises(DataError) as caught:
        read(text, name)
    assert caught.value.slug == "collection-file"
    assert says in str(caught.value)
    assert caught.value.where.startswith(where)


names = st.sampled_from(["premise", "x1", "größe", "_a"])
literals = st.text(st.sampled_from("{}%#-ab \n\r'\"\\|é"), max_size=6)
written = st.lists(st.tuples(literals, names), max_size=3)


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker() as running:
        yield running


@examples(20)
@given(patterns=st.lists(st.tuples(written, literals), min_size=1, max_size=4))
def test_a_pattern_prints_what_format_prints(worker: TemplateWorker, patterns: list[Any]) -> None:
    values = {"premise": "a {{ b }}", "x1": "", "größe": "%}", "_a": "\n"}
    sources, expected = [], []
    for pieces, end in patterns:
        doubled = [(text.replace("{", "{{").replace("}", "}}"), name) for text, name in pieces]
        pattern = "".join(f"{text}{{{name}}}" for text, name in doubled)
        pattern += end.replace("{", "{{").replace("}", "}}")
        sources.append(pattern_source(pattern))
        expected.append(pattern.format(**values))
    # an empty output would say that the input writes both
    jobs = [template_job(Template(name="t", input="x", output=f"{s}."), values) for s in sources]
    made = worker.render(jobs)
    texts = [one.texts[1] if isinstance(one, Rendering) else one for one in made]
    assert texts == [f"{text}." for text in expected]


def test_a_pattern_error_is_one_a_user_can_act_on() -> None:
    with pytest.raises(TemplateError, match="pattern-field") as caught:
        pattern_source("Say {x!s}.")
    assert caught.value.got == "{x!s} in 'Say {x!s}.'"
    assert "{premise}" in caught.value.fix
