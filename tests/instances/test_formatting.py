"""pytest tests/instances/test_formatting.py"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import DataError
from regimen.instances.encodings import natural_instructions
from regimen.instances.formatting import (
    FormattingFailure,
    FormattingSpec,
    task_instances,
    task_items,
)
from regimen.instances.templates import RenderFailure, Rendering
from regimen.records import Example, Task, Template

TASK = Task(
    name="first",
    family="pick",
    language="en",
    licence="Apache-2.0",
    source="test",
    definition="Name the first item",
    templates=(Template(name="t1", input="First of {{ input }}"), Template(name="t2", input="x")),
    positive=(
        Example(input="a, b", output="a", explanation="a comes first"),
        Example(input="c, d", output="c"),
        Example(input="e, f", output="e"),
    ),
    negative=(Example(input="a, b", output="b", explanation="b comes second."),),
    instances=tuple({"input": f"{x}, z", "output": [x, x.upper()]} for x in "abcdefgh"),
)


def render(jobs):
    def text(source, values):
        return source.replace("{{ input }}", values["input"]).replace(
            "{{ output }}", values["output"]
        )

    return [Rendering(tuple(text(source, job.values) for source in job.sources)) for job in jobs]


def made(spec, n=8, seed=0, task=TASK):
    return list(task_instances([task], spec, n, seed, render))


def test_a_bare_prompt_is_the_definition_and_the_input():
    first = made(FormattingSpec())[0]
    assert first.messages[0].text == "Name the first item\na, z"
    assert first.messages[1].text == "a"
    assert (first.lineage.task, first.lineage.row, first.lineage.licence) == (
        "first",
        0,
        "Apache-2.0",
    )


def test_demonstrations_come_between_definition_and_query():
    prompt = made(FormattingSpec(positive=1, negative=1, explanations=True))[0].messages[0].text
    lines = prompt.split("\n")
    assert lines[0] == "Name the first item"
    assert lines[-2:] == ["Input: a, z", "Output:"]
    assert any(line.startswith("Not like this. Input: ") for line in lines)
    assert "Explanation: b comes second." in lines


def test_the_super_natural_instructions_encoding_byte_for_byte():
    assert natural_instructions(TASK, "x, y", TASK.positive[:1], TASK.negative, True) == (
        "Definition: Name the first item.\n\n"
        " Positive Example 1 -\nInput: a, b.\n Output: a.\n Explanation: a comes first.\n\n"
        " Negative Example 1 -\nInput: a, b.\n Output: b.\n Explanation: b comes second.\n\n"
        "Now complete the following example -\nInput: x, y.\nOutput: "
    )


@given(st.integers(0, 6), st.integers(0, 40))
def test_a_demonstration_never_holds_the_query(k, seed):
    spec = FormattingSpec(positive=k)
    task = Task(
        name="t",
        definition="d",
        positive=tuple(Example(input=f"{x} , z", output=x) for x in "abcd"),
        instances=tuple({"input": f"{x}, z", "output": x} for x in "abcd"),
    )
    twin = Task(
        name="t",
        definition="d",
        positive=tuple(Example(input=f"{x}, Z", output=x) for x in "abcd"),
        instances=task.instances,
    )
    for one in made(spec, n=4, seed=seed, task=twin):
        query = one.messages[0].text.split("Input: ")[-1].split("\n")[0]
        assert query not in [d.replace("Z", "z") for d in one.lineage.demonstrations]
        assert len(one.lineage.demonstrations) <= min(k, 3)


def test_demonstrations_give_way_to_the_query():
    short = made(FormattingSpec(positive=3, max_characters=70))[0].messages[0].text
    assert short.endswith("Input: a, z\nOutput:")
    assert short.count("Input:") == 2


def test_templates_are_asked_one_all_or_some():
    assert len(made(FormattingSpec(encoding="template"))) == 8
    assert len(made(FormattingSpec(encoding="template", templates="all"))) == 16
    mixed = [one for seed in range(20) for one in made(FormattingSpec(encoding="mixed"), seed=seed)]
    by_definition = sum(one.lineage.template == "definition" for one in mixed)
    assert 0.6 < by_definition / len(mixed) < 0.8


def test_rows_and_templates_that_fail_are_failures_with_their_reason():
    task = Task(
        name="t",
        templates=TASK.templates[:1],
        instances=({"input": "a", "output": ""}, {"input": "b", "output": "c"}),
    )
    spec = FormattingSpec(encoding="template")
    broken = lambda jobs: [RenderFailure("template_timeout", "", "") for _ in jobs]  # noqa: E731
    found = list(task_instances([task], spec, 9, 0, broken))
    assert [one.error for one in found] == ["no_answer", "template_timeout"]
    assert all(isinstance(one, FormattingFailure) for one in found)


def test_a_task_without_rows_is_an_error():
    with pytest.raises(DataError, match="neither instances nor a generator"):
        made(FormattingSpec(), task=Task(name="empty"))


def test_items_ask_as_training_asks_and_keep_all_references():
    item = task_items(TASK, "suite", 2, seed=0)[0]
    assert item.messages[0].text in {one.messages[0].text for one in made(FormattingSpec())}
    assert len(item.references) == 2
    assert item.cluster == "first"
    assert item.input not in {d.input for d in item.demonstrations}
