"""Words, sentences and parts of an answer. Run: pytest tests/judging/ifeval/test_units.py"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize import NLTKWordTokenizer

from regimen.judging.ifeval.units import capital_words, parted, sentences, words


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ("Mr. Wu met J. Doe, e.g. at noon. He left.", 2),
        ("It was 3.5 km. Then home...", 2),
        ('He said "Stop." She did not.', 2),
        ("**Stop.** Now", 2),
        ("Tea, milk, etc. were served. They left at 5 p.m. Nobody saw.", 3),
        ("What?! No. I do", 3),
        ("I said I. You did not.", 2),
        ("Heading\n\nNo stop here", 1),
        ("1. Flour.\n2. Milk", 4),
        ("... !!! ---", 0),
        ("वह घर गया। वह सो गया।", 2),
    ],
)
def test_sentences(answer: str, count: int) -> None:
    assert len(sentences(answer)) == count


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("I am at NASA.", ["I", "NASA"]),
        ("COVID-19 IS **OVER**!", ["COVID-19", "IS", "**OVER**"]),
        ("DON'T go, SHE'LL stay", ["DO", "N'T", "SHE", "'LL"]),
        ("[NAME], (ONE; TWO)", ["NAME", "ONE", "TWO"]),
        ("ÉTÉ été 123 語", ["ÉTÉ"]),
    ],
)
def test_capital_words(answer: str, found: list[str]) -> None:
    assert capital_words(answer) == found


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ("a***b", ["a", "b"]),
        ("***\na\n***\nb\n***", ["a", "b"]),
        ("a\n*** ***\nb", None),
        ("", []),
        ("***", []),
        ("*** x", ["x"]),
    ],
)
def test_parts_between_dividers(answer: str, parts: list[str] | None) -> None:
    assert parted(answer, r"\*\*\*") == parts


@given(st.text())
def test_sentences_lose_no_letter(answer: str) -> None:
    found = "".join(sentences(answer))
    assert [c for c in found if c.isalnum()] == [c for c in answer if c.isalnum()]


@given(st.lists(st.from_regex(r"\A[a-z]{2,8}\Z"), min_size=1, max_size=8))
def test_words_between_spaces_are_counted(some: list[str]) -> None:
    assert words(" ".join(some)) == some
    assert capital_words(" ".join(some).upper()) == [word.upper() for word in some]
    assert len(sentences(". ".join(word.title() * 2 for word in some))) == len(some)


@given(st.text(alphabet="aBC .,!?'\"-*()[]\n1é", max_size=60))
def test_capital_words_are_those_of_a_treebank_tokenizer(answer: str) -> None:
    """On plain words, that is: a stop inside a text, as in "A.B", is where they differ."""
    plain = " ".join(re.findall(r"[\w-]*\w[!?,;:]?", answer))
    expected = [word for word in NLTKWordTokenizer().tokenize(plain) if word.isupper()]
    assert capital_words(plain) == expected
