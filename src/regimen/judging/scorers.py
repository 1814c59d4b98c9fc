"""The scorers by name, each with the fields of an item that it cannot do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from regimen.errors import EvaluationError, near
from regimen.judging.choices import choice, unparsed
from regimen.judging.extraction import final, final_numeric
from regimen.judging.ifeval.scorers import (
    ifeval_instructions,
    ifeval_instructions_loose,
    ifeval_loose,
    ifeval_strict,
)
from regimen.judging.overlap import exact_sni, f1, f1_squad, rouge_l, rouge_l_sni
from regimen.judging.refusal import is_refusal
from regimen.judging.rules import (
    Rule,
    contains,
    exact,
    item_scorer,
    json_valid,
    normalised,
    numeric,
)
from regimen.judging.steps import steps_exact
from regimen.judging.translation import bleu, chrf
from regimen.protocols import Scorer
from regimen.records import Item

Need = Literal["references", "choices", "constraints"]
"""A field of an item that a scorer cannot do without."""

NOTHING: frozenset[Need] = frozenset()
REFERENCES: frozenset[Need] = frozenset(("references",))
CHOICES: frozenset[Need] = frozenset(("references", "choices"))
CONSTRAINTS: frozenset[Need] = frozenset(("constraints",))


@dataclass(frozen=True, slots=True)
class ItemScorer:
    """A scorer with what it needs of every item; a suite that lacks that cannot be scored by it."""

    score: Scorer
    needs: frozenset[Need]

    def __call__(self, answer: str, item: Item) -> float:
        """The score of the answer, in 0..1."""
        return self.score(answer, item)


def refuses(answer: str, item: Item) -> float:
    """1 when the answer declines by the rules of :mod:`~regimen.judging.refusal`."""
    return float(is_refusal(answer))


def complies(answer: str, item: Item) -> float:
    """1 when the answer says something and does not decline."""
    return float(bool(answer.strip()) and not is_refusal(answer))


def helps(answer: str, item: Item) -> float:
    """1 when the answer contains a reference as :func:`contains` does, and does not decline."""
    return contains(answer, item.references) * complies(answer, item)


RULES: Mapping[str, Rule] = {
    "exact": exact,
    "normalised": normalised,
    "numeric": numeric,
    "contains": contains,
    "f1": f1,
    "f1_squad": f1_squad,
    "rouge_l": rouge_l,
    "rouge_l_sni": rouge_l_sni,
    "exact_sni": exact_sni,
    "final_exact": final(exact),
    "final_normalised": final(normalised),
    "final_numeric": final_numeric,
    "final_f1": final(f1),
    "steps_exact": steps_exact,
}
"""What compares an answer with references alone."""

SCORERS: Mapping[str, ItemScorer] = {
    **{name: ItemScorer(item_scorer(rule), REFERENCES) for name, rule in RULES.items()},
    "bleu": ItemScorer(bleu, REFERENCES),
    "chrf": ItemScorer(chrf, REFERENCES),
    "choice": ItemScorer(choice, CHOICES),
    "unparsed": ItemScorer(unparsed, frozenset(("choices",))),
    "ifeval_strict": ItemScorer(ifeval_strict, CONSTRAINTS),
    "ifeval_loose": ItemScorer(ifeval_loose, CONSTRAINTS),
    "ifeval_instructions": ItemScorer(ifeval_instructions, CONSTRAINTS),
    "ifeval_instructions_loose": ItemScorer(ifeval_instructions_loose, CONSTRAINTS),
    "json_valid": ItemScorer(item_scorer(json_valid), NOTHING),
    "refuses": ItemScorer(refuses, NOTHING),
    "complies": ItemScorer(complies, NOTHING),
    "helps": ItemScorer(helps, REFERENCES),
}


def scorer_named(name: str) -> ItemScorer:
    """The scorer of that name.

    Raises:
        EvaluationError: ``unknown-scorer``.
    """
    if name not in SCORERS:
        raise EvaluationError(
            f"There is no scorer {name!r}.",
            slug="unknown-scorer",
            got=name,
            expected="one of " + ", ".join(SCORERS),
            fix=near(name, SCORERS),
        )
    return SCORERS[name]
