"""Answer sets to pairs and demonstrations, with an account of every comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.answer_sets import AnswerSet, PairRule, demonstration, pairs_of, together
from regimen.records import Instance, Preference, content_of, stable_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The pairs of some sets, and those of them whose chosen answer is a best one."""

    pairs: list[Preference]
    best: list[Preference]


def pair_up(
    name: str, sets: Sequence[AnswerSet], rule: PairRule, ledger: Ledger, where: str = ""
) -> Paired:
    """The pairs of all sets, as the step ``pairs-<name>``: one unit for each comparison.

    Args:
        name: of the source, as steps have it.
        sets: answers to prompts.
        rule: which answers are compared.
        ledger: gets the step.
        where: what an error names as its place.

    Raises:
        DataError: no comparison gave a pair: ``all-ties`` where each is a tie, else ``no-pairs``.
    """
    paired = Paired(pairs=[], best=[])
    with ledger.step(f"pairs-{name}") as step:
        for found in together(sets):
            made = pairs_of(found, rule)
            step.enter(made.compared)
            step.keep(len(made.kept))
            for lost in made.dropped:
                step.remove(lost.record, lost.reason, lost.detail)
            for what, count in made.left_out.items():
                step.change(f"{what}_left_out", count)
            paired.pairs.extend(made.kept)
            paired.best.extend(made.demonstrations)
    if not paired.pairs and step.entered:
        raise no_pairs(name, step.removed, rule, where)
    return paired


def demonstrations(
    name: str, pairs: Sequence[Preference], best: Sequence[Preference], ledger: Ledger
) -> list[Instance]:
    """The best answers as instances, as the step ``demonstrations-<name>``: one unit for each pair.

    A pair is removed where its chosen answer is not the best of its prompt (``not_the_best``), or
    another pair shows it already (``shown_already``).
    """
    shown = {one.instance_id for one in best}
    answers = {_chosen(one) for one in best}
    made: list[Instance] = []
    with ledger.step(f"demonstrations-{name}", entered=len(pairs)) as step:
        for pair in pairs:
            if pair.instance_id in shown:
                step.keep()
                shown.remove(pair.instance_id)
                made.append(demonstration(pair))
            else:
                again = _chosen(pair) in answers
                step.remove(pair, "shown_already" if again else "not_the_best")
    return made


def _chosen(pair: Preference) -> str:
    return stable_hash([content_of(pair.prompt), content_of(pair.chosen)])


def no_pairs(name: str, removed: Counter[str], rule: PairRule, where: str) -> DataError:
    """The error of comparisons none of which gave a pair: ``all-ties``, or ``no-pairs`` where no
    prompt has two answers that could be compared."""
    lost = ", ".join(f"{reason} {count:,}" for reason, count in removed.items())
    if removed["tie"] or removed["equal_answers"]:
        return DataError(
            f"All comparisons of {name} are ties or of equal answers: nothing is preferred.",
            slug="all-ties",
            got=lost,
            expected=f"scores that differ by more than 0 and at least {rule.min_margin:g}",
            fix="Lower min_margin, or score the answers by something that tells them apart.",
            where=where,
        )
    return DataError(
        f"The answers of {name} give no pair.",
        slug="no-pairs",
        got=lost,
        expected="two or more answers to a prompt, with different scores",
        fix="Look at the ledger for the reason of each comparison.",
        where=where,
    )
