"""The answers that a definition names: pytest tests/instances/lints/test_spaces.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.lints.spaces import bare, holds, stated_space

STATED = {
    'Answer with "Yes" or "No".': ("Yes", "No"),
    "Answer with Yes or No.": ("Yes", "No"),
    "Read it. Respond with 'A', 'B' or 'C'.": ("A", "B", "C"),
    "Output 'hot' if it burns, otherwise output 'cold'.": ("hot", "cold"),
    "Label the text as “kind”, “rude” or “neither”.": ("kind", "rude", "neither"),
    "Indicate your answer as 1, 2, or 3.": ("1", "2", "3"),
    "If it floats, answer yes or no.": ("yes", "no"),
    "回答“是”或“否”。": ("是", "否"),
    "请判断句子是否通顺，回答是或否。": ("是", "否"),
    "أجب بـ «نعم» أو «لا».": ("نعم", "لا"),
    "Responde con «sí» o «no».": ("sí", "no"),
    "Réponds par « vrai » ou « faux ».": ("vrai", "faux"),
    "Classify it into the classes 'cafe\u0301' and 'the\u0301'.": ("cafe\u0301", "the\u0301"),
}


@pytest.mark.parametrize("definition", STATED)
def test_named_answers_are_read(definition: str) -> None:
    space = stated_space(definition)
    assert space is not None
    assert space.items == STATED[definition]
    assert all(map(space.allows, space.items))
    assert not space.allows("perhaps")


@pytest.mark.parametrize(
    "definition",
    [
        "Write an answer that names a fruit, for example 'pear' or 'fig'.",
        "Answer with a colour (e.g., 'red', 'blue').",
        "Answer the question with a phrase such as 'in the garden' or 'at noon'.",
        "The story has two parts, 'before' and 'after'.",
        "Don't just answer 'it depends' or 'maybe'.",
        "Return 'none' if there is no rhyme.",
        "写出一种水果作为答案，例如“梨”或“苹果”。",
        "اكتب الجواب، مثل «تفاح» أو «تين».",
        "The children's books aren't the parents' answer.",
        "Summarise the text.",
        "",
    ],
)
def test_an_enumeration_that_is_no_answer_space_is_left_alone(definition: str) -> None:
    assert stated_space(definition) is None


def test_bounds_of_numbers_are_read() -> None:
    space = stated_space("Give a rating on a scale of 1 to 5.")
    assert space is not None
    assert (space.low, space.high) == (1, 5)
    assert [space.allows(text) for text in ("1", "5", " 3.", "0", "6", "five")] == [
        *(True, True, True),
        *(False, False, False),
    ]


def test_a_text_of_so_many_words_is_no_bound() -> None:
    assert stated_space("The answer has between 3 and 9 words.") is None


def test_case_punctuation_and_enumerations_are_allowed() -> None:
    space = stated_space("Answer with 'A', 'B' or 'C'. The word 'hint' marks a hint.")
    assert space is not None
    assert all(map(space.allows, ["a", "(B)", "C.", "A, C", "A and B", "hint"]))
    assert not any(map(space.allows, ["D", "A, D", "the first"]))


@pytest.mark.parametrize(
    ("text", "part", "inside"),
    [
        ("it is hot now", "hot", True),
        ("a photo", "hot", False),
        ("shot, hot", "hot", True),
        ("天气很热吗", "热", True),
        ("cafe\u0301 noir", "cafe", False),
        ("قال نعم اليوم", "نعم", True),
        ("", "x", False),
    ],
)
def test_words_are_found_whole(text: str, part: str, inside: bool) -> None:
    assert holds(text, part) is inside


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    space = stated_space(text)
    assert space is None or all(map(space.allows, space.items))
    assert bare(bare(text)) == bare(text)


@given(
    st.lists(
        st.sampled_from(["red", "blue", "木", "نار", "e\u0301te\u0301"]), min_size=2, unique=True
    )
)
def test_quoted_answers_come_back(items: list[str]) -> None:
    space = stated_space("Answer with " + " or ".join(f'"{item}"' for item in items) + ".")
    assert space is not None
    assert list(space.items) == items
