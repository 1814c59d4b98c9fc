"""Templates of promptsource's kind: pytest tests/instances/test_choices.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.examples import examples
from regimen.instances.templates import (
    RenderFailure,
    Rendering,
    RenderJob,
    TemplateWorker,
    template_job,
)
from regimen.records import Template

JOINT = Template(
    name="topic",
    input="{{ text }}: {{ answer_choices | join(', ') }} ||| {{ answer_choices[label] }}",
    output="",
    choices="sun ||| sea ||| {{ third }}",
)
ROW = {"text": "wave", "label": 1, "third": "sand"}


@pytest.fixture(scope="module")
def worker() -> Iterator[TemplateWorker]:
    with TemplateWorker() as running:
        yield running


def one(worker: TemplateWorker, job: RenderJob) -> Rendering:
    (answer,) = worker.render([job])
    assert isinstance(answer, Rendering), answer
    return answer


def text(worker: TemplateWorker, source: str, seed: int = 0, **values: Any) -> str:
    return one(worker, RenderJob((source, ""), values, seed=seed)).texts[0]


def test_a_source_that_writes_both_is_parted_and_stripped(worker: TemplateWorker) -> None:
    assert one(worker, template_job(JOINT, ROW)) == Rendering(
        ("wave: sun, sea, sand", "sea"), ("sun", "sea", "sand"), (0, 1, 2)
    )


def test_what_the_row_has_of_the_separator_stays(worker: TemplateWorker) -> None:
    row = {"text": "a ||| b", "label": 2, "third": "x|||y"}
    found = one(worker, template_job(JOINT, row))
    assert found.texts == ("a ||| b: sun, sea, x|||y", "x|||y")
    assert found.options[2] == "x|||y"
    assert text(worker, "{{ text }}", text="a ||| b") == "a ||| b"


def test_a_template_that_writes_one_part_has_no_answer_and_three_are_refused(
    worker: TemplateWorker,
) -> None:
    alone = Template(name="alone", input="{% if label %}a ||| b{% else %}a{% endif %}", output="")
    assert one(worker, template_job(alone, {"label": 0})).texts == ("a", "")
    three = Template(name="three", input="a ||| b ||| c", output="")
    (answer,) = worker.render([template_job(three, {})])
    assert isinstance(answer, RenderFailure)
    assert "3 parts" in answer.got


def test_options_are_permuted_in_the_prompt_and_the_answer_stays(worker: TemplateWorker) -> None:
    positions: Counter[int] = Counter()
    jobs = [template_job(JOINT, ROW, seed, shuffle=True) for seed in range(600)]
    for found in worker.render(jobs):
        assert isinstance(found, Rendering)
        shown = [found.options[place] for place in found.permutation]
        assert found.texts == ("wave: " + ", ".join(shown), "sea")
        positions[found.permutation.index(1)] += 1
    # 600 draws of three places: 5.2 standard deviations either way
    assert all(140 < positions[place] < 260 for place in range(3)), positions
    assert worker.render(jobs) == worker.render(jobs)


def test_options_keep_their_order_where_the_answer_is_none_of_them(worker: TemplateWorker) -> None:
    numbered = Template(
        name="numbered", input="{{ answer_choices | join(' ') }} ||| {{ label }}", output="",
        choices="a ||| b ||| c",
    )  # fmt: skip
    for seed in range(20):
        found = one(worker, template_job(numbered, {"label": 2}, seed, shuffle=True))
        assert found.texts == ("a b c", "2")
        assert found.permutation == (0, 1, 2)


def test_choice_is_a_function_of_the_seed_and_folds_into_no_constant(
    worker: TemplateWorker,
) -> None:
    source = "{{ ['a', 'b', 'c', 'd'] | choice }}{{ 'xyz' | choice }}"
    found = [text(worker, source, seed) for seed in range(200)]
    assert found == [text(worker, source, seed) for seed in range(200)]
    assert len(set(found)) == 12
    other = source.replace("choice", "random")
    assert found[:20] == [text(worker, other, seed) for seed in range(20)]
    # both texts of a row draw from one stream, and both renderings of a permuted row from its start
    drawn = Template(
        name="drawn", input="{{ [1, 2, 3] | choice }} {{ answer_choices[0] }} ||| "
        "{{ [1, 2, 3] | choice }}", output="", choices="1 ||| 2 ||| 3",
    )  # fmt: skip
    plain = [one(worker, template_job(drawn, {}, seed)) for seed in range(30)]
    mixed = [one(worker, template_job(drawn, {}, seed, shuffle=True)) for seed in range(30)]
    assert [a.texts[0][0] for a in plain] == [b.texts[0][0] for b in mixed]
    assert [a.texts[1] for a in plain] == [b.texts[1] for b in mixed]


def test_most_frequent_and_zip(worker: TemplateWorker) -> None:
    assert text(worker, "{{ v | most_frequent }}", v=["b", "a", "b", "a", "c"]) == "['b', 'a']"
    assert text(worker, "{{ v | most_frequent }}", v=[]) == "[]"
    source = "{% for a, b in zip(v, w) %}{{ a }}{{ b }} {% endfor %}"
    assert text(worker, source, v=[1, 2], w="xy") == "1x 2y "


def test_what_a_template_changes_and_sets_ends_with_its_row(worker: TemplateWorker) -> None:
    source = (
        "{% if first %}{% set seen = 'kept' %}{% endif %}{{ rows.append(9) or rows | length }}"
        "{{ seen is defined }}"
    )
    rows = [1, 2]
    assert text(worker, source, first=True, rows=rows) == "3True"
    assert text(worker, source, first=False, rows=rows) == "3False"
    assert rows == [1, 2]


def test_a_failure_in_the_middle_of_a_block_does_not_reach_the_next_row(
    worker: TemplateWorker,
) -> None:
    source = "{% autoescape true %}{{ x }}{{ 1 / n }}{% endautoescape %}{{ x }}"
    jobs = [RenderJob((source, ""), {"x": "<", "n": n}) for n in (1, 0, 1)]
    first, failed, last = worker.render(jobs)
    assert first == last == Rendering(("&lt;1.0<", ""))
    assert isinstance(failed, RenderFailure)


@examples(60)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6, unique_by=str.strip),
       st.integers(0, 2**40))  # fmt: skip
def test_a_permutation_is_one_and_names_what_is_shown(
    worker: TemplateWorker, options: list[str], seed: int
) -> None:
    template = Template(
        name="any", input="{{ answer_choices | tojson }} ||| {{ options[0] }}", output="",
        choices="{{ options | join('|||') }}",
    )  # fmt: skip
    if any("|||" in option or "|" in option for option in options):
        options = [option.replace("|", "/") for option in options]
    found = one(worker, template_job(template, {"options": options}, seed, shuffle=True))
    assert sorted(found.permutation) == list(range(len(options)))
    assert list(found.options) == [option.strip() for option in options]
    assert found.texts[1] == options[0].strip()
