"""Answer scorers: pure functions (answer, references) -> score in 0..1.

Several references are alternatives: the best one counts. Without references the score is 0.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from rapidfuzz.distance import LCSseq

from regimen.errors import EvaluationError, near
from regimen.instances.words import WordCodes, normalise, tokens
from regimen.protocols import Scorer
from regimen.records import Item

Rule = Callable[[str, Sequence[str]], float]


def exact(answer: str, references: Sequence[str]) -> float:
    """1 when the answer is a reference, character for character, outer white space aside."""
    return float(answer.strip() in {text.strip() for text in references})


def normalised(answer: str, references: Sequence[str]) -> float:
    """1 when both are equal after folding case, width, white space and outer punctuation."""
    return float(_bare(answer) in {_bare(text) for text in references})


def _bare(text: str) -> str:
    """Folded, with punctuation cut from both ends, unless there is nothing else."""
    whole = normalise(text)
    start, end = 0, len(whole)
    while start < end and _is_outer(whole[start]):
        start += 1
    while end > start and _is_outer(whole[end - 1]):
        end -= 1
    return whole[start:end] or whole


def _is_outer(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")


_MINUS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-"})
# French and Spanish group thousands with no-break spaces.
_SPACED_GROUP = re.compile("(?<=\\d)[\u00a0\u202f](?=\\d{3}(?!\\d))")
_NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:e[-+]?\d+)?(?![\d])")


def numeric(answer: str, references: Sequence[str]) -> float:
    """1 when the last number of the answer equals the last number of a reference.

    Exact decimals, so 0.1 equals 0.10 and no tolerance hides an error. A comma is a thousands
    separator where groups of three follow it, as in 1,234 and 1,234.5, else a decimal comma.
    """
    found = last_number(answer)
    if found is None:
        return 0.0
    return float(any(found == last_number(text) for text in references))


def last_number(text: str) -> Decimal | None:
    """The last number written in digits, of any script; None without one."""
    plain = _SPACED_GROUP.sub("", text.translate(_MINUS)).replace("E", "e")
    written = _NUMBER.findall(plain)
    return _decimal(written[-1]) if written else None


def _decimal(text: str) -> Decimal:
    digits, *power = text.split("e")
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"[-+]?\d{1,3}(\.\d{3})+,\d+|[-+]?\d{1,3}(\.\d{3}){2,}", digits):
        digits = digits.replace(".", "").replace(",", ".")
    else:
        digits = digits.replace(",", ".")
    try:
        return Decimal("e".join([digits, *power]))
    except InvalidOperation:  # a list without spaces, such as 1,2,3
        return Decimal(re.split(r"[.,]", text.split("e")[0])[-1])


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Highest ROUGE-L F1 (Lin 2004) over the references, on words of any script, no stemming."""
    given = tokens(answer)
    return max((_rouge_l(given, tokens(text)) for text in references), default=0.0)


def _rouge_l(given: Sequence[str], wanted: Sequence[str]) -> float:
    if not given or not wanted:
        return float(not given and not wanted)
    codes = WordCodes()
    lcs = LCSseq.similarity(codes.encode(given), codes.encode(wanted))
    return 2 * lcs / (len(given) + len(wanted))


def contains(answer: str, references: Sequence[str]) -> float:
    """1 when the answer contains a reference as a run of whole words; "no" is not in "nothing".

    A reference without letters and digits has no words and is looked for as it is.
    """
    words = f" {' '.join(tokens(answer))} "
    plain = normalise(answer)
    for reference in references:
        wanted = normalise(reference)
        if not wanted:
            continue
        if any(character.isalnum() for character in wanted):
            if f" {' '.join(tokens(reference))} " in words:
                return 1.0
        elif wanted in plain:
            return 1.0
    return 0.0


def json_valid(answer: str, references: Sequence[str] = ()) -> float:
    """1 when the whole answer is one JSON value (RFC 8259: no NaN). References are not used."""
    try:
        json.loads(answer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return 0.0
    return 1.0


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


RULES: Mapping[str, Rule] = {
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "rouge_l": rouge_l,
    "contains": contains,
    "json_valid": json_valid,
}


def rule_named(name: str) -> Rule:
    """The rule of that name.

    Raises:
        EvaluationError: ``unknown-rule``.
    """
    if name not in RULES:
        raise EvaluationError(
            f"There is no scoring rule {name!r}.",
            slug="unknown-rule",
            got=name,
            expected="one of " + ", ".join(RULES),
            fix=near(name, RULES),
        )
    return RULES[name]


def item_scorer(rule: Rule) -> Scorer:
    """A rule as a scorer of items: the references are the item's."""

    def score(answer: str, item: Item) -> float:
        return rule(answer, item.references)

    return score
