"""BLEU and chrF by sacrebleu: of one answer, and of a whole suite with the signature to report.

Texts are put into NFC first. Chinese is split by sacrebleu's own tokenizer, other languages that
write no spaces, and Korean, by characters; a tokenizer that needs a dictionary of its own, such as
``ja-mecab``, can be named for a suite.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from regimen.errors import EvaluationError, MissingExtraError
from regimen.records import Item

DEFAULT_TOKENIZER = "13a"
TOKENIZERS: Mapping[str, str] = {
    "zh": "zh",
    **dict.fromkeys(["ja", "ko", "th", "lo", "km", "my", "yue"], "char"),
}
"""sacrebleu's tokenizer by language (the part of the code before a hyphen)."""

CORPUS_METRICS = ("bleu", "chrf")
"""Metrics whose score of a suite is not the mean of its answers'."""


@dataclass(frozen=True, slots=True)
class CorpusScore:
    """A score of all answers together, in 0..1, and sacrebleu's signature of how it was made."""

    score: float
    signature: str


def bleu(answer: str, item: Item) -> float:
    """BLEU of one answer (Papineni et al. 2002), the order lowered to what a short text has.

    All references count together, as BLEU defines it. 1 where answer and a reference are empty.

    Raises:
        MissingExtraError: ``missing-library``, without the extra ``eval``.
    """
    return _sentence(_metric("BLEU", tokenizer_for(item.lineage.language)), answer, item.references)


def chrf(answer: str, item: Item) -> float:
    """chrF of one answer (Popović 2015): F2 of runs of 1 to 6 characters; the best reference.

    Raises:
        MissingExtraError: ``missing-library``, without the extra ``eval``.
    """
    return _sentence(_metric("CHRF", ""), answer, item.references)


def corpus_bleu(
    answers: Sequence[str], references: Sequence[Sequence[str]], *, tokenizer: str = "13a"
) -> CorpusScore:
    """BLEU of a suite, its counts summed over all answers before the quotient.

    Args:
        answers: n texts.
        references: n lists, each with one reference or more.
        tokenizer: a name of sacrebleu's; :func:`tokenizer_for` knows those by language.

    Raises:
        EvaluationError: ``nothing-to-score``, without answers or with one that has no reference.
        MissingExtraError: ``missing-library``, without the extra ``eval``.
    """
    return _corpus(_library().BLEU(tokenize=tokenizer), answers, references)


def corpus_chrf(answers: Sequence[str], references: Sequence[Sequence[str]]) -> CorpusScore:
    """chrF of a suite; arguments and errors as for :func:`corpus_bleu`."""
    return _corpus(_library().CHRF(), answers, references)


def corpus_scores(
    metric: str, items: Sequence[Item], answers: Sequence[str]
) -> dict[str, CorpusScore]:
    """``bleu`` or ``chrf`` of a suite, for BLEU apart by tokenizer, since counts do not add up.

    Args:
        metric: a name of ``CORPUS_METRICS``.
        items: n items with references.
        answers: n texts; empty where an answer failed, which then counts as one that says nothing.

    Raises:
        EvaluationError, MissingExtraError: as :func:`corpus_bleu`.
    """
    references = [item.references for item in items]
    if metric == "chrf":
        return {"all": corpus_chrf(answers, references)}
    groups: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        groups.setdefault(tokenizer_for(item.lineage.language), []).append(place)
    return {
        name: corpus_bleu([answers[i] for i in own], [references[i] for i in own], tokenizer=name)
        for name, own in groups.items()
    }


def tokenizer_for(language: str) -> str:
    """sacrebleu's tokenizer for a language code such as ``zh-Hant``; 13a where none is known."""
    return TOKENIZERS.get(language.lower().replace("_", "-").partition("-")[0], DEFAULT_TOKENIZER)


def _sentence(metric: Any, answer: str, references: Sequence[str]) -> float:
    given, wanted = _nfc(answer), [_nfc(text) for text in references]
    if not wanted:
        return 0.0
    if not given.strip():
        return float(any(not text.strip() for text in wanted))
    # sacrebleu gives per cent, at times a little over a hundred.
    return min(1.0, max(0.0, float(metric.sentence_score(given, wanted).score) / 100))


def _corpus(
    metric: Any, answers: Sequence[str], references: Sequence[Sequence[str]]
) -> CorpusScore:
    bare = sum(not some for some in references)
    if not answers or bare:
        raise EvaluationError(
            "A suite without answers or references has no score.",
            slug="nothing-to-score",
            got=f"{len(answers)} answers, {bare} of them without a reference",
            expected="one answer or more, each with one reference or more",
            fix="Leave out what has no reference.",
        )
    most = max(map(len, references))
    # sacrebleu takes the first references of all, then the second ones; None where there is none.
    columns = [
        [_nfc(some[place]) if place < len(some) else None for some in references]
        for place in range(most)
    ]
    result = metric.corpus_score([_nfc(answer) for answer in answers], columns)
    score = min(1.0, max(0.0, float(result.score) / 100))
    return CorpusScore(score, str(metric.get_signature()))


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@cache
def _metric(name: str, tokenizer: str) -> Any:
    """A sacrebleu metric for single texts; making one takes longer than a score."""
    library = _library()
    if name == "CHRF":
        return library.CHRF()
    return library.BLEU(tokenize=tokenizer, effective_order=True)


def _library() -> ModuleType:
    try:
        from sacrebleu import metrics
    except ImportError as error:
        raise MissingExtraError(
            "BLEU and chrF need the library 'sacrebleu', which is not installed.",
            slug="missing-library",
            fix="pip install 'regimen[eval]', or choose another metric, such as 'rouge_l'.",
        ) from error
    library: ModuleType = metrics
    return library
