"""The ``calibration`` blocks of ``evaluation.json``: of choices, and of generated answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from regimen.evaluation.calibration import (
    BINS,
    Graded,
    Temperature,
    answer_confidence,
    auroc,
    brier,
    calibration_error,
    nll,
    probabilities,
    reliability,
)
from regimen.evaluation.choices import credit
from regimen.evaluation.statistics import Interval, clustered_mean
from regimen.evaluation.systems import Answer


def choice_calibration(
    items: Sequence[tuple[str, Graded]],
    temperature: Temperature | None = None,
    *,
    bins: int = BINS,
) -> dict[str, Any] | None:
    """Calibration of one system's choices; None without items.

    Args:
        items: the cluster of each item, with its choices' scores.
        temperature: fitted on validation items; ``scaled`` has the same numbers under it.
        bins: of the reliability table, at most.
    """
    if not items:
        return None
    clusters, graded = [cluster for cluster, _ in items], [one for _, one in items]
    block = _calibration(graded, clusters, 1.0, bins)
    block["temperature"], block["scaled"] = None, None
    if temperature is not None:
        block["temperature"] = {
            "value": temperature.value,
            "items": temperature.items,
            "at_bound": temperature.at_bound,
        }
        block["scaled"] = _calibration(graded, clusters, temperature.value, bins)
    return block


def _calibration(
    graded: Sequence[Graded], clusters: Sequence[str], temperature: float, bins: int
) -> dict[str, Any]:
    p = [probabilities(one.score_C, temperature) for one in graded]
    confidence = [min(1.0, float(each.max())) for each in p]
    correct = [credit(one.score_C, one.right) for one in graded]
    briers = [brier(each, one.right) for each, one in zip(p, graded, strict=True)]
    losses = [nll(one, temperature) for one in graded]
    return {
        **_confidence(confidence, correct, clusters, bins),
        "brier": _estimate(clustered_mean(briers, clusters, bounds=(0.0, 2.0))),
        "nll": _estimate(clustered_mean(losses, clusters)),
    }


def answer_calibration(
    answers: Sequence[Answer],
    right: Sequence[bool],
    clusters: Sequence[str],
    *,
    bins: int = BINS,
) -> dict[str, Any] | None:
    """How well the likelihood of a system's own answers tells right from wrong.

    Answers without a log-probability (failed requests, baselines, endpoints that give none) are
    left out and counted; None where no answer has one.
    """
    known = [n for n, answer in enumerate(answers) if answer.logp is not None and not answer.error]
    if not known:
        return None
    confidence = []
    for n in known:
        answer = answers[n]
        assert answer.logp is not None
        # the log-probability counts the id that stopped the answer, the tokens do not
        tokens = answer.tokens + (answer.finish == "stop")
        confidence.append(answer_confidence(answer.logp, tokens))
    own, correct = [clusters[n] for n in known], [bool(right[n]) for n in known]
    area = auroc(confidence, correct, own)
    return {
        **_confidence(confidence, [float(one) for one in correct], own, bins),
        "without": len(answers) - len(known),
        "auroc": None if area is None else _estimate(area),
    }


def _confidence(
    confidence: Sequence[float], correct: Sequence[float], clusters: Sequence[str], bins: int
) -> dict[str, Any]:
    """What confidence and correctness say together."""
    error = calibration_error(confidence, correct, clusters, bins=bins)
    return {
        "items": len(confidence),
        "confidence": float(np.mean(confidence)),
        "accuracy": float(np.mean(correct)),
        "ece": error.ece,
        "rms": {"estimate": error.rms, "low": error.low, "high": error.high},
        "reliability": [
            {
                "items": one.items,
                "confidence": one.confidence,
                "accuracy": one.accuracy.estimate,
                "low": one.accuracy.low,
                "high": one.accuracy.high,
            }
            for one in reliability(confidence, correct, clusters, bins=bins)
        ],
    }


def _estimate(interval: Interval) -> dict[str, float | None]:
    return {"estimate": interval.estimate, "low": interval.low, "high": interval.high}
