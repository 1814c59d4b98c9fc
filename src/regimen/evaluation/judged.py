"""The answers of an evaluation before a judge: blocks by suite and pair, and every verdict.

``judge`` of ``evaluation.json`` is ``{suite: {"tuned-base": block}}`` with the blocks of
:mod:`regimen.evaluation.win_rates`; ``judged_by`` says who judged, how, and how far that judge
agrees with people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from regimen.errors import EvaluationError, near
from regimen.evaluation.agreement import judge_against_people
from regimen.evaluation.bradley_terry import Contest, strengths
from regimen.evaluation.judgements import comparison_rows, rating_rows
from regimen.evaluation.length_control import instruction_difficulty
from regimen.evaluation.statistics import paired_difference
from regimen.evaluation.suites import cluster_of
from regimen.evaluation.summaries import Pair, pair_name, paired_json
from regimen.evaluation.win_rates import pair_summary, share
from regimen.judging.comparisons import (
    AnswerPair,
    Comparison,
    compare,
    compare_ratings,
    ratings,
)
from regimen.judging.judge import Judge
from regimen.judging.people import CATEGORIES, LabelledPairs
from regimen.judging.prompts import Turns
from regimen.records import Item

Given = Mapping[str, Sequence[Turns | None]]
"""By system, its answers to the items; None where it gave none."""

ENOUGH_FOR_DIFFICULTY = 2
"""Other systems against the same one, from which the difficulty of items is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How a judge is used: ``scale`` is that of its ratings, None where it compares pairs."""

    judge: Judge
    pairs: tuple[Pair, ...]
    scale: tuple[int, int] | None = None
    swap: bool = True
    seeds: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a judge said: blocks by suite and pair, strengths by suite, a row for each verdict."""

    blocks: Mapping[str, Mapping[str, Any]]
    strengths: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    rows: tuple[Mapping[str, Any], ...] = ()


def judged_items(items: Sequence[Item], suites: Sequence[str], limit: int | None) -> list[int]:
    """Positions of the items to judge: of the named suites, at most ``limit`` of each.

    Raises:
        EvaluationError: ``judge-suite``, for a suite that no item has.
    """
    by_suite: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        by_suite.setdefault(item.suite, []).append(place)
    for name in suites:
        if name not in by_suite:
            raise EvaluationError(
                "The judge is to judge a suite that was not evaluated.",
                slug="judge-suite",
                got=repr(name),
                expected="one of " + ", ".join(by_suite),
                fix=near(name, by_suite),
            )
    chosen: list[int] = []
    for name in suites or by_suite:
        own = by_suite[name]
        count = len(own) if limit is None else min(limit, len(own))
        chosen += [own[n * len(own) // count] for n in range(count)]
    return chosen


def judge_answers(how: Judging, items: Sequence[Item], given: Given) -> Judged:
    """Judge the systems' answers to items of any number of suites.

    Args:
        how: the judge, and the pairs of systems.
        items: with distinct ids.
        given: answers of every system, aligned with the items.

    Raises:
        EvaluationError: ``judge-system``, for a system that did not answer;
            ``nothing-judged``, where no verdict could be read at all.
    """
    for name in dict.fromkeys(name for pair in how.pairs for name in pair):
        if name not in given:
            raise EvaluationError(
                "The judge is to compare a system that was not evaluated.",
                slug="judge-system",
                got=repr(name),
                expected="one of " + ", ".join(given),
                fix=near(name, given),
            )
    asked = [
        AnswerPair(item=item, systems=pair, a=given[pair[0]][n], b=given[pair[1]][n])
        for pair in how.pairs
        for n, item in enumerate(items)
    ]
    found, rows = _compared(how, asked)
    _require_verdicts(how.judge.name, found)
    by_suite: dict[str, dict[Pair, list[Comparison]]] = {}
    for one in found:
        by_suite.setdefault(one.item.suite, {}).setdefault(one.systems, []).append(one)
    return Judged(
        blocks={suite: _blocks(how, own) for suite, own in by_suite.items()},
        strengths={s: block for s, own in by_suite.items() if (block := _strengths(own))},
        rows=rows,
    )


def _compared(
    how: Judging, asked: Sequence[AnswerPair]
) -> tuple[tuple[Comparison, ...], tuple[Mapping[str, Any], ...]]:
    """The comparison of every pair, and a row for each verdict; an answer is rated once."""
    name = how.judge.name
    if how.scale is None:
        found = compare(how.judge, asked, swap=how.swap)
        return found, tuple(row for one in found for row in comparison_rows(one, name))
    answers = {
        (pair.item.item_id, turns): (pair.item, turns)
        for pair in asked
        for turns in (pair.a, pair.b)
    }
    rated = dict(zip(answers, ratings(how.judge, list(answers.values())), strict=True))
    found = tuple(
        compare_ratings(pair, rated[pair.item.item_id, pair.a], rated[pair.item.item_id, pair.b])
        for pair in asked
    )
    return found, tuple(rating_rows(asked, rated, name))


def _require_verdicts(judge: str, found: Sequence[Comparison]) -> None:
    """Raise where a judge said nothing that could be read: no win rate would mean anything."""
    asked = [one for one in found if not one.decided]
    if asked and all(one.value is None for one in asked):
        raise EvaluationError(
            f"Judge {judge!r} gave no verdict on any of {len(asked)} comparisons.",
            slug="nothing-judged",
            got=asked[0].error,
            expected="a verdict on at least one comparison",
            fix="Read the first error above; it is the judge's own. Longer answers need more of "
            "judge.generator.max_new_tokens.",
        )


def _blocks(how: Judging, own: Mapping[Pair, Sequence[Comparison]]) -> dict[str, Any]:
    """The block of every pair on one suite."""
    blocks: dict[str, Any] = {}
    for pair, comparisons in own.items():
        difficulty = _difficulty(pair, own)
        block = pair_summary(comparisons, seeds=how.seeds, difficulty=difficulty)
        block["length_controlled"]["difficulty"] = difficulty is not None
        if how.scale is not None:
            block["ratings"] = _ratings(comparisons, how.scale, how.seeds)
        blocks[pair_name(pair)] = block
    return blocks


def _difficulty(pair: Pair, own: Mapping[Pair, Sequence[Comparison]]) -> dict[str, float] | None:
    """Difficulty of the items from the other systems that were compared with the same one."""
    others = {
        a: {one.item.item_id: share(one.value) for one in found if one.value is not None}
        for (a, b), found in own.items()
        if b == pair[1] and a != pair[0]
    }
    return instruction_difficulty(others) if len(others) >= ENOUGH_FOR_DIFFICULTY else None


def _ratings(
    comparisons: Sequence[Comparison], scale: tuple[int, int], seeds: int
) -> dict[str, Any]:
    """Mean ratings, and their paired difference as a share of the scale's width."""
    low, high = scale
    values = [(*one.ratings, cluster_of(one.item)) for one in comparisons if one.ratings]
    if not values:
        return {}
    a_N, b_N = (np.asarray([row[side] for row in values]) for side in (0, 1))
    difference = paired_difference(
        (a_N - low) / (high - low),
        (b_N - low) / (high - low),
        [cluster for _, _, cluster in values],
        bounds=(-1.0, 1.0),
        seeds=seeds,
    )
    means = zip(comparisons[0].systems, (a_N, b_N), strict=True)
    return {
        "scale": list(scale),
        "means": {name: float(mean_N.mean()) for name, mean_N in means},
        "paired": paired_json(difference),
    }


def _strengths(own: Mapping[Pair, Sequence[Comparison]]) -> dict[str, Any]:
    """Bradley-Terry strengths where more than two systems were compared; else empty."""
    contests = [
        Contest(
            a=one.systems[0], b=one.systems[1], win=share(one.value), cluster=cluster_of(one.item)
        )
        for found in own.values()
        for one in found
        if one.value is not None
    ]
    if len({name for contest in contests for name in (contest.a, contest.b)}) < 3:
        return {}
    return {
        name: {"strength": found.estimate, "low": found.low, "high": found.high}
        for name, found in strengths(contests).items()
    }


def people_block(how: Judging, labelled: LabelledPairs) -> dict[str, Any]:
    """Agreement of the judge with people on their own pairs, as ``judged_by.people`` holds it.

    Raises:
        EvaluationError: ``nothing-judged``.
    """
    found, _ = _compared(how, labelled.pairs)
    _require_verdicts(how.judge.name, found)
    said = [None if one.value is None else int(one.value) for one in found]
    block = judge_against_people(said, labelled.raters, CATEGORIES, labelled.clusters)
    return {**block, "pairs": len(found), "unusable_rows": len(labelled.failures)}
