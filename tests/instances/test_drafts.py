"""Demonstrations, rationales, hints and turned rows: pytest tests/instances/test_drafts.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from helpers.formatted import Formatter, answer, option_shown, prompt, running
from regimen.instances.demonstrations import shown_rows
from regimen.instances.evaluation_items import askable_items, task_items
from regimen.instances.formatting import FormattingSpec
from regimen.instances.options import BULLETS
from regimen.records import Example, Task, Template

COLOURS = ["red", "green", "blue"]
TASK = Task(
    name="colours",
    definition="Say the colour.",
    positive=(
        Example(input="sky", output="Blue", explanation="Look up."),
        Example(input="grass", output="green"),
    ),
    instances=tuple(
        {
            "input": f"q{n}",
            "output": COLOURS[n % 3],
            "options": COLOURS,
            "rationale": f"because {n}",
        }
        for n in range(24)
    ),
)
FIXED = replace(TASK, options=tuple(COLOURS))


@pytest.fixture(scope="module")
def formatted() -> Iterator[Formatter]:
    yield from running()


def rows(task: Task, *new: dict[str, Any]) -> Task:
    return replace(task, instances=new)


def test_a_turned_row_has_no_rationale(formatted: Formatter) -> None:
    for where in ("before", "after", "reasoning"):
        for one in formatted.instances(
            TASK, inverted_share=1.0, chain_of_thought=where, positive=2, demonstrations="rows"
        ):
            assert answer(one) == f"q{one.lineage.row}"
            assert one.messages[-1].reasoning == ""
            assert "because" not in prompt(one)
            assert one.lineage.variant == "inverted"
            assert len(one.lineage.demonstrations) == 2


def test_a_template_that_turns_a_row_has_no_rationale_and_no_hint(formatted: Formatter) -> None:
    task = replace(
        FIXED,
        templates=(
            Template(name="i", input="{{ output }} <-", output="{{ input }}", inverted=True),
        ),
    )
    for one in formatted.instances(
        task, encoding="template", chain_of_thought="before", output_format=True
    ):
        assert (prompt(one), answer(one)) == (
            f"{COLOURS[one.lineage.row % 3]} <-",
            f"q{one.lineage.row}",
        )


def test_a_wrong_row_is_shown_to_nobody_and_fails_alone(formatted: Formatter) -> None:
    wrong = {"input": "bad", "output": "pink", "options": COLOURS}
    task = rows(TASK, *TASK.instances[:5], wrong)
    for encoding in ("definition", "natural_instructions"):
        spec = {"encoding": encoding, "positive": 5, "demonstrations": "rows"}
        found = formatted(task, **spec)
        assert len(found) == 6
        assert formatted.failures(task, **spec) == [("colours", 5, "answer_not_in_options")]


@pytest.mark.parametrize("style", ["mixed", "(A)", "1.", "dash"])
@pytest.mark.parametrize("told", ["label", "text", "both"])
def test_the_hint_says_how_the_row_is_answered(formatted: Formatter, style: str, told: str) -> None:
    hints = {
        "label": "Answer with the label of an option.",
        "both": "Answer with an option and its label.",
        "text": "Answer with one of: red, green, blue",
    }
    for one in formatted.instances(
        FIXED, output_format=True, option_labels=style, option_answer=told
    ):
        drawn = one.lineage.variant.removeprefix("options_") or "dash"
        form = "text" if drawn in BULLETS else told
        assert hints[form] in prompt(one)
        assert sum(hint in prompt(one) for hint in hints.values()) == 1
        colour = COLOURS[one.lineage.row % 3]
        if form == "label":
            assert option_shown(prompt(one), answer(one)) == colour
        else:
            assert answer(one).endswith(colour)


def test_options_without_usable_labels_are_hinted_at_and_shown_alike(formatted: Formatter) -> None:
    letters = tuple(
        {"input": f"q{n}", "output": "ABC"[n % 3], "options": list("ABC")} for n in range(9)
    )
    task = replace(rows(TASK, *letters), options=("A", "B", "C"), positive=())
    for one in formatted.instances(
        task, option_labels="A.", output_format=True, positive=2, demonstrations="rows"
    ):
        assert answer(one) == "ABC"[one.lineage.row % 3]
        assert "Answer with one of: A, B, C" in prompt(one)
        assert prompt(one).count("- ") == 9


def test_demonstrations_are_answered_as_the_query_is(formatted: Formatter) -> None:
    """Rows by the query's style; examples of the task by label where its options are known."""
    for one in formatted.instances(
        FIXED, option_labels="mixed", positive=4, demonstrations="both", seed=3
    ):
        parts = prompt(one).split("\nOutput:")
        shown, answers = parts[:4], [part.split("\n")[0].strip() for part in parts[1:-1]]
        assert len(answers) == len(one.lineage.demonstrations) == 4
        style = one.lineage.variant.removeprefix("options_") or "dash"
        for name, text, learned in zip(one.lineage.demonstrations, shown, answers, strict=True):
            kind, _, number = name.partition(":")
            right = (
                COLOURS[int(number) % 3] if kind == "row" else ("blue", "green")[int(number) - 1]
            )
            if style in BULLETS:
                assert learned.lower() == right
            else:
                assert option_shown(text, learned) == right


def test_examples_are_rendered_by_templates_that_list_the_options(formatted: Formatter) -> None:
    task = replace(FIXED, templates=(Template(name="x", input="{{ input }}? {{ options_block }}"),))
    for style in ("dash", "(A)"):
        for one in formatted.instances(task, encoding="template", option_labels=style, positive=2):
            assert sorted(one.lineage.demonstrations) == ["positive:1", "positive:2"]
            assert prompt(one).count("Options:") == 3
            assert prompt(one).count("sky?") == 1


def test_a_row_that_a_template_asks_again_is_no_demonstration(formatted: Formatter) -> None:
    """Tables without an input: rows that differ in columns which the template does not read."""
    table = tuple(
        {"id": n, "premise": f"w{n % 3}", "output": "y", "choices": ["y", "n"]} for n in range(9)
    )
    listed = "{{ premise }}: {{ answer_choices | join(' ') }}"
    for template in (
        Template(name="x", input="{{ premise }}?"),
        Template(name="c", input=f"{listed} ||| {{{{ output }}}}", output="", choices="y ||| n"),
    ):
        task = Task(name="t", templates=(template,), instances=table)
        for one in formatted.instances(
            task, encoding="template", positive=8, demonstrations="rows"
        ):
            assert prompt(one).count(f"w{one.lineage.row % 3}") == 1
            assert len(one.lineage.demonstrations) in (6, 7, 8)
            assert all(int(name[4:]) % 3 != one.lineage.row % 3
                       for name in one.lineage.demonstrations)  # fmt: skip


def test_mixed_asks_by_definition_where_no_template_fits(formatted: Formatter) -> None:
    inverted = Template(name="i", input="{{ output }}", output="{{ input }}", inverted=True)
    task = replace(TASK, templates=(inverted,))
    found = formatted.instances(task, encoding="mixed", template_share=1.0, inverted_share=0.5)
    assert {one.lineage.template for one in found} == {"i", "definition"}


def test_missing_values_are_no_texts(formatted: Formatter) -> None:
    missing = float("nan")
    task = rows(
        replace(TASK, definition=""),
        {"input": "a", "output": missing},
        {"input": missing, "output": "x"},
        {"input": "b", "output": [missing, None, "y"]},
    )
    assert formatted.failures(task) == [("colours", 0, "no_answer"), ("colours", 1, "no_input")]
    assert answer(formatted.instances(rows(task, task.instances[2]))[0]) == "y"


def test_columns_of_any_name_are_told_apart(formatted: Formatter) -> None:
    odd: Any = [{1: "x", "input": " ", "output": "x", None: n} for n in range(3)]
    for one in formatted.instances(rows(TASK, *odd), positive=2, demonstrations="rows"):
        assert f"row:{one.lineage.row}" not in one.lineage.demonstrations
        assert len(one.lineage.demonstrations) == 2


def test_held_out_rows_are_shown_nowhere(formatted: Formatter) -> None:
    task = replace(TASK, held_out=({"input": " Q3 ", "output": "red"},))
    assert {number for number, _ in shown_rows(task, 0)} == set(range(24)) - {3}
    for one in formatted.instances(task, positive=23, demonstrations="rows"):
        assert "row:3" not in one.lineage.demonstrations
    (item,) = task_items(
        task, "s", 1, 0, FormattingSpec(positive=23, demonstrations="rows"),
        rows=[(0, task.held_out[0])],
    )  # fmt: skip
    assert len(item.lineage.demonstrations) == 23
    assert "row:3" not in item.lineage.demonstrations
    assert item.lineage.variant == "held_out"


def test_no_item_shows_another_as_far_as_there_are_other_rows() -> None:
    spec = FormattingSpec(positive=4, demonstrations="rows")
    items = task_items(TASK, "s", 10, 0, spec)
    asked = {item.lineage.row for item in items}
    shown = {int(name[4:]) for item in items for name in item.lineage.demonstrations}
    assert len(asked) == 10
    assert shown
    assert not shown & asked
    every = task_items(TASK, "s", 24, 0, spec)
    assert all(len(item.lineage.demonstrations) == 4 for item in every)
    assert all(f"row:{item.lineage.row}" not in item.lineage.demonstrations for item in every)


def test_items_show_examples_by_label_and_say_why_a_row_is_none() -> None:
    spec = FormattingSpec(positive=2, option_labels="(A)")
    item = task_items(FIXED, "s", 1, 0, spec)[0]
    text = item.messages[0].text
    assert option_shown(text, item.references[0]) == COLOURS[item.lineage.row % 3]
    assert text.count("Options:") == 3
    items, problem = askable_items(rows(TASK, {"text": "x", "output": "y"}), "s", 1, 0)
    assert items == []
    assert problem is not None
    assert (problem.row, problem.error) == (0, "no_input")


def test_a_template_that_reads_the_output_needs_one(formatted: Formatter) -> None:
    task = replace(
        TASK,
        templates=(
            Template(name="i", input="{{ output }} <-", output="{{ input }}", inverted=True),
            Template(name="j", input="{{ input }} ||| {{ output }}", output=""),
            Template(name="k", input="The output of {{ input }}?", output="{{ other }}"),
        ),
        instances=({"input": "a", "output": " ", "other": "x"}, {"input": "b", "other": "y"}),
    )
    found = formatted(task, encoding="template", templates="all")
    assert len(found) == 6
    failed = formatted.failures(task, encoding="template", templates="all")
    assert sorted(failed) == [
        (f"colours#{name}", number, "no_answer") for name in "ij" for number in (0, 1)
    ]
