"""What templates do with options: pytest tests/instances/test_template_options.py."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from helpers.formatted import Formatter, answer, option_shown, prompt, running
from regimen.instances.template_options import Listing, listing
from regimen.records import Task, Template

COLOURS = ["red", "green", "blue"]
TASK = Task(
    name="colours",
    definition="Say the colour.",
    instances=tuple(
        {"input": f"q{n}", "output": COLOURS[n % 3], "options": COLOURS, "label": n % 3}
        for n in range(24)
    ),
)


@pytest.fixture(scope="module")
def formatted() -> Iterator[Formatter]:
    yield from running()


def by(source: str, output: str = "{{ output }}", **more: Any) -> Task:
    return replace(TASK, templates=(Template(name="x", input=source, output=output, **more),))


@pytest.mark.parametrize(
    ("source", "output", "expected"),
    [
        ("{{ input }}", "{{ output }}", Listing()),
        ("{{ input }} {{ options_block }}", "{{ output }}", Listing(True, True, True)),
        ("{{ options | join(', ') }}", "{{ output }}", Listing(True, False, True)),
        ("{% for o in options %}{{ o }} {% endfor %}", "{{ output }}", Listing(True, False, True)),
        ("{{ options[0] }} or {{ options[1] }}", "{{ output }}", Listing(True, False, False)),
        ("{{ options | join(', ') }}", "{{ options[label] }}", Listing(True, False, False)),
        ("{{ options_block }}", "{{ label }}", Listing(True, True, False)),
        ("{{ options_block }} {{ options[0] }}", "{{ output }}", Listing(True, True, False)),
        ("{{ options_block }} ||| {{ output }}", "", Listing(True, True, True)),
        ("{{ options | join }} ||| {{ options[label] }}", "", Listing(True, False, False)),
        ("{{ input }} ||| {{ options[label] }}", "", Listing()),
        ("{% if input %}{{ options_block }} ||| {{ output }}{% endif %}", "",
         Listing(True, True, False)),
        ("{% if options is defined %}x{% endif %}", "{{ output }}", Listing()),
        ("{{ options", "{{ output }}", Listing()),
    ],
)  # fmt: skip
def test_listing(source: str, output: str, expected: Listing) -> None:
    assert listing(source, output) == expected


def test_a_list_without_labels_is_answered_by_the_text(formatted: Formatter) -> None:
    task = by("{{ input }} {{ options | join(', ') }}")
    for one in formatted.instances(task, encoding="template", option_labels="(A)"):
        assert answer(one) == COLOURS[one.lineage.row % 3]
        order = [COLOURS[place] for place in one.lineage.option_permutation]
        assert prompt(one).endswith(", ".join(order))


def test_a_list_of_the_engine_is_answered_by_its_labels(formatted: Formatter) -> None:
    task = by("{{ input }} {{ options_block }}")
    found = formatted.instances(task, encoding="template", option_labels="mixed")
    styles = {one.lineage.variant for one in found}
    assert len(styles) > 4
    for one in found:
        colour = COLOURS[one.lineage.row % 3]
        assert answer(one) == colour or option_shown(prompt(one), answer(one)) == colour


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("{{ input }} 1 {{ options[0] }} 2 {{ options[1] }} 3 {{ options[2] }}", "{{ label + 1 }}"),
        ("{{ input }} {{ options | join(' ') }}", "{{ options[label] }}"),
        ("{{ input }} {{ options | join(' ') }} ||| {{ options[label] }}", ""),
        ("{{ input }}{% if options %} {{ options | join(' ') }} ||| {{ output }}{% endif %}", ""),
    ],
)
def test_options_that_a_template_ties_to_their_place_keep_it(
    formatted: Formatter, source: str, output: str
) -> None:
    for one in formatted.instances(by(source, output), encoding="template", option_labels="A."):
        place = one.lineage.row % 3
        assert one.lineage.option_permutation == (0, 1, 2)
        assert one.lineage.verdicts == (f"answer_at:{place + 1}/3",)
        assert answer(one) in (COLOURS[place], str(place + 1))
        assert [word for word in prompt(one).split() if word in COLOURS] == COLOURS


def test_the_options_of_a_task_reach_templates_that_order_them(formatted: Formatter) -> None:
    task = replace(
        by("{{ input }} {{ answer_choices | join('/') }} ||| {{ output }}", "",
           choices="{{ options | join('|||') }}"),
        options=tuple(COLOURS),
        instances=({"input": "q", "output": "blue"},),
    )  # fmt: skip
    (one,) = formatted.instances(task, encoding="template")
    assert sorted(prompt(one).split()[1].split("/")) == sorted(COLOURS)
    assert answer(one) == "blue"


def test_the_position_is_that_of_options_that_are_shown(formatted: Formatter) -> None:
    hidden = by("{{ input }}? ||| {{ answer_choices[label] }}", "", choices="Yes ||| No ||| Maybe")
    listed = by(
        "{{ input }}? {{ answer_choices | join(' ') }} ||| {{ answer_choices[label] }}",
        "",
        choices="Yes ||| No ||| Maybe",
    )
    assert {one.lineage.verdicts for one in formatted.instances(hidden, encoding="template")} == {
        ()
    }
    for one in formatted.instances(listed, encoding="template"):
        said = one.lineage.verdicts[0].removeprefix("answer_at:").partition("/")
        assert prompt(one).split()[int(said[0])] == answer(one)


def test_a_template_that_changes_its_row_is_rendered_twice_from_the_same_one(
    formatted: Formatter,
) -> None:
    task = by(
        "{% if seen.append('x') %}{% endif %}{{ seen | join }} {{ answer_choices | join(' ') }}"
        " ||| {{ answer_choices[0] }}",
        "",
        choices="Yes ||| No",
    )
    task = replace(task, instances=tuple({"input": f"{n}", "seen": ["a"]} for n in range(20)))
    found = formatted.instances(task, encoding="template")
    assert {one.lineage.option_permutation for one in found} == {(0, 1), (1, 0)}
    assert {prompt(one).split()[0] for one in found} == {"ax"}


def test_each_template_of_a_row_has_its_own_account(formatted: Formatter) -> None:
    task = Task(
        name="t",
        templates=tuple(
            Template(name=name, input=source)
            for name, source in (
                ("a", "{{ input }}"),
                ("b", "{{ input }} {{ options_block }}"),
                ("c", "say {{ input }}"),
            )
        ),
        instances=({"input": "q", "output": "pink", "options": COLOURS},),
    )
    found = formatted(task, encoding="template", templates="all")
    assert len(found) == 3
    assert formatted.failures(task, encoding="template", templates="all") == [
        ("t#b", 0, "answer_not_in_options")
    ]
