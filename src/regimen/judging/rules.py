"""Answer scorers: pure functions (answer, references) -> score in 0..1.

Several references are alternatives: the best one counts. Without references the score is 0.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence

from regimen.instances.words import normalise, tokens
from regimen.judging.numbers import quantities
from regimen.protocols import Scorer
from regimen.records import Item

Rule = Callable[[str, Sequence[str]], float]


def exact(answer: str, references: Sequence[str]) -> float:
    """1 when the answer is a reference, character for character, outer white space aside."""
    return float(answer.strip() in {text.strip() for text in references})


def normalised(answer: str, references: Sequence[str]) -> float:
    """1 when both are equal after folding case, width, white space and outer punctuation."""
    return float(bare(answer) in {bare(text) for text in references})


def bare(text: str) -> str:
    """A text folded, with punctuation cut from both ends, unless there is nothing else."""
    whole = normalise(text)
    start, end = 0, len(whole)
    while start < end and _is_outer(whole[start]):
        start += 1
    while end > start and _is_outer(whole[end - 1]):
        end -= 1
    return whole[start:end] or whole


def _is_outer(character: str) -> bool:
    return character.isspace() or unicodedata.category(character).startswith("P")


def numeric(answer: str, references: Sequence[str]) -> float:
    """1 when the last number of the answer equals the last number of a reference.

    See :mod:`~regimen.judging.numbers` for what is read as a number.
    """
    found = quantities(answer)[-1:]
    wanted = [number for text in references for number in quantities(text)[-1:]]
    return float(any(number.agrees(found[0]) for number in wanted) if found else False)


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


def item_scorer(rule: Rule) -> Scorer:
    """A rule as a scorer of items: the references are the item's."""

    def score(answer: str, item: Item) -> float:
        return rule(answer, item.references)

    return score
