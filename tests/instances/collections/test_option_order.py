"""Whose options may be shuffled: pytest tests/instances/collections/test_option_order.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.instances.collections.option_order import can_shuffle
from regimen.instances.templates import Rendering, TemplateWorker, template_job
from regimen.records import Template

ANSWER = " ||| {{ answer_choices[label] }}"
TWO = "{{ first }} ||| {{ second }}"


def tagged(prompt: str, choices: str = TWO) -> bool:
    return can_shuffle(Template(name="t", input=prompt + ANSWER, output="", choices=choices))


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ q }} {{ answer_choices | join(', ') }}",
        "{{ q }} {{ ' or '.join(answer_choices) }}",
        "{{ q | replace('_', answer_choices | join(' or ')) }}",
        "{% for a in answer_choices %}({{ loop.index }}) {{ a }}\n{% endfor %}{{ q }}",
        "{% for a in answer_choices %}{{ a }}{% if not loop.last %}, {% endif %}{% endfor %}",
        "{{ q }} {{ answer_choices[0] }} or {{ answer_choices[1] }}?",
        "(a) {{ answer_choices[0] }}\n(b) {{ answer_choices[-1] }}",
        '"{{ answer_choices.1 }}", "{{ answer_choices[0] }}".',
        "{% if x %}{{ answer_choices | join }}{% else %}{{ answer_choices | join }}{% endif %}",
        "{% set n = answer_choices | length %}{{ n }} {{ answer_choices | join(' ') }}",
        "{% for r in rows %}{{ r }}{% endfor %}{{ answer_choices | join(' ') }}",
    ],
)
def test_a_list_of_all_options_may_be_shuffled(prompt: str) -> None:
    assert tagged(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ q }}",
        "{{ answer_choices[label] }}",
        "{{ answer_choices[0] }}",
        "{{ answer_choices[0] }} or {{ answer_choices[0] }}",
        "{{ answer_choices[0] }}, {{ answer_choices[1] }} or {{ answer_choices[2] }}",
        "{{ answer_choices[0] }}: {{ x }}\n{{ answer_choices[1] }}: {{ y }}",
        "{{ answer_choices[0] }} means good, {{ answer_choices[1] }} bad",
        "{{ answer_choices[0] }} or {{ answer_choices[1] }} if neither applies",
        "{{ answer_choices[0] }} and {{ answer_choices[1] }} (not at all)",
        "{{ answer_choices[0] }} {% if x %}or{% endif %} {{ answer_choices[1] }}",
        "{{ answer_choices[0].lower() }} or {{ answer_choices[1] }}",
        "{{ answer_choices[1:] | join }}",
        "{{ answer_choices | first }}",
        "{{ answer_choices | choice }}",
        "{{ answer_choices | join(answer_choices[label]) }}",
        "{{ answer_choices }}",
        "{% for k in range(2) %}{{ answer_choices[k] }}{% endfor %}",
        "{% for x in rows %}{{ answer_choices[loop.index0] }}. {{ x }}{% endfor %}",
        "{% for a, b in zip(answer_choices, rows) %}{{ a }}{{ b }}{% endfor %}",
        "{% for a in answer_choices %}{{ a }}{{ rows[loop.index0] }}{% endfor %}",
        "{% for a in answer_choices %}{% if loop.index0 == label %}{{ a }}{% endif %}{% endfor %}",
        "{% for a in answer_choices if a != q %}{{ a }}{% endfor %}",
        "{% for answer_choices in rows %}{{ answer_choices | join }}{% endfor %}",
        "{% set right = answer_choices[label] %}{{ right }} {{ answer_choices | join }}",
        "{% set a = answer_choices %}{{ a[0] }}{{ answer_choices | join }}",
        "{% set answer_choices = rows %}{{ answer_choices | join }}",
        "{% macro m() %}{{ answer_choices | join }}{% endmacro %}{{ m() }}",
        "{{ answer_choices | join",
    ],
)
def test_an_option_that_may_be_tied_to_its_place_keeps_it(prompt: str) -> None:
    assert not tagged(prompt)


@pytest.mark.parametrize(
    ("choices", "sure"),
    [
        ("yes ||| no", True),
        ("{{ a | trim('.') }} ||| {{ b }}", True),
        ("{{ options | join('|||') }}", False),
        ("{{ a ~ ' ||| ' ~ b }}", False),
        ("{% for o in options %}{{ o }} ||| {% endfor %}", False),
        ("a ||| b ||| c", False),
        ("", False),
    ],
)
def test_places_are_a_list_only_of_a_known_number_of_options(choices: str, sure: bool) -> None:
    assert tagged("{{ answer_choices[0] }} or {{ answer_choices[1] }}?", choices) is sure
    assert tagged("{{ answer_choices | join(', ') }}", choices) is bool(choices)


def test_what_follows_the_separator_is_free() -> None:
    listed = "{{ answer_choices | join(' ') }}"
    inside = f"{{% if x %}}{listed} ||| {{{{ answer_choices[label] }}}}{{% endif %}}"
    assert can_shuffle(Template(name="t", input=inside, output="", choices=TWO))
    branch = f"{{% if x %}}{listed} ||| a{{% endif %}}{{{{ answer_choices[label] }}}}"
    assert not can_shuffle(Template(name="t", input=branch, output="", choices=TWO))
    two = Template(name="t", input=listed, output="{{ answer_choices[label] }}", choices=TWO)
    assert can_shuffle(two)
    # with a source of its own for the answer, three strokes are text of the prompt
    strokes = Template(name="t", input=listed + ANSWER, output="a", choices=TWO)
    assert not can_shuffle(strokes)


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker() as running:
        yield running


@examples(20)
@given(
    values=st.permutations(["ox", "hen", "cat"]),
    label=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_a_shuffled_prompt_shows_all_options_and_the_answer_stays(
    worker: TemplateWorker, values: list[str], label: int, seed: int
) -> None:
    choices = "{{ a }} ||| {{ b }} ||| {{ c }}"
    template = Template(
        name="t",
        input="{{ answer_choices | join(',') }}" + ANSWER,
        output="",
        choices=choices,
    )
    assert can_shuffle(template)
    row = {**dict(zip("abc", values, strict=True)), "label": label}
    (made,) = worker.render([template_job(template, row, seed, shuffle=True)])
    assert isinstance(made, Rendering)
    assert made.texts[1] == values[label]
    assert made.texts[0].split(",") == [values[place] for place in made.permutation]
