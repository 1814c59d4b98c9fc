"""What a reward model is worth on held-out prompts: measured, written, shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np

from regimen import console
from regimen.alignment.reward_rows import RewardRow
from regimen.alignment.reward_spec import RewardSpec
from regimen.evaluation.rewards import (
    ensemble_quality,
    label_quality,
    length_bias,
    level_quality,
    pair_quality,
)
from regimen.models.forward import LanguageModel
from regimen.reports.reliability import reliability_svg
from regimen.runs import Run
from regimen.tokens.store import token_rows
from regimen.training.measure import measured_scores

FILE, PICTURE = "rewards.json", "calibration.svg"

Scored = Sequence[tuple[RewardRow, "np.ndarray[Any, np.dtype[np.float64]]"]]
"""Rows with the scores of their marks, by member: (marks, M)."""


def measure(
    model: LanguageModel,
    spec: RewardSpec,
    rows: Sequence[RewardRow],
    *,
    tokens_per_batch: int,
    bf16: bool,
) -> dict[str, Any]:
    """What ``rewards.json`` holds, and its ``summary``; without rows it says that there are none.

    Each dimension is measured on the rows that judge it; of an ensemble, the mean of its members.
    """
    told = {"method": spec.method, "rows": len(rows), "prompts": len({r.prompt for r in rows})}
    if not rows:
        return {**told, "dimensions": {}, "summary": told}
    flat = replace(token_rows(row.rendered for row in rows), scored=True)
    scores = measured_scores(model, flat, tokens_per_batch=tokens_per_batch, bf16=bf16)
    apart = [spec.apart(one.double()).numpy() for one in scores]
    found = {}
    for number, name in enumerate(spec.dimensions):
        own = [
            (row, one[:, number])
            for row, one in zip(rows, apart, strict=True)
            if name in row.dimensions
        ]
        if own:
            found[name] = _QUALITY[spec.method](own, spec)
    accuracies = {name: one["accuracy"] for name, one in found.items()}
    return {**told, "dimensions": found, "summary": {**told, "accuracy": accuracies}}


def _pairs(rows: Scored, _spec: RewardSpec) -> dict[str, Any]:
    """Of comparisons: every two answers of a row of which one is the better."""
    differences, longer, prompts = [], [], []
    for row, score_AM in rows:
        for better, worse in permutations(range(len(row.values)), 2):
            if row.values[better] > row.values[worse]:
                differences.append(score_AM[better] - score_AM[worse])
                longer.append(row.lengths[better] - row.lengths[worse])
                prompts.append(row.prompt)
    difference_NM = np.stack(differences)
    found = pair_quality(difference_NM.mean(1), np.asarray(longer), prompts)
    if difference_NM.shape[1] > 1:
        found["ensemble"] = ensemble_quality(difference_NM, prompts)
    return {"pairs": len(prompts), **found, "length": _length(rows)}


def _steps(rows: Scored, _spec: RewardSpec) -> dict[str, Any]:
    """Of single steps."""
    score_N = np.concatenate([score.mean(1) for _, score in rows])
    label_N = np.concatenate([np.asarray(row.values) for row, _ in rows])
    prompts = [row.prompt for row, _ in rows for _ in row.values]
    return {"steps": len(prompts), **label_quality(score_N, label_N, prompts)}


def _levels(rows: Scored, spec: RewardSpec) -> dict[str, Any]:
    """Of levels and, of answers to one prompt on different levels, of pairs."""
    score_N = np.concatenate([score.mean(1) for _, score in rows])
    level_N = np.concatenate([np.asarray(row.values) for row, _ in rows])
    prompts = [row.prompt for row, _ in rows for _ in row.values]
    found = level_quality(score_N, level_N, np.asarray(spec.borders), prompts)
    pairs = _pairs(rows, spec) if any(len(set(row.values)) > 1 for row, _ in rows) else None
    told = None if pairs is None else {"pairs": pairs["pairs"], "accuracy": pairs["accuracy"]}
    return {"answers": len(prompts), **found, "comparisons": told, "length": _length(rows)}


def _length(rows: Scored) -> dict[str, Any] | None:
    score_A = np.concatenate([score.mean(1) for _, score in rows])
    length_A = np.asarray([n for row, _ in rows for n in row.lengths], dtype=np.float64)
    return length_bias(score_A, length_A, [row.prompt for row, _ in rows for _ in row.lengths])


_QUALITY = {"reward": _pairs, "reward_ordinal": _levels, "reward_process": _steps}


def write_quality(run: Run, quality: Mapping[str, Any]) -> None:
    """``rewards.json``, and the picture of the calibration where something was measured."""
    run.write_json(FILE, {name: part for name, part in quality.items() if name != "summary"})
    panels = {name: one["calibration"] for name, one in quality["dimensions"].items()}
    if panels:
        run.path(PICTURE).write_text(reliability_svg(panels), encoding="utf-8")


def show(quality: Mapping[str, Any]) -> None:
    """The table on the console."""
    if not quality["dimensions"]:
        console.line("align: no prompt was held out, so nothing is known of the scores' quality")
        return
    rows = []
    for name, one in quality["dimensions"].items():
        length = one.get("length")
        count = next(one[unit] for unit in ("pairs", "steps", "answers") if unit in one)
        rows.append(
            [
                name,
                count,
                _with_interval(one["accuracy"]),
                round(one["calibration"]["ece"], 3),
                None if length is None else round(length["value"], 2),
            ]
        )
    console.table(
        f"align: {quality['method']} on {quality['prompts']:,} held-out prompts",
        ("scores", "judged", "accuracy (95%)", "calibration error", "rank correlation with length"),
        rows,
    )


def _with_interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.1%}"
    return f"{found['value']:.1%} ({found['low']:.1%} to {found['high']:.1%})"
