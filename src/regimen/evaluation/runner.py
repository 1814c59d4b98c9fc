"""``evaluate``: ask every system every item, check that anything changed, score, compare.

Nothing is dropped: a request that failed scores 0 with its error in its row, a scorer that could
not read an answer is counted, repeated items are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regimen.errors import EvaluationError
from regimen.evaluation.answers import AnswerRow, answer_row
from regimen.evaluation.changes import Change, changed
from regimen.evaluation.metrics import Metrics, require_fields
from regimen.evaluation.suites import SuiteItems, by_suite
from regimen.evaluation.summaries import Pair, SuiteScores, default_pairs, suite_block
from regimen.evaluation.systems import Answer, System, answer_all, scored
from regimen.protocols import Scorer
from regimen.records import SCHEMA_VERSION, Item

Answers = dict[str, tuple[Answer, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """What ``evaluate`` found: JSON blocks and the row of every answer.

    ``answers[system]`` is aligned with ``items``, which are the items of all suites, each once.
    """

    suites: Mapping[str, Any]
    rows: tuple[AnswerRow, ...]
    items: tuple[Item, ...]
    answers: Mapping[str, tuple[Answer, ...]]
    changed: Mapping[str, Any] | None = None

    def to_json(self, retention: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The object of ``evaluation.json``; ``changed`` comes first."""
        return {
            "schema_version": SCHEMA_VERSION,
            "changed": dict(self.changed or {}),
            "suites": dict(self.suites),
            "retention": dict(retention or {}),
        }


def evaluate(
    items: Iterable[Item],
    systems: Mapping[str, System],
    metrics: Metrics,
    *,
    suite_metrics: Mapping[str, Metrics] | None = None,
    change: Change | None = None,
    pairs: Sequence[Pair] | None = None,
    seeds: int = 1,
    advance: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Ask, score and compare systems on the items of one or more suites.

    Args:
        items: of any number of suites; they are reported apart.
        systems: by name; ``base``, ``base_prompted``, ``copy_input`` and ``copy_demonstration``
            are the baselines that every other system is compared with.
        metrics: what answers are scored by.
        suite_metrics: of the suites, by name, that are scored by other metrics.
        change: what was measured on the weights; with it, its two systems are asked first and
            nothing else happens unless something changed.
        pairs: (a, b) for a minus b; :func:`default_pairs` without it.
        seeds: training seeds behind the systems, recorded with each verdict.
        advance: called with 1 for each answer, ``len(systems) * items`` times at most.

    Raises:
        EvaluationError: ``no-items``, ``item-without-reference`` and its kin,
            ``nothing-changed``, ``change-not-finite``, ``nothing-answered``, ``scorer-failed``.
        ValueError: an unknown system or pair.
    """
    _check_names(systems, change, pairs)
    suites = by_suite(items)
    own_metrics = {name: (suite_metrics or {}).get(name, metrics) for name in suites}
    for name, suite in suites.items():
        require_fields(suite.items, own_metrics[name])
    everything = [item for suite in suites.values() for item in suite.items]
    answers, block = _ask(systems, everything, change, advance)
    compared = default_pairs(list(systems)) if pairs is None else tuple(pairs)
    generating = frozenset(name for name, system in systems.items() if system.generates)
    blocks: dict[str, Any] = {}
    rows: list[AnswerRow] = []
    start = 0
    for name, suite in suites.items():
        end = start + len(suite.items)
        own = {system: given[start:end] for system, given in answers.items()}
        scores, own_rows = _score(suite, own, own_metrics[name], generating)
        blocks[name] = suite_block(scores, compared, seeds=seeds)
        rows += own_rows
        start = end
    return EvaluationResult(
        suites=blocks,
        rows=tuple(rows),
        items=tuple(everything),
        answers=answers,
        changed=block,
    )


def _check_names(
    systems: Mapping[str, System],
    change: Change | None,
    pairs: Sequence[Pair] | None,
) -> None:
    """Programming errors, before anything is asked."""
    named = {name for pair in pairs or () for name in pair}
    named |= {change.before, change.after} if change else set()
    if not named <= systems.keys() or not systems:
        raise ValueError(f"systems {sorted(systems)} lack {sorted(named - systems.keys())}")


def _ask(
    systems: Mapping[str, System],
    items: Sequence[Item],
    change: Change | None,
    advance: Callable[[int], None] | None,
) -> tuple[Answers, dict[str, int | float] | None]:
    """Every system's answers in the order of ``systems``, and the ``changed`` block."""
    if change is None:
        return answer_all(systems, items, advance), None
    first = {name: systems[name] for name in (change.before, change.after)}
    answers = answer_all(first, items, advance)
    before, after = (
        {item.item_id: answer.text for item, answer in zip(items, answers[name], strict=True)}
        for name in (change.before, change.after)
    )
    block = changed(before, after, change.adapter_tensors, change.mean_abs_delta_logp)
    rest = {name: system for name, system in systems.items() if name not in answers}
    answers |= answer_all(rest, items, advance)
    return {name: answers[name] for name in systems}, block


def _score(
    suite: SuiteItems,
    answers: Answers,
    metrics: Metrics,
    generating: frozenset[str],
) -> tuple[SuiteScores, list[AnswerRow]]:
    """Scores and rows of one suite."""
    values = {
        metric: {system: np.zeros(len(suite.items)) for system in answers}
        for metric in metrics.scorers
    }
    faults: Counter[tuple[str, str]] = Counter()
    rows: list[AnswerRow] = []
    for system, given in answers.items():
        for position, (item, answer) in enumerate(zip(suite.items, given, strict=True)):
            marks, errors = _marks(metrics.scorers, answer, item)
            for metric, mark in marks.items():
                values[metric][system][position] = mark
            faults.update((system, metric) for metric in errors)
            row = answer_row(
                item,
                system,
                answer,
                metric=metrics.primary,
                score=marks.pop(metrics.primary, None),
                metrics=marks,
                error="; ".join(errors.values()),
            )
            rows.append(row)
    _require_scores(suite.name, rows, metrics.scorers, faults)
    scores = SuiteScores(
        items=suite.items,
        duplicates=suite.duplicates,
        answers=answers,
        values=values,
        faults={
            system: sum(faults[system, metric] for metric in metrics.scorers) for system in answers
        },
        generating=generating,
        metrics=metrics,
    )
    return scores, rows


def _marks(
    scorers: Mapping[str, Scorer], answer: Answer, item: Item
) -> tuple[dict[str, float], dict[str, str]]:
    """Each metric's score of one answer, and the errors of the scorers that gave none."""
    marks: dict[str, float] = {}
    errors: dict[str, str] = {}
    for metric, scorer in scorers.items():
        marks[metric], error = scored(scorer, answer, item)
        if error:
            errors[metric] = f"scorer {metric}: {error}"
    return marks, errors


def _require_scores(
    suite: str,
    rows: Sequence[AnswerRow],
    scorers: Mapping[str, Scorer],
    faults: Counter[tuple[str, str]],
) -> None:
    """Raise where a scorer could read no answer at all: its zeros would mean nothing."""
    answered = [row for row in rows if row.finish != "error"]
    for metric in scorers:
        failed = sum(count for (_, name), count in faults.items() if name == metric)
        if answered and failed == len(answered):
            raise EvaluationError(
                f"Scorer {metric!r} failed on all {failed} answers of suite {suite!r}.",
                slug="scorer-failed",
                got=answered[0].error,
                expected="a number in 0..1 for an answer and its item",
                fix="Try the scorer on one answer alone: scorer(answer, item).",
            )
