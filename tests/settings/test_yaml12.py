"""YAML 1.2: scalars, places, what is refused, and what is written reads back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import SettingsError
from regimen.settings.yaml12 import MOST_NODES, dump, parse, scalar

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("5E3", 5000.0),
        ("-.5", -0.5),
        ("1.", 1.0),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("-12", -12),
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2026-01-02", "2026-01-02"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("-.inf", -math.inf),
        ("9" * 5000, math.inf),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_nan_is_a_number() -> None:
    assert math.isnan(scalar(".nan"))


def test_languages_keep_norwegian() -> None:
    assert parse("languages: [no, sv]", "f").data == {"languages": ["no", "sv"]}


def test_quoted_scalars_are_texts() -> None:
    assert parse("a: '1'\nb: \"true\"\nc: ''", "f").data == {"a": "1", "b": "true", "c": ""}


def test_every_value_knows_its_place() -> None:
    document = parse("a:\n  - b: 1\n    c: two\n", "f.yaml")
    key = document.keys[("a", 0, "c")]
    value = document.values[("a", 0, "c")]
    assert (key.line, key.column, key.length) == (3, 5, 1)
    assert (value.line, value.column, value.length) == (3, 8, 3)
    assert value.render() == ("f.yaml:3:8\n       3 |     c: two\n         |        ^^^")


def test_carets_stay_below_a_value_in_a_long_line() -> None:
    document = parse(f"a: {'x' * 300}\nlist: [{'1, ' * 80}oops]\n", "f.yaml")
    for place in (document.values[("a",)], document.values[("list", 80)]):
        _, source, carets = place.render().split("\n")
        marked = source[carets.index("^") : carets.rindex("^") + 1]
        assert marked.startswith(place.text[place.column - 1 :][: len(marked)])
        assert len(source) <= 110


@given(st.dictionaries(st.text(), plain, max_size=4))
def test_what_is_written_reads_back_equal(data: dict[str, object]) -> None:
    document = parse(dump(data), "f")
    assert document.problems == []
    assert document.data == data
    assert repr(document.data) == repr(data)


@given(st.text())
def test_any_text_is_data_or_a_settings_error(text: str) -> None:
    try:
        slugs = {problem.slug for problem in parse(text, "f").problems}
    except SettingsError as error:
        slugs = {error.slug}
    assert slugs <= {"settings-yaml", "settings-key", "settings-duplicate-key"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a:\n\tb: 1", "tab"),
        ("a: b: c", "second ': '"),
        ('a: "open\nb: 1', "no end"),
        ('a: "\\q"', "backslash"),
        ("a: [1, 2\nb: 3", "[ ] is not closed"),
        ("a: {b: 1\nc: 2", "{ } is not closed"),
        ("a: *b", "no anchor"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a:\n    b: 1\n  c: 2", "indentation"),
        ("a: @x", "reserves"),
        ("abc\ndef: 1", "': '"),
        ("a: \x07", "does not allow"),
        ("[" * 1000, "deeply"),
    ],
)
def test_broken_yaml_is_explained_in_plain_words(text: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(text, "f.yaml")
    message = str(caught.value)
    assert says in message
    assert "f.yaml" in message
    assert "<block" not in message
    assert "scanning" not in message


@pytest.mark.parametrize(
    ("text", "slug", "says"),
    [
        ("a: 1\na: 2", "settings-duplicate-key", "a is set twice"),
        ("1: x", "settings-key", "keys are texts"),
        ("? [a]\n: x", "settings-key", "keys are texts"),
        ("b: &x {c: 1}\na:\n  <<: *x", "settings-key", "merge keys"),
        ("a: !!python/object:os.system x", "settings-yaml", "tags"),
        ("!mine a: x", "settings-yaml", "tags"),
        ("a: &x [*x]", "settings-yaml", "repeats a part of itself"),
    ],
)
def test_what_yaml_allows_and_settings_do_not(text: str, slug: str, says: str) -> None:
    [problem] = parse(text, "f").problems
    assert problem.slug == slug
    assert says in str(problem)


def test_a_few_aliases_cannot_describe_billions_of_values() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(SettingsError, match=f"more than {MOST_NODES:,} values"):
        parse("\n".join(["l0: &l0 [x]", *levels]), "f")


def test_aliases_are_values() -> None:
    assert parse("a: &x [1]\nb: *x", "f").data == {"a": [1], "b": [1]}
