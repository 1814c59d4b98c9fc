"""BLEU and chrF against sacrebleu's own functions: pytest tests/judging/test_translation.py"""

from __future__ import annotations

import sys
import unicodedata

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from regimen.errors import EvaluationError, MissingExtraError
from regimen.judging import translation
from regimen.judging.translation import bleu, chrf, corpus_bleu, corpus_chrf, tokenizer_for
from regimen.records import Item, Lineage

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    ",",
    "café",
    "北京",
    "и",
    "кот",
    "猫",
    "شكرا",
    "42",
    ".",
    "again",
]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join)


def item(*references: str, language: str = "en") -> Item:
    return Item(suite="s", messages=(), references=references, lineage=Lineage(language=language))


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_single_answers_score_as_sacrebleu_scores_them(answer: str, references: list[str]) -> None:
    theirs = sacrebleu.sentence_bleu(answer, references, use_effective_order=True).score
    assert bleu(answer, item(*references)) == min(1.0, theirs / 100)
    assert (
        chrf(answer, item(*references)) == sacrebleu.sentence_chrf(answer, references).score / 100
    )


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        ("zh", "zh"),
        ("zh-Hant", "zh"),
        ("ja", "char"),
        ("ko_KR", "char"),
        ("en", "13a"),
        ("", "13a"),
    ],
)
def test_the_language_chooses_the_tokenizer(language: str, tokenizer: str) -> None:
    assert tokenizer_for(language) == tokenizer
    theirs = sacrebleu.sentence_bleu(
        "猫坐在垫子上。", ["猫坐在椅子上。"], tokenize=tokenizer, use_effective_order=True
    )
    own = bleu("猫坐在垫子上。", item("猫坐在椅子上。", language=language))
    assert own == pytest.approx(theirs.score / 100)


@given(st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=5))
def test_a_suite_scores_as_sacrebleu_scores_it(rows: list[tuple[str, list[str]]]) -> None:
    answers, references = [row[0] for row in rows], [row[1] for row in rows]
    columns = [[some[i] if i < len(some) else None for some in references] for i in range(3)]
    columns = [column for column in columns if any(column)]
    own = corpus_bleu(answers, references)
    assert own.score == min(1.0, sacrebleu.corpus_bleu(answers, columns).score / 100)
    assert corpus_chrf(answers, references).score == pytest.approx(
        sacrebleu.corpus_chrf(answers, columns).score / 100
    )


def test_the_signature_says_how_a_suite_was_scored() -> None:
    scored = corpus_bleu(["猫"], [["猫", "狗"]], tokenizer="zh")
    assert "nrefs:2" in scored.signature
    assert "tok:zh" in scored.signature
    assert "version:" in corpus_chrf(["a"], [["a"]]).signature


@given(TEXTS)
def test_a_text_equals_itself_in_either_normal_form(text: str) -> None:
    apart = unicodedata.normalize("NFD", text)
    assert bleu(apart, item(text)) == bleu(text, item(apart)) == pytest.approx(1)
    assert chrf(apart, item(text)) == chrf(text, item(apart)) == pytest.approx(1)


def test_empty_answers_and_no_references() -> None:
    for scorer in (bleu, chrf):
        assert scorer("", item("a")) == scorer("a", item()) == scorer("a", item("")) == 0
        assert scorer(" ", item("")) == 1
    for answers, references in [([], []), (["a"], [[]])]:
        with pytest.raises(EvaluationError) as caught:
            corpus_bleu(answers, references)
        assert caught.value.slug == "nothing-to-score"


def test_without_sacrebleu_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    translation._metric.cache_clear()
    with pytest.raises(MissingExtraError, match=r"regimen\[eval\]"):
        chrf("a", item("a"))
