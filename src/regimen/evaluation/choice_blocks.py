"""Choices of many items under many systems: the ``choices`` and ``calibration`` JSON blocks.

Nothing is dropped: an item whose choices cannot be ranked for any system is counted by its reason,
one that a system could not be asked counts 0 for that system and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regimen.errors import EvaluationError
from regimen.evaluation.calibration import BINS, Graded, fit_temperature
from regimen.evaluation.calibration_blocks import choice_calibration
from regimen.evaluation.choices import (
    PREMISE,
    RANKINGS,
    ChoiceLogps,
    Choices,
    choice_logps,
    choices_of,
    credit,
    premise_logps,
)
from regimen.evaluation.statistics import clustered_rate, paired_difference
from regimen.evaluation.suites import by_suite, cluster_of
from regimen.evaluation.summaries import Pair, default_pairs, pair_name, paired_json, rate_json
from regimen.protocols import Alternatives, Likelihoods
from regimen.records import Item

Found = Mapping[str, tuple[ChoiceLogps | str, ...]]


@dataclass(frozen=True, slots=True)
class ChoiceSystem:
    """What says how likely answers are, and how it is asked for the choices of an item."""

    likelihoods: Likelihoods
    ask: Callable[[Item, Choices], Alternatives]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceResult:
    """JSON blocks by suite, and one row (:data:`ROW_COLUMNS`) per choice and system."""

    suites: Mapping[str, Any]
    calibration: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]


ROW_COLUMNS = (
    *("suite", "item_id", "system", "place", "choice", "answer", "right"),
    *("logp", "premise_logp", "tokens", "error"),
)


def evaluate_choices(
    items: Iterable[Item],
    systems: Mapping[str, ChoiceSystem],
    *,
    validation: Iterable[Item] = (),
    premise: str = PREMISE,
    bins: int = BINS,
    pairs: Sequence[Pair] | None = None,
    seeds: int = 1,
    advance: Callable[[int], None] | None = None,
) -> ChoiceResult:
    """Rank the choices of every item that has some, by system.

    Args:
        items: of any number of suites; those without choices are not looked at.
        systems: by name, as in the rest of the evaluation.
        validation: items on which each system's temperature is fitted.
        premise: what the choices are given to for ``choice_pmi``.
        bins: of the reliability table, at most.
        pairs: (a, b) for a minus b; :func:`~regimen.evaluation.summaries.default_pairs` without.
        seeds: training seeds behind the systems.
        advance: called with 1 for each item and system.

    Raises:
        EvaluationError: of :func:`~regimen.evaluation.choices.choices_of`, where no item of a
            suite can be ranked.
    """
    kept, refused = _kept(items)
    tuning, _ = _kept(validation, strict=False)
    everything = [one for suite in (*kept.values(), *tuning.values()) for one in suite]
    found = {name: _measure(s, everything, premise, advance) for name, s in systems.items()}
    compared = default_pairs(list(systems)) if pairs is None else tuple(pairs)
    blocks: dict[str, Any] = {}
    calibrated: dict[str, Any] = {}
    rows: list[Mapping[str, Any]] = []
    start = 0
    count = sum(map(len, kept.values()))
    temperatures = {
        name: fit_temperature([one for _, one in _graded(everything[count:], own[count:])])
        for name, own in found.items()
    }
    for suite, own_items in kept.items():
        end = start + len(own_items)
        own = {name: each[start:end] for name, each in found.items()}
        blocks[suite] = _block(own_items, own, refused[suite], compared, seeds)
        calibrated[suite] = {
            name: choice_calibration(_graded(own_items, own[name]), temperatures[name], bins=bins)
            for name in own
        }
        rows += [row for name in own for row in _rows(suite, name, own_items, own[name])]
        start = end
    return ChoiceResult(suites=blocks, calibration=calibrated, rows=tuple(rows))


Kept = list[tuple[Item, Choices]]


def _kept(
    items: Iterable[Item], *, strict: bool = True
) -> tuple[dict[str, Kept], dict[str, Counter[str]]]:
    """The items that can be ranked by suite, and why others cannot."""
    with_choices = [item for item in items if item.choices]
    kept: dict[str, Kept] = {}
    refused: dict[str, Counter[str]] = {}
    for name, suite in by_suite(with_choices).items() if with_choices else ():
        kept[name], refused[name] = [], Counter()
        first: EvaluationError | None = None
        for item in suite.items:
            try:
                kept[name].append((item, choices_of(item)))
            except EvaluationError as error:
                refused[name][error.slug] += 1
                first = first or error
        if strict and first is not None and not kept[name]:
            raise first
    return kept, refused


def _measure(
    system: ChoiceSystem,
    items: Kept,
    premise: str,
    advance: Callable[[int], None] | None,
) -> tuple[ChoiceLogps | str, ...]:
    """What one system says of the choices of each item, in order."""
    asked = [system.ask(item, choices) for item, choices in items]
    # ids are places: a validation item may ask what an item of a suite asks
    numbered = [
        Alternatives(id=str(n), answers=one.answers, messages=one.messages, text=one.text)
        for n, one in enumerate(asked)
    ]
    found = {}
    for key, logps in system.likelihoods.answer_logps(numbered):
        found[key] = logps
        if advance is not None:
            advance(1)
    before = premise_logps(system.likelihoods, asked, premise)
    return tuple(
        choice_logps(choices, one, found[one.id], before)
        for (_, choices), one in zip(items, numbered, strict=True)
    )


def _graded(items: Kept, found: Sequence[ChoiceLogps | str]) -> list[tuple[str, Graded]]:
    """Cluster, scores and right choices of each item for which something was found."""
    return [
        (cluster_of(item), Graded(score_C=each.logp_C, right=choices.right))
        for (item, choices), each in zip(items, found, strict=True)
        if not isinstance(each, str)
    ]


def _block(
    items: Kept, found: Found, refused: Counter[str], pairs: Sequence[Pair], seeds: int
) -> dict[str, Any]:
    """Accuracy by metric and system, and the pairs."""
    clusters = [cluster_of(item) for item, _ in items]
    credits = {
        metric: {
            name: np.asarray(
                [
                    0.0 if isinstance(each, str) else credit(score(each), choices.right)
                    for (_, choices), each in zip(items, own, strict=True)
                ]
            )
            for name, own in found.items()
        }
        for metric, score in RANKINGS.items()
    }
    return {
        "items": len(items),
        "clusters": len(set(clusters)),
        "refused": dict(refused),
        "chance": float(np.mean([np.mean(choices.right) for _, choices in items])),
        "systems": {
            name: {
                **{m: rate_json(clustered_rate(by[name], clusters)) for m, by in credits.items()},
                "failed": sum(isinstance(each, str) for each in own),
            }
            for name, own in found.items()
        },
        "paired": {
            pair_name((a, b)): {
                metric: paired_json(
                    paired_difference(by[a], by[b], clusters, bounds=(-1.0, 1.0), seeds=seeds)
                )
                for metric, by in credits.items()
            }
            for a, b in pairs
        },
    }


def _rows(
    suite: str, system: str, items: Kept, found: Sequence[ChoiceLogps | str]
) -> Iterable[Mapping[str, Any]]:
    """One row per choice, in the order of :data:`ROW_COLUMNS`."""
    for (item, choices), each in zip(items, found, strict=True):
        for place, text in enumerate(choices.texts):
            numbers = (
                (None, None, None, each)
                if isinstance(each, str)
                else (
                    float(each.logp_C[place]),
                    float(each.premise_C[place]),
                    int(each.tokens_C[place]),
                    "",
                )
            )
            own = (suite, item.item_id, system, place, text, choices.answers[place])
            yield dict(zip(ROW_COLUMNS, (*own, choices.right[place], *numbers), strict=True))
