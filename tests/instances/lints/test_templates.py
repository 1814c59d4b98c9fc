"""Lints on templates, from their sources and from what they write:
pytest tests/instances/lints/test_templates.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from helpers.counting import lines_run
from regimen.instances.lints.findings import Finding
from regimen.instances.lints.sources import lint_sources
from regimen.instances.lints.tasks import lint_task, lint_tasks
from regimen.instances.lints.templates import lint_templates
from regimen.instances.templates import Rendering, RenderJob, TemplateWorker
from regimen.records import Row, Task, Template


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker() as running:
        yield running


ANIMALS = ("heron", "otter", "badger", "lizard")
ROWS: tuple[Row, ...] = tuple(
    {"input": f"It lives near place {i}.", "output": ANIMALS[i % 4]} for i in range(12)
)


def task(*templates: Template, rows: Sequence[Row] = ROWS) -> Task:
    return Task(name="t", templates=templates, instances=tuple(rows))


def template(source: str, output: str = "", **values: Any) -> Template:
    return Template(**{"name": "one", "input": source, "output": output, **values})


def found(worker: TemplateWorker, one: Task) -> dict[str, Finding]:
    findings = lint_templates(one, worker.render, one.instances)
    assert len({(f.lint, f.template) for f in findings}) == len(findings)
    return {finding.lint: finding for finding in findings}


GOOD = [
    template("Which animal? {{ input }} ||| {{ output }}"),
    template("Which animal? {{ input }}", "{{ output }}"),
    template("哪种动物？{{ input }} ||| {{ output | upper }}"),
    template("أي حيوان؟ {{ input }}", "{{ output }}"),
    template(
        "{{ input }} Is it a {{ answer_choices | join(', a ') }}? ||| {{ output }}",
        choices=" ||| ".join(ANIMALS),
    ),
    template("Where does a {{ output }} live? ||| {{ input }}", inverted=True),
    template("{% if input %}{{ input }} Which? ||| {{ output }}{% else %}None ||| none{% endif %}"),
]


@pytest.mark.parametrize("good", GOOD)
def test_a_sound_template_has_no_findings(worker: TemplateWorker, good: Template) -> None:
    assert found(worker, task(good)) == {}


LEAKS = [
    "{{ input }} Is it a {{ output }}? ||| {{ output }}",
    "{{ input }} ({{ output | trim }}) ||| {{ output }}",
    "{% for word in [output] %}{{ input }} {{ output }}{% endfor %} ||| {{ output }}",
]


@pytest.mark.parametrize("source", LEAKS)
def test_an_expression_in_both_halves_is_a_leak(source: str) -> None:
    (finding,) = lint_sources(task(template(source)))
    assert (finding.lint, finding.severity, finding.where) == (
        "template_leaks_answer",
        "error",
        "t#one",
    )


def test_a_prompt_that_makes_something_of_the_answer_is_suspect() -> None:
    source = "{{ input }} It has {{ output | length }} letters. ||| {{ output }}"
    (finding,) = lint_sources(task(template(source)))
    assert (finding.lint, finding.severity) == ("template_leaks_answer", "warning")


@pytest.mark.parametrize(
    "source",
    [
        "{% if output %}{{ input }} ||| {{ output }}{% endif %}",
        "{{ a }} or {{ b }}? ||| {% if first %}{{ a }}{% else %}{{ b }}{% endif %}",
        "Is it {{ names[0] }} or {{ names[label] }}? ||| {{ names[label] }}",
        "{{ input }} ||| Always the same.",
    ],
)
def test_alternatives_and_guards_are_no_leaks(source: str) -> None:
    assert lint_sources(task(template(source))) == []


def test_a_leak_that_only_rendering_shows(worker: TemplateWorker) -> None:
    rows = [{**row, "name": row["output"]} for row in ROWS]
    leaking = template("{{ input }} Hint: {{ name }}. Which animal? ||| {{ output }}")
    assert lint_sources(task(leaking)) == []
    leak = found(worker, task(leaking, rows=rows))["template_leaks_answer"]
    assert (leak.count, leak.of, leak.rows) == (12, 12, (0, 1, 2, 3, 4))
    chinese = [{"input": f"第{i}题", "output": "是" if i % 2 else "否"} for i in range(8)]
    marked = [{**row, "key": row["output"]} for row in chinese]
    shown = template("{{ input }} 提示：{{ key }}。 ||| {{ output }}")
    assert found(worker, task(shown, rows=marked))["template_leaks_answer"].count == 8


def test_extraction_and_named_answers_are_no_leaks(worker: TemplateWorker) -> None:
    inside = [{"input": f"A {a} was seen {i} times.", "output": a} for i, a in enumerate(ANIMALS)]
    assert found(worker, task(template("{{ input }} Who? ||| {{ output }}"), rows=inside)) == {}
    labels = [{"input": f"place {i}", "output": "yes" if i % 2 else "no"} for i in range(8)]
    asked = template("{{ input }} Answer yes or no. ||| {{ output }}")
    assert found(worker, task(asked, rows=labels)) == {}


def test_templates_that_write_the_same(worker: TemplateWorker) -> None:
    two = (
        template("Which?  {{ input }} ||| {{ output }}"),
        template("Which? {{ input }} ||| {{ output }}", name="two"),
    )
    (finding,) = lint_sources(task(*two))
    assert (finding.lint, finding.count, finding.of) == ("templates_alike", 2, 2)
    assert "'one', 'two'" in finding.detail
    other = template("Which? {{ input ~ '' }}", "{{ output }}", name="two")
    assert lint_sources(task(two[0], other)) == []
    assert set(found(worker, task(two[0], other))) == {"templates_alike"}
    third = template("What? {{ input }}", "{{ output }}", name="three")
    assert found(worker, task(two[0], third)) == {}


def test_prompts_that_say_nothing_of_the_row(worker: TemplateWorker) -> None:
    (finding,) = lint_sources(task(template("Name an animal. ||| {{ output }}")))
    assert finding.lint == "template_ignores_input"
    cut = template("{{ input[:8] }} ||| {{ output }}")
    assert lint_sources(task(cut)) == []
    assert found(worker, task(cut))["template_ignores_input"].count == 12
    twice = [*ROWS, {**ROWS[0], "output": "newt"}]
    assert found(worker, task(GOOD[0], rows=twice)) == {}


def test_blank_answers(worker: TemplateWorker) -> None:
    silent = template("{{ input }} ||| {% if output != 'otter' %}{{ output }}{% endif %}")
    finding = found(worker, task(silent))["template_without_answer"]
    assert (finding.count, finding.rows, finding.severity) == (3, (1, 5, 9), "warning")
    skips = template("{% if output != 'otter' %}{{ input }} ||| {{ output }}{% endif %}")
    finding = found(worker, task(skips))["template_without_answer"]
    assert (finding.count, finding.severity) == (3, "note")
    never = template("{% if output == 'whale' %}{{ input }} ||| {{ output }}{% endif %}")
    assert found(worker, task(never))["template_without_answer"].severity == "error"


def test_templates_that_fail_are_counted_by_error(worker: TemplateWorker) -> None:
    (finding,) = lint_sources(task(template("{% if input %}{{ input }} ||| x")))
    assert finding.lint == "template_fails"
    assert "template_syntax" in finding.detail
    missing = template("{{ inptu }} ||| {{ output }}")
    finding = found(worker, task(missing))["template_fails"]
    assert (finding.count, finding.of) == (12, 12)
    assert "inptu" in finding.detail
    mixed = template("{{ 1 / (output | length - 5) }} {{ input }} ||| {{ output }}")
    finding = found(worker, task(mixed))["template_fails"]
    assert (finding.count, finding.rows) == (6, (0, 1, 4, 5, 8))


def test_literal_answers_outside_of_fixed_options() -> None:
    choices = "Yes ||| No"
    for source in (
        "{{ input }} ||| {% if label %}Yes{% else %}Nope{% endif %}",
        "{{ input }} ||| {{ ['Nope', 'Yes'][label] }}",
        "{{ input }} ||| {{ 'Yes' if label else 'Nope' }}",
    ):
        (finding,) = lint_sources(task(template(source, choices=choices)))
        assert (finding.lint, finding.count, finding.of) == ("answer_outside_options", 1, 2)
        fine = template(source.replace("Nope", "no"), choices=choices)
        assert lint_sources(task(fine)) == []
    joined = template("{{ input }} ||| {{ ['No', 'Yes'][label] }}, {{ input }}", choices=choices)
    assert lint_sources(task(joined)) == []


def test_rendered_answers_outside_of_options(worker: TemplateWorker) -> None:
    some = template("{{ input }} ||| {{ output }}", choices=" ||| ".join(ANIMALS[:3]))
    finding = found(worker, task(some))["answer_outside_options"]
    assert (finding.count, finding.of, finding.rows) == (3, 12, (3, 7, 11))
    assert "'lizard' is none of" in finding.detail


ORDERS = "{% set o = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 0, 2]] | choice %}"
LISTING = "{{ input }}\n- {{ answer_choices[o[0]] }}\n- {{ answer_choices[o[1]] }}"
WRONG = "the newt ||| the mole ||| {{ output }}"


def test_an_order_of_options_that_leaves_one_out(worker: TemplateWorker) -> None:
    source = f"{ORDERS}{LISTING}\n- {{{{ answer_choices[o[2]] }}}} ||| {{{{ answer_choices[1] }}}}"
    (finding,) = lint_sources(task(template(source, choices=WRONG)))
    assert (finding.lint, finding.count, finding.of) == ("options_not_shown", 1, 4)
    assert "[2, 0, 2] leaves out option 1" in finding.detail
    right = source.replace("[2, 0, 2]", "[2, 1, 0]")
    assert lint_sources(task(template(right, choices=WRONG))) == []
    assert found(worker, task(template(right, choices=WRONG))) == {}


def test_rendered_options_without_the_answer(worker: TemplateWorker) -> None:
    two = f"{{% set o = [0, 1] %}}{LISTING} ||| {{{{ answer_choices[2] }}}}"
    finding = found(worker, task(template(two, choices=WRONG)))["options_not_shown"]
    assert (finding.count, finding.of) == (12, 12)
    # the text speaks of the answer, the list leaves it out
    told = [{**row, "input": f"{row['input']} A {row['output']}?"} for row in ROWS]
    finding = found(worker, task(template(two, choices=WRONG), rows=told))["options_not_shown"]
    assert finding.count == 12
    inline = "{{ input }} {{ answer_choices[:2] | join(' or ') }}? ||| {{ answer_choices[2] }}"
    assert found(worker, task(template(inline, choices=WRONG)))["options_not_shown"].count == 12
    one = "{{ input }} Not {{ answer_choices[0] }}. ||| {{ answer_choices[2] }}"
    assert found(worker, task(template(one, choices=WRONG))) == {}
    tags = {"choices_in_prompt": "true"}
    assert set(found(worker, task(template(one, choices=WRONG, tags=tags)))) == {
        "options_not_shown"
    }
    none = template("{{ input }} ||| {{ answer_choices[2] }}", choices=WRONG)
    assert found(worker, task(none)) == {}


def test_many_tasks_are_rendered_or_only_read(worker: TemplateWorker) -> None:
    leaking = task(template(LEAKS[0]))
    cut = task(template("{{ input[:8] }} ||| {{ output }}"))
    assert [f.lint for f in lint_tasks([leaking, cut], worker.render)] == [
        "template_leaks_answer",
        "template_ignores_input",
    ]
    assert [f.lint for f in lint_tasks([leaking, cut])] == ["template_leaks_answer"]
    no_rows = Task(name="t", templates=(template(LEAKS[0]),))
    assert [f.lint for f in lint_tasks([no_rows], worker.render)] == ["template_leaks_answer"]


def test_row_numbers_are_those_of_the_task(worker: TemplateWorker) -> None:
    fails = template("{{ input }} {{ output[:0] if output != 'x' else none.x }} ||| {{ output }}")
    rows = [{"input": f"place {i}", "output": f"animal {i}"} for i in range(40)]
    rows[37]["output"] = "x"
    found_rows = [
        finding.rows
        for finding in lint_tasks([task(fails, rows=rows)], worker.render, drawn=40)
        if finding.lint == "template_fails"
    ]
    assert found_rows == [(37,)]


def test_work_grows_linearly_with_the_rows() -> None:
    def render(jobs: Sequence[RenderJob]) -> list[Rendering]:
        return [
            Rendering((f"Which? {job.values['input']}", str(job.values["output"]))) for job in jobs
        ]

    def lines(n: int) -> int:
        rows = [{"input": f"place {i}", "output": f"animal {i}"} for i in range(n)]
        one = task(GOOD[0], rows=rows)
        assert lint_templates(one, render, rows) == []
        return lines_run(lambda: lint_templates(one, render, rows))

    assert lines(2000) < 10 * lines(250)


def test_templates_see_the_options_as_a_build_shows_them(worker: TemplateWorker) -> None:
    block = Template(name="block", input="{{ input }}\n{{ options_block }}")
    rows: tuple[Row, ...] = tuple(
        {"input": f"stone {n}", "output": ("red", "blue")[n % 2], "colour": n % 2} for n in range(6)
    )
    one = Task(name="t", templates=(block,), options=("red", "blue"), instances=rows)
    assert lint_templates(one, worker.render, rows) == []
    # the number of the colour became its word
    assert [f.lint for f in lint_task(one)] == []
    apart = replace(one, options=("red", "green"))
    assert [f.lint for f in lint_templates(apart, worker.render, rows)] == []
    assert "answer_outside_options" in {f.lint for f in lint_task(apart)}


def test_a_template_that_never_answers_with_an_option_asks_for_more(worker: TemplateWorker) -> None:
    more = template(
        "{{ input }} ||| {{ answer_choices[0] }} because {{ output }}", choices="A ||| B"
    )
    one = found(worker, task(more))["answer_outside_options"]
    assert (one.severity, one.count, one.of) == ("note", len(ROWS), len(ROWS))
    some = template(
        "{{ input }} ||| {% if output == 'otter' %}A{% else %}other{% endif %}",
        choices="A ||| B",
    )
    assert found(worker, task(some))["answer_outside_options"].severity == "error"
