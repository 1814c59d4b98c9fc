"""Words of any script: pytest tests/instances/test_words.py"""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.instances.words import WordCodes, normalise, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World! It's 3.5", ["hello", "world", "it", "s", "3", "5"]),
        ("Él comió piña", ["él", "comió", "piña"]),
        ("日本語 text 2", ["日", "本", "語", "text", "2"]),
        ("Привет, мир", ["привет", "мир"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("กินข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("ＦＵＬＬ　width", ["full", "width"]),
        ("Straße", ["strasse"]),
        ("soft\u00adhyphen zero\u200bwidth", ["softhyphen", "zerowidth"]),
        ("snake_case", ["snake", "case"]),
        ("😀 !", ["😀", "!"]),
        ("", []),
        (" \n", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_english_is_split_as_rouge_score_splits_it(text: str) -> None:
    reference = re.sub(r"[^a-z0-9]+", " ", text.lower()).split()
    assert tokens(text) == reference or not reference


@given(st.text())
def test_a_visible_text_always_has_tokens(text: str) -> None:
    assert bool(tokens(text)) == bool(normalise(text))


@given(st.lists(st.text(max_size=3)), st.lists(st.text(max_size=3)))
def test_codes_are_equal_exactly_where_words_are(a: list[str], b: list[str]) -> None:
    codes = WordCodes()
    x, y = codes.encode(a), codes.encode(b)
    assert len(x) == len(a)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            assert (x[i] == y[j]) == (one == other)


def test_normalise_folds_case_width_and_white_space() -> None:
    assert normalise("  Ｈello\t\n WORLD\u00a0! ") == "hello world !"
