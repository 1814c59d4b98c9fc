"""The vectorised n-gram index against a naive one: pytest tests/curation/test_ngrams.py"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation.ngrams import NgramIndex


def naive(probe: list[str], text: list[str], n: int) -> int:
    """Words of the probe inside an n-gram that the text has too; ``""`` is in none."""
    n = min(n, len(probe))
    if n == 0:
        return 0
    grams = {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}
    covered = set()
    for i in range(len(probe) - n + 1):
        gram = tuple(probe[i : i + n])
        if gram in grams and "" not in gram:
            covered |= set(range(i, i + n))
    return len(covered)


WORDS = st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=12)


@given(st.lists(WORDS, max_size=5), st.lists(WORDS, max_size=4), st.integers(1, 4))
def test_covered_is_what_the_naive_count_says(
    probes: list[list[str]], texts: list[list[str]], n: int
) -> None:
    found = NgramIndex(probes, n).covered(texts)
    pairs = list(zip(*(column.tolist() for column in found), strict=True))
    expected = [
        (t, p, count)
        for t, text in enumerate(texts)
        for p, probe in enumerate(probes)
        if (count := naive(probe, text, n))
    ]
    assert pairs == expected


def test_words_that_no_probe_has_do_not_match_each_other() -> None:
    found = NgramIndex([["a", "b"]], 2).covered([["x", "y"], ["a", "x"], ["a", "b"]])
    assert [column.tolist() for column in found] == [[2], [0], [2]]


def test_no_probes_and_no_texts_are_no_hits() -> None:
    assert all(len(column) == 0 for column in NgramIndex([], 8).covered([["a"]]))
    assert all(len(column) == 0 for column in NgramIndex([["a"]], 8).covered([]))


def test_n_must_be_positive() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        NgramIndex([], 0)
