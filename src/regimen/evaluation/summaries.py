"""Arrays of scores to the JSON blocks of ``evaluation.json``.

Shape suffix: N items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from regimen.evaluation.changes import bucket_counts
from regimen.evaluation.comparisons import adjusted_cells, adjusted_pairs
from regimen.evaluation.metrics import Metrics
from regimen.evaluation.ratios import Floats
from regimen.evaluation.statistics import Interval, Paired, clustered_rate, paired_difference
from regimen.evaluation.suites import cluster_of
from regimen.evaluation.systems import Answer
from regimen.judging.translation import CORPUS_METRICS, corpus_scores
from regimen.records import Item

Pair = tuple[str, str]

# What every other system is compared with.
BASELINES = ("base", "base_prompted", "copy_input", "copy_demonstration")
# An aligned model is besides compared with what it was aligned from.
ALIGNED, TUNED, BASE = "aligned", "tuned", "base"

# How a suite is split; items without the property are shown as such, not dropped.
BREAKDOWNS: Mapping[str, Callable[[Item], str]] = {
    "by_family": lambda item: item.lineage.family,
    "by_category": lambda item: item.lineage.category,
    "by_language": lambda item: item.lineage.language,
}
UNNAMED = "unnamed"

NO_SCORE: Mapping[str, float | None] = {"score": None, "low": None, "high": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteScores:
    """The scores of every system on the items of one suite.

    ``values[metric][system]`` is an array over the items; ``faults[system]`` the number of scores
    that a scorer could not give. ``generating`` names the systems that generate their answers.
    Metrics that do not score leave ``values`` empty.
    """

    items: tuple[Item, ...]
    duplicates: int
    answers: Mapping[str, tuple[Answer, ...]]
    values: Mapping[str, Mapping[str, Floats]]
    faults: Mapping[str, int]
    generating: frozenset[str]
    metrics: Metrics


def default_pairs(systems: Sequence[str]) -> tuple[Pair, ...]:
    """Every tuned system against each baseline that was run, and aligned against tuned."""
    tuned = [name for name in systems if name not in BASELINES]
    pairs = [(name, baseline) for name in tuned for baseline in BASELINES if baseline in systems]
    if ALIGNED in tuned and TUNED in tuned:
        pairs.append((ALIGNED, TUNED))
    return tuple(pairs)


def pair_name(pair: Pair) -> str:
    """``tuned-base``: the first minus the second."""
    return f"{pair[0]}-{pair[1]}"


def suite_block(scores: SuiteScores, pairs: Sequence[Pair], *, seeds: int) -> dict[str, Any]:
    """The block of one suite: systems, pairs, buckets and the breakdowns."""
    everything = np.arange(len(scores.items))
    block = cell(scores, everything, pairs, seeds=seeds)
    for name, entry in block["systems"].items():
        entry.update(_conduct(scores, name))
    corpus = _corpus(scores)
    return {
        "items": block["items"],
        "clusters": block["clusters"],
        "duplicates": scores.duplicates,
        "metric": scores.metrics.primary or None,
        "right_at": scores.metrics.right_at,
        "systems": block["systems"],
        **({"corpus": corpus} if corpus else {}),
        "paired": adjusted_pairs(block["paired"], {pair_name(pair): pair[1] for pair in pairs}),
        "buckets": _buckets(scores, pairs),
        **{
            title: _breakdown(scores, property_of, pairs, seeds=seeds)
            for title, property_of in BREAKDOWNS.items()
        },
    }


def cell(
    scores: SuiteScores, index_N: np.ndarray[Any, Any], pairs: Sequence[Pair], *, seeds: int
) -> dict[str, Any]:
    """Items, clusters, systems and pairs over a subset of a suite's items."""
    clusters = [cluster_of(scores.items[i]) for i in index_N]
    if not scores.metrics.scored:
        unscored = {name: dict(NO_SCORE) for name in scores.answers}
        return _cell(index_N, clusters, unscored, {})
    primary = scores.values[scores.metrics.primary]
    others = {name: by for name, by in scores.values.items() if name != scores.metrics.primary}
    systems = {
        name: {
            **rate_json(clustered_rate(values[index_N], clusters)),
            **{other: float(by[name][index_N].mean()) for other, by in others.items()},
        }
        for name, values in primary.items()
    }
    paired = {
        pair_name((a, b)): paired_json(
            paired_difference(
                primary[a][index_N],
                primary[b][index_N],
                clusters,
                bounds=(-1.0, 1.0),
                seeds=seeds,
            )
        )
        for a, b in pairs
    }
    return _cell(index_N, clusters, systems, paired)


def _corpus(scores: SuiteScores) -> dict[str, Any]:
    """``{metric: {system: {tokenizer: {"score", "signature"}}}}`` of BLEU and chrF, where asked."""
    texts = {name: [one.text for one in given] for name, given in scores.answers.items()}
    return {
        metric: {
            system: {
                tokenizer: asdict(found)
                for tokenizer, found in corpus_scores(metric, scores.items, own).items()
            }
            for system, own in texts.items()
        }
        for metric in CORPUS_METRICS
        if metric in scores.metrics.scorers
    }


def _cell(
    index_N: np.ndarray[Any, Any],
    clusters: Sequence[str],
    systems: Mapping[str, Any],
    paired: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "items": len(index_N),
        "clusters": len(set(clusters)),
        "systems": systems,
        "paired": paired,
    }


def rate_json(interval: Interval) -> dict[str, float | None]:
    """``score``, ``low``, ``high``; the last two are null with a single cluster."""
    return {"score": interval.estimate, "low": interval.low, "high": interval.high}


def paired_json(paired: Paired) -> dict[str, Any]:
    """A paired difference as evaluation.json holds it."""
    return {
        "difference": paired.difference,
        "low": paired.low,
        "high": paired.high,
        "verdict": paired.verdict,
        "n": paired.n,
        "clusters": paired.clusters,
        "seeds": paired.seeds,
        "resolvable": paired.resolvable,
        "p": paired.p,
    }


def _conduct(scores: SuiteScores, system: str) -> dict[str, Any]:
    """How a system behaved besides its scores: failures, empty answers, how answers ended."""
    answers = scores.answers[system]
    counts: dict[str, Any] = {
        "failed": sum(bool(answer.error) for answer in answers),
        "empty": sum(not answer.error and not answer.text.strip() for answer in answers),
        "scorer_errors": scores.faults[system],
    }
    if system in scores.generating:
        ended = Counter(answer.finish for answer in answers)
        stops = clustered_rate(
            [float(answer.finish == "stop") for answer in answers],
            [cluster_of(item) for item in scores.items],
        )
        counts["stop_rate"] = stops.estimate
        counts["stop_low"], counts["stop_high"] = stops.low, stops.high
        counts["finish"] = {reason: ended[reason] for reason in ("stop", "length", "error")}
    return counts


def _buckets(scores: SuiteScores, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The four buckets for every pair whose second system is a model: base, or tuned."""
    if not scores.metrics.scored:
        return {}
    primary = scores.values[scores.metrics.primary]
    return {
        pair_name((after, before)): bucket_counts(
            primary[before].tolist(), primary[after].tolist(), right_at=scores.metrics.right_at
        )
        for after, before in pairs
        if before in (BASE, TUNED)
    }


def _breakdown(
    scores: SuiteScores,
    property_of: Callable[[Item], str],
    pairs: Sequence[Pair],
    *,
    seeds: int,
) -> dict[str, Any]:
    """One cell per value of a property, in order of name."""
    groups: dict[str, list[int]] = {}
    for position, item in enumerate(scores.items):
        groups.setdefault(property_of(item) or UNNAMED, []).append(position)
    cells = {
        name: cell(scores, np.asarray(groups[name]), pairs, seeds=seeds) for name in sorted(groups)
    }
    return adjusted_cells(cells)
