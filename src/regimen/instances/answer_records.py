"""Answers of people as records of their own: labelled one by one, or as a list with scores.

What :mod:`regimen.instances.answer_sets` makes pairs of, methods for labels (KTO) and for lists
(RRHF, SLiC, rewards) learn as it is. An answer that cannot be taken is dropped with a reason:

    empty_answer          it says nothing
    answer_without_score  nobody scored it
    no_label              it is ranked, or rated and nothing says from where on ratings are good
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from regimen.instances.answer_sets import Answer, AnswerSet, Dropped, PairRule, said, together
from regimen.records import Labelled, Lineage, Preference, Ranked

Made = TypeVar("Made", Labelled, Ranked)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken(Generic[Made]):
    """What became of answers: records, what is dropped, and what was left out of a list."""

    kept: tuple[Made, ...]
    dropped: tuple[Dropped, ...] = ()
    left_out: Mapping[str, int]


def labels_of_pair(pair: Preference) -> tuple[Labelled, Labelled]:
    """A pair as two answers, of which the chosen one is wanted.

    So are pairs split for unpaired methods (Ethayarajh et al. 2024, *KTO*, section 4.1, arXiv
    2402.01306).
    """
    return (
        Labelled(
            prompt=pair.prompt,
            answer=pair.chosen,
            desirable=True,
            lineage=pair.lineage,
            weight=pair.weight,
        ),
        Labelled(
            prompt=pair.prompt,
            answer=pair.rejected,
            desirable=False,
            lineage=pair.lineage,
            weight=pair.weight,
        ),
    )


def list_of_pair(pair: Preference) -> Ranked:
    """A pair as a list of two, with the scores 1 and 0."""
    return Ranked(
        prompt=pair.prompt,
        answers=(pair.chosen, pair.rejected),
        scores=(1.0, 0.0),
        lineage=pair.lineage,
        weight=pair.weight,
    )


def labelled_of(found: AnswerSet, rule: PairRule) -> Taken[Labelled]:
    """Each answer with its label; one that breaks a rule is not wanted.

    Ratings are labels where ``rule.desirable_from`` says which are good. A place in an order is
    none: the best of bad answers is not one that is wanted.
    """
    kept: list[Labelled] = []
    dropped: list[Dropped] = []
    for place, one in enumerate(found.answers, start=1):
        reason = _why_not(one) or ("" if _has_label(found, rule) else "no_label")
        if reason:
            dropped.append(Dropped(record=said(found, one), reason=reason, detail=found.kind))
            continue
        assert one.score is not None
        good = one.score > 0 if found.kind == "labels" else one.score >= 0
        if found.kind == "scores":
            assert rule.desirable_from is not None
            good = one.score >= rule.desirable_from
        kept.append(
            Labelled(
                prompt=found.prompt,
                answer=one.turns,
                desirable=good,
                lineage=_lineage(found, one, f"answer={place}"),
                weight=found.weight,
            )
        )
    return Taken(kept=tuple(kept), dropped=tuple(dropped), left_out={})


def ranked_of(found: AnswerSet, rule: PairRule) -> Taken[Ranked]:
    """The answers to a prompt with their scores; of ranks, the negative rank.

    Ties and single answers stay: a model of ratings learns from them, and ``align`` removes them,
    with a count, where a method cannot.
    """
    usable = [one for one in found.answers if not _why_not(one)]
    reasons = [_why_not(one) for one in found.answers]
    left_out = {reason: reasons.count(reason) for reason in dict.fromkeys(reasons) if reason}
    if not usable:
        lost = Dropped(
            record=said(found, *found.answers),
            reason=next(iter(left_out), "no_answer"),
            detail=f"{len(found.answers)} answers, none of use",
        )
        return Taken(kept=(), dropped=(lost,), left_out=left_out)
    one = Ranked(
        prompt=found.prompt,
        answers=tuple(answer.turns for answer in usable),
        scores=tuple(float(answer.score or 0.0) for answer in usable),
        lineage=found.lineage,
        weight=found.weight,
    )
    return Taken(kept=(one,), left_out=left_out)


def all_labelled(
    sets: Iterable[AnswerSet], pairs: Iterable[Preference], rule: PairRule
) -> Iterator[Taken[Labelled]]:
    """The labelled answers of a source; rows of one prompt stay apart, as their labels do."""
    yield from (labelled_of(one, rule) for one in sets)
    yield from (Taken(kept=labels_of_pair(one), left_out={}) for one in pairs)


def all_ranked(
    sets: Iterable[AnswerSet], pairs: Iterable[Preference], rule: PairRule
) -> Iterator[Taken[Ranked]]:
    """The lists of a source; rows of one prompt are one list."""
    yield from (ranked_of(one, rule) for one in together(sets))
    yield from (Taken(kept=(list_of_pair(one),), left_out={}) for one in pairs)


ALL: Mapping[str, Callable[..., Iterator[Taken[Labelled]] | Iterator[Taken[Ranked]]]] = {
    "labelled": all_labelled,
    "ranked": all_ranked,
}
"""What makes records of a source's answers, by the name of the records."""


def _has_label(found: AnswerSet, rule: PairRule) -> bool:
    rated = found.kind == "scores" and rule.desirable_from is not None
    return rated or found.kind in ("labels", "rules")


def _why_not(one: Answer) -> str:
    if one.is_empty:
        return "empty_answer"
    return "answer_without_score" if one.score is None else ""


def _lineage(found: AnswerSet, one: Answer, variant: str) -> Lineage:
    broken = [f"breaks:{rule}" for rule in one.breaks]
    return replace(
        found.lineage,
        variant=";".join(part for part in (found.lineage.variant, variant) if part),
        generator=one.author or found.lineage.generator,
        verdicts=(*found.lineage.verdicts, *broken),
    )
