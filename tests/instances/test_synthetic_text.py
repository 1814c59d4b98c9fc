"""Texts of a Self-Instruct round: pytest tests/instances/test_synthetic_text.py"""

from __future__ import annotations

import pytest

from regimen.instances.synthetic_text import (
    LAYOUTS,
    Seed,
    example_problems,
    examples_prompt,
    instruction_problem,
    instruction_prompt,
    kind_prompt,
    read_examples,
    read_kind,
    read_numbered,
    task_asked,
    user_text,
)
from regimen.records import Example

SEEDS = (
    Seed(instruction="Write the words in reverse order."),
    Seed(instruction="Count the letters of the word."),
    Seed(
        instruction="Is the number even or odd?",
        examples=(Example(input="4", output="even"),),
        classification=True,
    ),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" A thing.\n10. Two\n   lines.\n11) Third", ["A thing.", "Two lines.", "Third"]),
        ("1. A\n2: B", ["A", "B"]),
        ("Sure, here they are:\n9. A", ["Sure, here they are:", "A"]),
        ("", []),
        ("1.\n2. \n3. C", ["C"]),
        ("Add 2. and 3.", ["Add 2. and 3."]),
    ],
)  # fmt: skip
def test_numbered_lists(text: str, expected: list[str]) -> None:
    assert read_numbered(text) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [("Yes", True), (" no.", False), ("Oui, c'est", True), ("Sí", True), ("maybe", None),
     ("", None), ("yesterday", None)],
)  # fmt: skip
def test_kinds(text: str, kind: bool | None) -> None:
    assert read_kind(text) is kind


def test_examples_are_read_in_both_orders() -> None:
    text = "Input: a\nline two\nOutput: b\nExample 2\nOutput: c\nExample 3:\nInput: d\nOutput: e\n"
    assert read_examples(text, "input") == [
        Example(input="a\nline two", output="b"),
        Example(input="", output="c"),
        Example(input="d", output="e"),
    ]
    assert read_examples("Label: x\nInput: 1\nLabel: y\nLabel: z\nInput: 3", "label") == [
        Example(input="1", output="x"),
        Example(input="", output="y"),
        Example(input="3", output="z"),
    ]
    assert read_examples("no fields at all", "input") == []


def test_an_input_that_follows_a_lone_output_begins_the_next_example() -> None:
    assert read_examples("Output: a\nInput: b\nOutput: c", "input") == [
        Example(input="", output="a"),
        Example(input="b", output="c"),
    ]


def problems(*pairs: tuple[str, str], cut: bool = False, limit: int = 5) -> list[str | None]:
    found = example_problems([Example(input=a, output=b) for a, b in pairs], cut=cut, limit=limit)
    return [one and one.partition(":")[0] for one in found]


def test_filters_of_examples() -> None:
    assert problems(("a", "b"), ("", "b"), ("c", "c"), ("d", ""), ("e:", "f"), ("g", "h:")) == [
        None, None, "input_equals_output", "empty_output", "ends_with_colon", "ends_with_colon",
    ]  # fmt: skip
    assert problems(("a", "b"), ("a", "b ")) == [None, "duplicate_example"]
    assert problems(("a", "b"), ("c", "d"), cut=True) == [None, "cut_by_length"]
    assert problems(*[(str(n), f"v{n}") for n in range(4)], limit=2) == [
        None, None, "too_many_examples", "too_many_examples",
    ]  # fmt: skip


def test_conflicting_outputs_remove_the_whole_task() -> None:
    assert problems(("a", "b"), ("c", "d"), ("a", "x"), ("e", "e")) == [
        "conflicting_outputs", "conflicting_outputs", "conflicting_outputs", "input_equals_output",
    ]  # fmt: skip
    # Without an input, different outputs are different answers, not a conflict.
    assert problems(("", "b"), ("", "c")) == [None, None]
    # An example that is removed for itself causes no conflict.
    assert problems(("a", "b"), ("a", "")) == [None, "empty_output"]


@pytest.mark.parametrize(
    "text",
    ["¿Qué hora es en Lima ahora?", "把下面的句子翻译成英文", "Éric est-il grand ou petit ?",
     "«Le chat dort» : explique cette phrase.", "(Optional) say the date in words.",
     "Escribe un poema corto sobre el mar."],
)  # fmt: skip
def test_other_languages_pass_the_filters(text: str) -> None:
    assert instruction_problem(text, min_words=4, max_words=150) is None


def test_unsuited_words_are_whole_words() -> None:
    def problem(text: str) -> str | None:
        return instruction_problem(text, min_words=1, max_words=150)

    assert problem("Please go to the shop for me.") == "unsuited: go to"
    assert problem("Write a paragraph on mapping.") is None
    assert problem("Dessine une maison avec un toit.") == "unsuited: dessine"


def test_prompts_name_the_task_last() -> None:
    for prompt in (
        kind_prompt("Say  when\nit rains.", SEEDS),
        examples_prompt("Say when it rains.", False, SEEDS),
        examples_prompt("Say when it rains.", True, SEEDS[2:]),
    ):
        assert task_asked(prompt) == "Say when it rains."
    assert instruction_prompt(SEEDS[:2], 3).endswith("2. Count the letters of the word.\n3.")


def test_the_user_says_instruction_and_input_in_some_layout() -> None:
    assert user_text("Do it. ", " ") == "Do it."
    for layout in LAYOUTS:
        text = user_text("Keep {input} and {this}.", "a {b}", layout)
        assert text.count("Keep {input} and {this}.") == 1
        assert text.count("a {b}") == 1
