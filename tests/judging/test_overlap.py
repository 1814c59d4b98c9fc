"""Overlap of words: pytest tests/judging/test_overlap.py"""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from collections import Counter
from itertools import islice, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from helpers.examples import examples
from regimen.errors import MissingExtraError
from regimen.judging import overlap
from regimen.judging.overlap import (
    exact_sni,
    f1,
    f1_squad,
    rouge_l,
    rouge_l_sni,
    sni_rouge_l,
    stemmed_words,
)

# Words whose stems differ between versions of the algorithm, and what a tokenizer stumbles over.
WORDS = [
    "skies",
    "dying",
    "generously",
    "forcibly",
    "essays",
    "conditional",
    "happily",
    "news",
    "running",
    "Running's",
    "a",
    "the",
    "relational",
    "2024",
    "3rd",
    "naïve",
    "café",
    "北京",
    "É",
    "x_y",
    "e-mail",
    "İstanbul",
    "...",
    "shelley",
    "innings",
    "42%",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join) | st.text(max_size=30)
THEIRS = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the cat", "the cat sat", 2 * 2 / 5),
        ("sat cat the", "the cat sat", 2 * 1 / 6),
        ("a b", "c d", 0),
        ("猫坐着", "猫坐下", 2 * 2 / 6),
        ("", "a", 0),
        ("", "", 1),
    ],
)
def test_rouge_l(answer: str, reference: str, score: float) -> None:
    assert rouge_l(answer, [reference]) == pytest.approx(score)


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_rouge_l_agrees_with_a_naive_one(a: list[str], b: list[str]) -> None:
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    expected = 2 * row[-1] / (len(a) + len(b)) if a and b else float(not a and not b)
    assert rouge_l(" ".join(a), [" ".join(b)]) == pytest.approx(expected)


@examples(300)
@given(TEXTS, TEXTS)
def test_rouge_l_sni_is_the_package_to_the_last_bit(answer: str, reference: str) -> None:
    assert rouge_l_sni(answer, [reference]) == THEIRS.score(reference, answer)["rougeL"].fmeasure


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_rouge_l_sni_takes_the_best_reference(answer: str, references: list[str]) -> None:
    own = [rouge_l_sni(answer, [text]) for text in references]
    assert rouge_l_sni(answer, references) == max(own, default=0.0)


def test_the_cross_lingual_track_takes_a_tokenizer() -> None:
    class Characters:
        def tokenize(self, text: str) -> list[str]:
            return list(text)

    theirs = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Characters())
    for answer, reference in [("猫坐着", "猫坐下"), ("", "猫"), ("кот", "кит")]:
        expected = theirs.score(reference, answer)["rougeL"].fmeasure
        assert sni_rouge_l(list)(answer, [reference]) == expected


@pytest.mark.realdata
def test_rouge_l_sni_on_real_outputs(shared_data: Path) -> None:
    compared = 0
    for path in sorted((shared_data / "super-natural-instructions" / "tasks").glob("*.json"))[:20]:
        task = json.loads(path.read_text(encoding="utf-8"))
        rows = list(islice(task["Instances"], 100))
        for row, other in pairwise(rows):
            answer, references = row["input"][-300:], [*other["output"], row["input"][:200]]
            scores = [THEIRS.score(text, answer)["rougeL"].fmeasure for text in references]
            assert rouge_l_sni(answer, references) == max(scores)
            compared += len(scores)
    assert compared > 2000


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("The Cat.", "the cat", 1),
        ("the cat", "cat", 0),
        ("it's", "its", 1),
        ("e-mail", "email", 1),
        ("a\n b", "a b", 1),
        ("«oui»", "oui", 0),
    ],
)
def test_exact_sni_keeps_articles_and_knows_ascii_punctuation(
    answer: str, reference: str, score: float
) -> None:
    assert exact_sni(answer, [reference]) == score


@pytest.mark.parametrize(
    ("answer", "reference", "words", "squad"),
    [
        ("the cat sat", "a cat sat", 2 * 2 / 6, 1),
        ("cat cat", "cat", 2 / 3, 2 / 3),
        ("it's", "its", 0, 1),
        ("café au lait", "cafe\u0301 au lait", 1, 2 * 2 / 6),
        ("北京市", "北京", 2 * 2 / 5, 0),
        ("", "the", 0, 1),
        ("", "", 1, 1),
        ("شكرا جزيلا", "شكرا", 2 / 3, 2 / 3),
    ],
)
def test_f1(answer: str, reference: str, words: float, squad: float) -> None:
    assert f1(answer, [reference]) == pytest.approx(words)
    assert f1_squad(answer, [reference]) == pytest.approx(squad)


@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_at_least_rouge_l(a: str, b: str) -> None:
    assert f1(a, [b]) == f1(b, [a])
    assert f1_squad(a, [b]) == f1_squad(b, [a])
    assert f1(a, [b]) >= rouge_l(a, [b])


@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_f1_squad_is_the_script_s_formula(given_: list[str], wanted: list[str]) -> None:
    kept = [[w for w in words if w != "a"] for words in (given_, wanted)]
    common = sum((Counter(kept[0]) & Counter(kept[1])).values())
    if not all(kept):
        expected = float(kept[0] == kept[1])
    elif not common:
        expected = 0.0
    else:
        p, r = common / len(kept[0]), common / len(kept[1])
        expected = 2 * p * r / (p + r)
    assert f1_squad(" ".join(given_), [" ".join(wanted)]) == pytest.approx(expected)


def test_without_the_stemmer_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    overlap._stemmer.cache_clear()
    overlap._stem.cache_clear()
    real = builtins.__import__

    def without(name: str, *rest: object, **named: object) -> object:
        if name.startswith("nltk"):
            raise ImportError(name)
        return real(name, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"regimen\[eval\]"):
        stemmed_words("running")
    monkeypatch.undo()
    assert stemmed_words("Running far") == ["run", "far"]


def test_scorers_load_neither_stemmer_nor_sacrebleu_before_they_are_used() -> None:
    script = (
        "import sys, regimen.judging.scorers; "
        "sys.exit(bool({'nltk', 'sacrebleu'} & {*sys.modules}))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
