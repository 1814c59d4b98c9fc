"""Draws depend on seed, task and row alone: pytest tests/instances/test_task_rows.py."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.formatting import (
    FormattingFailure,
    FormattingSpec,
    task_instances,
    task_items,
)
from regimen.instances.task_rows import accepted_outputs, numbered_rows, row_problem
from regimen.instances.templates import Rendering, RenderJob
from regimen.records import Example, Instance, Task, Template


def task(name: str, rows: int = 9) -> Task:
    return Task(
        name=name,
        definition="Copy.",
        templates=(Template(name="a", input="1 {{ input }}"), Template(name="b", input="2")),
        positive=tuple(Example(input=f"p{i}", output=f"p{i}") for i in range(4)),
        negative=tuple(Example(input=f"n{i}", output="x") for i in range(2)),
        instances=tuple({"input": f"i{i}", "output": f"i{i}"} for i in range(rows)),
    )


def render(jobs: Sequence[RenderJob]) -> list[Rendering]:
    return [Rendering((f"{job.sources[0]} | {job.values['input']}", "x")) for job in jobs]


def made(tasks: Sequence[Task], spec: FormattingSpec, n: int, seed: int) -> list[Instance]:
    found = list(task_instances(tasks, spec, n, seed, render))
    assert all(isinstance(one, Instance) for one in found)
    return [one for one in found if isinstance(one, Instance)]


@pytest.mark.parametrize(
    ("output", "accepted"),
    [
        ("x", ("x",)),
        (["x", "", " ", "y"], ("x", "y")),
        (("x",), ("x",)),
        (7, ("7",)),
        (None, ()),
        ([], ()),
        (" \n", ()),
    ],
)
def test_accepted_outputs(output: object, accepted: tuple[str, ...]) -> None:
    assert accepted_outputs({"output": output}) == accepted


@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 5))
def test_fewer_rows_are_a_subset_of_more(fewer: int, more: int, seed: int) -> None:
    fewer, more = sorted((fewer, more))
    small, large = (numbered_rows(task("t"), n, seed) for n in (fewer, more))
    assert len(small) == min(fewer, 9)
    assert all(row in large for row in small)
    assert all(task("t").instances[number] == row for number, row in large)


@given(st.integers(0, 9), st.integers(1, 8), st.sampled_from(["mixed", "definition", "template"]))
def test_instances_do_not_depend_on_who_makes_them(seed: int, n: int, encoding: str) -> None:
    spec = FormattingSpec(encoding=encoding, positive=(0, 0, 1, 3), negative=1)  # type: ignore[arg-type]
    tasks = [task("a"), task("b"), task("c")]
    together = {one.instance_id for one in made(tasks, spec, n, seed)}
    apart = {one.instance_id for t in reversed(tasks) for one in made([t], spec, n, seed)}
    assert together == apart
    more = {one.instance_id for one in made(tasks, spec, n + 1, seed)}
    assert together <= more


def test_negative_demonstrations_give_way_before_positive_ones() -> None:
    spec = FormattingSpec(positive=2, negative=2)
    whole = made([task("t")], spec, 1, 0)[0].messages[0].text
    for limit in range(len(whole), 0, -1):
        short = FormattingSpec(positive=2, negative=2, max_characters=limit)
        one = made([task("t")], short, 1, 0)[0]
        kinds = [name.split(":")[0] for name in one.lineage.demonstrations]
        assert kinds in (
            ["positive"] * 2 + ["negative"] * 2,
            ["positive"] * 2 + ["negative"],
            ["positive"] * 2,
            ["positive"],
            [],
        )
        assert len(one.messages[0].text) <= limit or not kinds


def test_the_published_encoding_shows_the_first_examples_in_order() -> None:
    spec = FormattingSpec(encoding="natural_instructions", positive=3, negative=1)
    for one in made([task("t")], spec, 9, seed=4):
        assert one.lineage.demonstrations == (
            "positive:1",
            "positive:2",
            "positive:3",
            "negative:1",
        )
        assert one.lineage.template == "natural_instructions"


def test_items_are_asked_with_the_demonstrations_of_training() -> None:
    spec = FormattingSpec(encoding="mixed", template_share=0.0, positive=2)
    item = task_items(task("t"), "suite", 1, 0, spec)[0]
    assert len(item.lineage.demonstrations) == 2
    assert item.messages[0].text.count("Output:") == 3
    assert item.lineage.template == "definition"


def test_rows_that_cannot_be_asked_say_why() -> None:
    bare = Task(name="t")
    problems = [
        row_problem(bare, 0, row)
        for row in ({"input": "x"}, {"text": "x", "output": "y"}, {"input": " ", "output": "y"})
    ]
    assert [problem.error if problem else "" for problem in problems] == [
        "no_answer",
        "no_input",
        "no_input",
    ]
    assert row_problem(task("t"), 0, {"input": "", "output": "y"}) is None


def test_templates_ask_tables_that_have_no_input_column() -> None:
    table = Task(
        name="t",
        templates=(Template(name="q", input="{{ premise }}?", output="{{ label }}"),),
        instances=({"premise": "p", "label": "yes"},),
    )
    spec = FormattingSpec(encoding="template")
    found = list(
        task_instances([table], spec, 1, 0, lambda jobs: [Rendering(j.sources) for j in jobs])
    )
    assert [type(one) for one in found] == [Instance]


def test_a_task_without_templates_is_counted_not_asked_otherwise() -> None:
    bare = Task(name="t", definition="d", instances=({"input": "a", "output": "b"},))
    found = list(task_instances([bare], FormattingSpec(encoding="template"), 1, 0, render))
    assert [one.error for one in found if isinstance(one, FormattingFailure)] == ["no_template"]
    mixed = FormattingSpec(encoding="mixed", template_share=1.0)
    assert made([bare], mixed, 1, 0)[0].lineage.template == "definition"


def test_a_held_out_task_that_cannot_be_asked_is_an_error() -> None:
    bare = Task(name="t", definition="d", instances=({"input": "a", "output": ""},))
    with pytest.raises(DataError, match="no-items"):
        task_items(bare, "suite", 1, 0)
