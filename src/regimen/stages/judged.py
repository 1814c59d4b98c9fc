"""Judged answers of ``build`` beside its pairs: labels, lists with scores, answers in steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from regimen.curation.filters import apply
from regimen.curation.ledger import Ledger
from regimen.curation.pair_filters import (
    JudgedFilter,
    contradictory,
    contradictory_labels,
    duplicates,
    each_answer,
    equal_answers,
    near_duplicate_prompts,
)
from regimen.errors import DataError
from regimen.instances.answer_records import ALL
from regimen.instances.answer_sets import AnswerSet, PairRule
from regimen.records import Item, Labelled, Preference, Ranked, Stepwise
from regimen.runs import Run
from regimen.settings.build import CurationSettings
from regimen.stages.producing import clean_filters, leak_filters
from regimen.tables import labelled_to_table, ranked_to_table, stepwise_to_table, write_table

Kept = TypeVar("Kept", Preference, Labelled, Ranked, Stepwise)

_FIRST: Mapping[type, Mapping[str, Any]] = {Preference: {"equal": equal_answers}}
_LAST: Mapping[type, Mapping[str, Any]] = {
    Preference: {"contradictory": contradictory},
    Labelled: {"contradictory": contradictory_labels},
}
"""Filters of one kind alone, before and after those of all kinds."""


@dataclass(slots=True)
class JudgedAnswers:
    """Answers with what was said of them, as ``align`` reads them; a field names its file."""

    labelled: list[Labelled] = field(default_factory=list)
    ranked: list[Ranked] = field(default_factory=list)
    stepwise: list[Stepwise] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.labelled or self.ranked or self.stepwise)

    @property
    def records(self) -> list[Labelled | Ranked | Stepwise]:
        """All of them."""
        return [*self.labelled, *self.ranked, *self.stepwise]

    def curated(
        self, rules: CurationSettings, items: Sequence[Item], ledger: Ledger
    ) -> JudgedAnswers:
        """What is left of each kind after the rules; a kind without records has no steps."""
        return JudgedAnswers(
            curate("labelled", self.labelled, rules, items, ledger) if self.labelled else [],
            curate("ranked", self.ranked, rules, items, ledger) if self.ranked else [],
            curate("stepwise", self.stepwise, rules, items, ledger) if self.stepwise else [],
        )

    def write(self, run: Run) -> dict[str, Any]:
        """Write a file for each kind that there is; its figures for the data card, by kind."""
        told: dict[str, Any] = {}
        if self.labelled:
            write_table(run.path("labelled.parquet"), labelled_to_table(self.labelled))
            good = sum(one.desirable for one in self.labelled)
            told["labelled"] = {"answers": len(self.labelled), "desirable": good}
        if self.ranked:
            write_table(run.path("ranked.parquet"), ranked_to_table(self.ranked))
            answers = sum(len(one.answers) for one in self.ranked)
            told["ranked"] = {"lists": len(self.ranked), "answers": answers}
        if self.stepwise:
            write_table(run.path("stepwise.parquet"), stepwise_to_table(self.stepwise))
            steps = sum(len(one.steps) for one in self.stepwise)
            told["stepwise"] = {"answers": len(self.stepwise), "steps": steps}
        return told


def take_apart(
    kind: Literal["labelled", "ranked"],
    name: str,
    sets: Sequence[AnswerSet],
    pairs: Sequence[Preference],
    rule: PairRule,
    ledger: Ledger,
    where: str = "",
) -> list[Any]:
    """The labelled answers or the lists of a source, as the step ``answers-<name>``.

    A unit is an answer for ``labelled``, a list for ``ranked``.

    Raises:
        DataError: ``no-answers``: none is left.
    """
    kept: list[Any] = []
    with ledger.step(f"answers-{name}") as step:
        for taken in ALL[kind](sets, pairs, rule):
            step.enter(len(taken.kept) + len(taken.dropped))
            step.keep(len(taken.kept))
            for lost in taken.dropped:
                step.remove(lost.record, lost.reason, lost.detail)
            for what, count in taken.left_out.items():
                step.change(f"{what}_left_out", count)
            kept.extend(taken.kept)
    if not kept and step.entered:
        raise _none_left(kind, name, step.removed, where)
    return kept


def curate(
    name: str,
    records: Sequence[Kept],
    rules: CurationSettings,
    items: Sequence[Item],
    ledger: Ledger,
) -> list[Kept]:
    """What is left of records of one kind after the rules for instances, on all their answers, and
    those of their kind.

    Each rule is a step of the ledger, ``<name>-<rule>``; the last, ``<name>``, removes duplicates.
    """
    if not records:
        ledger.step(name).close()
        return []
    kind = type(records[0])
    filters: dict[str, JudgedFilter] = {**_FIRST.get(kind, {})}
    for rule, judge in (clean_filters(rules) | leak_filters(rules, items)).items():
        filters[rule] = each_answer(judge)
    filters |= _LAST.get(kind, {})
    if rules.near_duplicate_prompts is not None:
        filters["near-prompts"] = near_duplicate_prompts(rules.near_duplicate_prompts)
    kept = list(records)
    for rule, own in filters.items():
        kept = apply(f"{name}-{rule}", kept, own, ledger)
    if rules.exact_duplicates:
        kept = apply(name, kept, duplicates, ledger)
    return kept


def _none_left(kind: str, name: str, removed: Counter[str], where: str) -> DataError:
    fix = "Look at the ledger for the reason of each."
    if removed["no_label"]:
        fix = (
            "Say from which rating on an answer is good with pairs.desirable_from; of ranks make "
            "pairs (preferences_as: pairs), which methods for labels read too."
        )
    return DataError(
        f"The answers of {name} give nothing {kind}.",
        slug="no-answers",
        got=", ".join(f"{reason} {count:,}" for reason, count in removed.items()),
        fix=fix,
        where=where,
    )
