"""ROUGE-L novelty: pytest tests/curation/test_novelty.py"""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimen.curation import novelty
from regimen.curation.novelty import NoveltyPool, near_duplicates, too_close
from regimen.instances.words import tokens
from regimen.records import Instance, Message


def naive_lcs(a: list[str], b: list[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        previous = 0
        for j, y in enumerate(b, start=1):
            previous, row[j] = row[j], previous + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def words(n: int, first: int = 0) -> list[str]:
    return [f"w{i}" for i in range(first, first + n)]


@pytest.mark.parametrize(
    ("lcs", "m", "n", "close"),
    [
        (7, 7, 13, True),  # 14/20 is exactly 0.7; a float says 0.7000000000000001
        (7, 13, 7, True),
        (7, 10, 10, True),  # exactly 0.7 again; a float stays below
        (6, 7, 13, False),
        (7, 10, 11, False),
        (8, 10, 11, True),
        (0, 0, 0, True),
        (0, 0, 1, False),
        (1, 1, 1, True),
    ],
)
def test_the_comparison_is_exact(lcs: int, m: int, n: int, close: bool) -> None:
    assert too_close(lcs, m, n) is close


def test_lengths_where_floats_disagree_about_exactly_the_threshold() -> None:
    def in_floats(lcs: int, m: int, n: int) -> bool:
        precision, recall = lcs / m, lcs / n
        return 2 * precision * recall / (precision + recall) > 0.7

    exact = [
        (lcs, m, n)
        for m in range(1, 60)
        for n in range(1, 60)
        for lcs in range(1, min(m, n) + 1)
        if 20 * lcs == 7 * (m + n)
    ]
    verdicts = {in_floats(*one) for one in exact}
    assert verdicts == {True, False}  # the reason for integers
    assert all(too_close(*one) for one in exact)


@given(
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.lists(st.sampled_from("abcd"), max_size=12),
    st.sampled_from(["0.7", "0.5", "1"]),
)
def test_the_pool_agrees_with_a_naive_lcs(a: list[str], b: list[str], threshold: str) -> None:
    pool = NoveltyPool([" ".join(a)], threshold)
    found = pool.nearest(" ".join(b))
    assert found is not None
    assert found.lcs == naive_lcs(a, b)
    limit = Fraction(threshold)
    expected = naive_lcs(a, b) * 2 >= limit * (len(a) + len(b))
    assert (pool.admit(" ".join(b)) is not None) is expected


def test_the_reference_vectors_through_the_pool() -> None:
    # LCS 7 with lengths 7 and 13, then 10 and 10, then 10 and 11.
    assert NoveltyPool([" ".join(words(7))]).admit(" ".join(words(13))) is not None
    ten = " ".join(words(7) + words(3, 20))
    assert NoveltyPool([ten]).admit(" ".join(words(7) + words(3, 30))) is not None
    assert NoveltyPool([ten]).admit(" ".join(words(7) + words(4, 30))) is None


@pytest.mark.parametrize(
    "text",
    [
        "把下面的句子翻译成英文",
        "Переведи это предложение на английский",
        "हर शब्द को उलटा लिखो",
        "แปลประโยคนี้เป็นภาษาอังกฤษ",
        "café",
        "😀 😀",
        "+ - *",
    ],
)
def test_identical_texts_of_any_script_are_too_close(text: str) -> None:
    pool = NoveltyPool()
    assert pool.admit(text) is None
    assert pool.admit(text) == text
    assert len(pool) == 1


def test_different_chinese_texts_are_not() -> None:
    assert NoveltyPool(["把下面的句子翻译成英文"]).admit("写一首关于海的短诗") is None


def test_accents_tell_words_apart() -> None:
    assert tokens("café") == ["café"]
    assert NoveltyPool(["ou"]).admit("où") is None


def test_the_order_decides_and_the_nearest_is_named() -> None:
    a, b, c = "w1 w2 w3 w4", "w1 w2 w3 w4 w5 w6", "w3 w4 w5 w6"
    first = NoveltyPool()
    assert [first.admit(text) for text in (a, b, c)] == [None, a, None]
    second = NoveltyPool()
    assert [second.admit(text) for text in (b, a, c)] == [None, b, b]


def test_nearest_gives_the_earliest_of_equals_and_none_when_empty() -> None:
    assert NoveltyPool().nearest("x") is None
    found = NoveltyPool(["x y", "y x"]).nearest("x z")
    assert found is not None
    assert (found.position, found.text, found.lcs, found.rouge_l) == (0, "x y", 1, 0.5)


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=7).map(" ".join), max_size=30))
def test_blocks_give_the_verdicts_of_one_after_the_other(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(novelty, "BLOCK", 4)
        together, alone = NoveltyPool(["a b c"]), NoveltyPool(["a b c"])
        assert together.admit_all(texts) == [alone.admit(text) for text in texts]
        assert len(together) == len(alone)


def test_seeds_stay_in_the_pool_whatever_is_close_to_them() -> None:
    pool = NoveltyPool(["a b c d", "a b c d"])
    assert len(pool) == 2
    assert pool.admit("a b c d") == "a b c d"


def test_a_pool_grows_past_its_first_room() -> None:
    pool = NoveltyPool(f"only{n}" for n in range(200))
    assert pool.admit("only150") == "only150"
    assert pool.admit("only201") is None


def test_as_a_filter_over_user_turns() -> None:
    def asked(text: str) -> Instance:
        question = Message(role="user", content=text)
        return Instance(messages=(question, Message(role="assistant", content="same answer")))

    rows = [asked("Name a red fruit."), asked("Name a red fruit!"), asked("Count to ten")]
    assert near_duplicates(rows) == [None, "near_duplicate: of 'Name a red fruit.'", None]
    assert near_duplicates(rows[2:], seeds=["count TO ten"]) == [
        "near_duplicate: of 'count TO ten'"
    ]
