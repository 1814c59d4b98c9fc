"""lm-eval's results of several models as one block, with paired differences by document.

lm-eval gives each model a score and a standard error. Models that were asked the same documents
are compared document by document here, which resolves smaller differences than two scores with
their errors do (Miller 2024, arXiv 2411.00640, section 4). Each document is its own cluster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from regimen.evaluation.statistics import paired_difference
from regimen.evaluation.summaries import Pair, pair_name, paired_json

Results = Mapping[str, Any]


def lm_eval_tasks(
    results: Mapping[str, Results], pairs: Sequence[Pair], *, seeds: int = 1
) -> dict[str, Any]:
    """By task, group or tag: documents, and each metric by system, with its paired differences.

    Args:
        results: what ``lm_eval.simple_evaluate`` gave, by system, all for the same tasks.
        pairs: (a, b) for a minus b.
        seeds: training seeds behind the systems.

    Returns:
        ``{task: {"n", "metrics": {name: {"filter", "higher_is_better", "systems": {system:
        {"score", "stderr"}}, "paired": {pair: {...}}}}}}``. ``paired`` holds what can be compared
        by document: metrics whose score is the mean of a number of each document.
    """
    first = next(iter(results.values()))
    return {
        task: {
            "n": _documents(first, task),
            "metrics": {key: _metric(results, task, key, pairs, seeds) for key in _metrics(own)},
        }
        for task, own in first["results"].items()
    }


def _metrics(entry: Mapping[str, Any]) -> list[str]:
    """Keys of scores: ``acc,none``."""
    return [
        key
        for key, value in entry.items()
        if "," in key and "_stderr," not in key and isinstance(value, int | float)
    ]


def _documents(results: Results, task: str) -> int | None:
    counts = results.get("n-samples", {}).get(task)
    return None if counts is None else int(counts["effective"])


def _metric(
    results: Mapping[str, Results], task: str, key: str, pairs: Sequence[Pair], seeds: int
) -> dict[str, Any]:
    name, _, filter_ = key.partition(",")
    higher = next(iter(results.values())).get("higher_is_better", {}).get(task, {}).get(name)
    values = {system: _values(own, task, name, filter_) for system, own in results.items()}
    return {
        "filter": filter_,
        "higher_is_better": higher,
        "systems": {
            system: {
                "score": _number(own["results"][task][key]),
                "stderr": _number(own["results"][task].get(f"{name}_stderr,{filter_}")),
            }
            for system, own in results.items()
        },
        "paired": {
            pair_name((a, b)): _paired(values[a], values[b], higher, seeds)
            for a, b in pairs
            if values[a] and values[a].keys() == values[b].keys()
        },
    }


def _values(results: Results, task: str, name: str, filter_: str) -> dict[str, float]:
    """Each document's number; empty where their mean is not the score."""
    samples = results.get("samples", {}).get(task, ())
    found = {
        str(sample["doc_id"]): sample.get(name) for sample in samples if sample["filter"] == filter_
    }
    numbers = {key: float(v) for key, v in found.items() if isinstance(v, int | float | np.number)}
    score = _number(results["results"][task].get(f"{name},{filter_}"))
    if not found or len(numbers) < len(found) or score is None:
        return {}
    if not all(map(math.isfinite, numbers.values())):
        return {}
    mean = float(np.mean(list(numbers.values())))
    return numbers if math.isclose(mean, score, rel_tol=1e-6, abs_tol=1e-9) else {}


def _paired(
    a: Mapping[str, float], b: Mapping[str, float], higher: bool | None, seeds: int
) -> dict[str, Any]:
    shares = all(0 <= value <= 1 for value in (*a.values(), *b.values()))
    return paired_json(
        paired_difference(
            list(a.values()),
            [b[key] for key in a],
            list(a),
            bounds=(-1.0, 1.0) if shares else None,
            lower_is_better=higher is False,
            seeds=seeds,
        )
    )


def _number(value: Any) -> float | None:
    """A finite number, or None: lm-eval writes "N/A" where it has no error."""
    if not isinstance(value, int | float | np.number):
        return None
    return float(value) if math.isfinite(value) else None
