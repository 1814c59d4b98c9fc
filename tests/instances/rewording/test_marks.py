"""Code out of a text and back: pytest tests/instances/rewording/test_marks.py."""

from __future__ import annotations

import random
import re
from pathlib import Path

import jinja2
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from regimen.instances.collections.promptsource import read_promptsource
from regimen.instances.rewording.marks import (
    answer_source,
    answers_written,
    mark_problem,
    mask,
    segments,
    words_of,
)
from regimen.records import Task

WORDS = ("Read this. ", "\n", " and {", "} or [", "[[2]]", "[[ 7 ]]", "[[", "]]", "a | b", "é 猫 ")
CODE = (
    "{{ input }}",
    "{{ {'a': {'b': 1}}['a'] }}",
    "{{ '}}' ~ \"%}\" }}",
    "{{ 'it\\'s }}' }}",
    "{{- x -}}",
    "{% set y = 1 %}",
    "{%- set z = '%}' -%}",
    "{% if c %}",
    "{% else %}",
    "{% endif %}",
    "{# {{ not code }} ||| #}",
    "{% raw %}{{ as it is }}{% endraw %}",
    "{{ options.split('|||') }}",
)
sources = st.lists(st.sampled_from((*WORDS, *CODE)), max_size=8).map("".join)


@given(sources, st.booleans(), st.booleans())
def test_masking_and_putting_back_is_the_identity(source: str, answer: bool, plain: bool) -> None:
    masked = mask(source, answer=answer, plain=plain)
    assert masked.put_back(masked.text) == source
    assert mark_problem(masked.text, masked) is None
    numbers = [int(n) for n in re.findall(r"\[\[\s*(\d+)\s*\]\]", masked.text)]
    assert numbers == list(range(1, len(masked.marks) + 1))


@given(sources, sources)
def test_nothing_of_the_answer_is_sent(prompt: str, answer: str) -> None:
    # a brace right before code opens another expression, which reaches to the end
    assume(not re.search(r"\{\{[{%#]", prompt))
    source = f"{prompt} ||| {answer}"
    masked = mask(source, answer=True)
    assert masked.put_back(masked.text) == source
    assert masked.marks[-1].kind == "answer"
    assert masked.marks[-1].text == answer_source(source)
    assert masked.text.endswith(f"[[{len(masked.marks)}]]")
    assert words_of(source, answer=True).split() == words_of(prompt).split()


@given(st.lists(st.sampled_from((*[w for w in WORDS if "{" not in w], *CODE)), max_size=8))
def test_words_are_what_jinja_takes_for_data(pieces: list[str]) -> None:
    source = "".join(piece for piece in pieces if "raw" not in piece)
    lexed = jinja2.Environment().lex(source)
    data = "".join(text for _, kind, text in lexed if kind == "data")
    ours = "".join(p.text for p in segments(source) if p.kind in ("words", "mark"))
    # jinja2 drops the white space beside {%- and -%}
    assert "".join(ours.split()) == "".join(data.split())


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("Is {{ a }} true?\n{{ b }}\n", "Is [[1]] true?\n[[2]]"),
        ("  {% if x %}Hint: {{ x }}{% endif %} Go", "[[1]]Hint: [[2]][[3]] Go"),
        ("[{{ a }}] [[4]]", "[[[1]]] [[2]]"),
        ("{{ a }} is {{ never closed", "[[1]] is [[2]]"),
        ("{# why", "[[1]]"),
    ],
)
def test_texts_that_are_sent(source: str, text: str) -> None:
    assert mask(source).text == text


def test_the_answer_is_one_mark_with_the_white_space_before_it() -> None:
    masked = mask("Q: {{ q }}\nA: ||| {% if a %}Yes{% else %}No{% endif %}\n", answer=True)
    assert masked.text == "Q: [[1]]\nA:[[2]]"
    assert [mark.kind for mark in masked.marks] == ["expression", "answer"]
    assert answers_written("{% if a %}x ||| y{% else %}z ||| {{ '|||' }}{% endif %}") == 2


@given(st.permutations(range(1, 6)), st.integers(0, 5))
def test_marks_of_one_block_may_change_places(order: list[int], tail: int) -> None:
    masked = mask("{{ a }} {{ b }} {{ c }} {# d #} {{ e }}")
    text = " then ".join(f"[[{n}]]" for n in order) + "!" * tail
    assert mark_problem(text, masked) is None


@given(sources, st.integers(0, 2**32), st.sampled_from(["marks_lost", "marks_repeated"]))
def test_dropped_and_repeated_marks_are_refused(source: str, seed: int, reason: str) -> None:
    masked = mask(source + "{{ last }}")
    number = random.Random(seed).randint(1, len(masked.marks))
    mark = f"[[{number}]]"
    text = masked.text.replace(mark, "" if reason == "marks_lost" else f"{mark} {mark}")
    problem = mark_problem(text, masked)
    assert problem is not None
    assert problem == (reason, mark)


@pytest.mark.parametrize("added", ["[[3]]", "[[0]]", "{{ x }}", "{% if x %}", "{# x #}", "|||"])
def test_added_marks_and_code_are_refused(added: str) -> None:
    problem = mark_problem(f"[[1]] and [[2]] {added}", mask("{{ a }} or {{ b }}"))
    assert problem is not None
    assert problem.reason == "marks_added"
    assert problem.detail == added


BRANCHES = "{{ q }}{% if a %}Hint {{ h }}{% else %}No {{ g }}{% endif %} Go {{ z }}"


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("[[7]] [[1]] [[2]] A [[3]] [[4]] B [[5]] [[6]]", ""),
        ("[[2]] A [[3]] [[4]] B [[5]] [[6]] [[7]] [[1]]", ""),
        ("[[1]] [[2]] A [[5]] [[4]] B [[3]] [[6]] [[7]]", "[[3]]"),
        ("[[2]] A [[3]] [[1]] [[4]] B [[5]] [[6]] [[7]]", "[[1]]"),
        ("[[1]] [[4]] A [[3]] [[2]] B [[5]] [[6]] [[7]]", "[[2]]"),
        ("[[1]] [[6]] [[2]] A [[3]] [[4]] B [[5]] [[7]]", "[[2]]"),
    ],
)
def test_what_stands_in_a_branch_stays_in_it(text: str, moved: str) -> None:
    problem = mark_problem(text, mask(BRANCHES))
    found = problem.detail.partition(" ")[0] if problem else ""
    assert found == moved
    assert problem is None or problem.reason == "marks_moved"


def test_an_assignment_opens_no_branch_and_a_set_block_does() -> None:
    free = mask("{% set a = 1 %}{{ b }} x {{ a }}")
    assert mark_problem("[[2]] x [[1]] [[3]]", free) is None
    block = mask("{% set a %}{{ b }}{% endset %} x {{ a }}")
    problem = mark_problem("[[2]] [[1]] [[3]] x [[4]]", block)
    assert problem is not None
    assert problem.reason == "marks_moved"


@pytest.mark.parametrize("text", ["[[2]] [[1]]", "[[1]] [[2]] more", "[[1]] [[2]] x ]]"])
def test_nothing_follows_the_answer(text: str) -> None:
    problem = mark_problem(text, mask("Say {{ a }} ||| {{ b }}", answer=True))
    assert problem is not None
    assert problem.reason == "marks_moved"


@pytest.mark.realdata
def test_templates_of_promptsource_come_back_and_their_words_are_those_of_jinja(
    shared_data: Path,
) -> None:
    known = jinja2.Environment()
    count = 0
    for task in read_promptsource(shared_data / "promptsource/promptsource_templates.jsonl.zst"):
        if not isinstance(task, Task):
            continue
        for template in task.templates:
            masked = mask(template.input, answer=True)
            assert masked.put_back(masked.text) == template.input
            assert mark_problem(masked.text, masked) is None
            data = "".join(text for _, kind, text in known.lex(template.input) if kind == "data")
            kinds = ("words", "mark", "separator")
            ours = "".join(p.text for p in segments(template.input) if p.kind in kinds)
            assert "".join(ours.split()) == "".join(data.split()), (task.name, template.name)
            count += 1
    assert count > 2000
