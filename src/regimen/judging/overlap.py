"""Overlap of words with references: F1, ROUGE-L, and the published scripts' own variants.

``f1`` and ``rouge_l`` know every script. ``f1_squad``, ``exact_sni`` and ``rouge_l_sni`` equal the
scripts that published numbers come from, with what those scripts do to other scripts: for them only
ASCII punctuation is punctuation, and the tokenizer of ``rouge_l_sni`` deletes every letter outside
a to z, so identical Chinese texts score 0.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from functools import cache, lru_cache

from rapidfuzz.distance import LCSseq

from regimen.errors import MissingExtraError
from regimen.instances.words import WordCodes, tokens

Tokenize = Callable[[str], Sequence[str]]

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NOT_ASCII_WORD = re.compile(r"[^a-z0-9]+")


def f1(answer: str, references: Sequence[str]) -> float:
    """Highest F1 over words of any script (Rajpurkar et al. 2016, articles kept).

    2 * common / (words of the answer + words of the reference), repeated words counted.
    """
    given = tokens(answer)
    return max((_f1(given, tokens(text)) for text in references), default=0.0)


def f1_squad(answer: str, references: Sequence[str]) -> float:
    """Highest F1 by SQuAD's script, version 2: a, an, the and ASCII punctuation dropped."""
    given = _squad(answer)
    return max((_f1(given, _squad(text)) for text in references), default=0.0)


def _squad(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _f1(given: Sequence[Hashable], wanted: Sequence[Hashable]) -> float:
    """Of bags; where one is empty, 1 if both are."""
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return 2 * common / (len(given) + len(wanted))


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Highest ROUGE-L F1 (Lin 2004) over the references, on words of any script, no stemming."""
    given = tokens(answer)
    return max((_rouge_l(given, tokens(text)) for text in references), default=0.0)


def _rouge_l(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(not given and not wanted)
    return 2 * _lcs(given, wanted) / (len(given) + len(wanted))


def _lcs(given: Sequence[str], wanted: Sequence[str]) -> int:
    """Length of the longest common subsequence of words, bit-parallel."""
    codes = WordCodes()
    return LCSseq.similarity(codes.encode(given), codes.encode(wanted))


def exact_sni(answer: str, references: Sequence[str]) -> float:
    """Exact match by Super-NaturalInstructions' script: lower case, no ASCII punctuation.

    Articles stay, unlike in SQuAD's script that it comes from.
    """
    return float(_sni(answer) in {_sni(text) for text in references})


def _sni(text: str) -> str:
    return " ".join(text.lower().translate(_PUNCTUATION).split())


def rouge_l_sni(answer: str, references: Sequence[str]) -> float:
    """ROUGE-L by Super-NaturalInstructions' script, English track (Wang et al. 2022).

    The package ``rouge_score`` with its default tokenizer and Porter stemmer, to the last bit.

    Raises:
        MissingExtraError: ``missing-library``, without the extra ``eval``.
    """
    return sni_rouge_l(stemmed_words)(answer, references)


def sni_rouge_l(tokenize: Tokenize) -> Callable[[str, Sequence[str]], float]:
    """ROUGE-L by that script with another tokenizer; its cross-lingual track takes GPT-2's.

    Args:
        tokenize: pieces of a text. As in the script, blanks that the tokenizer writes before a
            piece (``Ġ``) should be cut off.
    """

    def rule(answer: str, references: Sequence[str]) -> float:
        given = tokenize(answer)
        return max((_f_measure(given, tokenize(text)) for text in references), default=0.0)

    return rule


def _f_measure(given: Sequence[str], wanted: Sequence[str]) -> float:
    """As ``rouge_score`` computes it: 0 where a side is empty, the mean through two quotients."""
    if not given or not wanted:
        return 0.0
    common = _lcs(given, wanted)
    precision, recall = common / len(given), common / len(wanted)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def stemmed_words(text: str) -> list[str]:
    """Runs of a to z and digits in lower case, those over three characters stemmed (Porter).

    Raises:
        MissingExtraError: ``missing-library``, without the extra ``eval``.
    """
    words = _NOT_ASCII_WORD.sub(" ", text.lower()).split()
    return [_stem(word) if len(word) > 3 else word for word in words]


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return _stemmer()(word)


@cache
def _stemmer() -> Callable[[str], str]:
    """NLTK's stemmer, whose extensions to Porter's algorithm no other library has."""
    try:
        from nltk.stem.porter import PorterStemmer
    except ImportError as error:
        raise MissingExtraError(
            "The stemmer of Super-NaturalInstructions' score needs the library 'nltk', which is "
            "not installed.",
            slug="missing-library",
            fix="pip install 'regimen[eval]', or score with 'rouge_l', which does not stem.",
        ) from error
    stem: Callable[[str], str] = PorterStemmer().stem
    return stem
