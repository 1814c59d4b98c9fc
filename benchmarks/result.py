"""What a run of one work comes to, and one file that holds all works."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grid import Configuration
from processes import Run, spread
from regimen.errors import RunError
from turns import Measured, Runs, fastest, memory, speed
from work import MAX_LENGTH, Rows
from works import Work

NAME = "train"
LOSSES_AGREE = 0.02
"""Relative difference of two losses of the same rows in different arithmetic."""


def losses_differ(ours: Run, theirs: Run, compared: int | None) -> float | None:
    """The largest relative difference of the losses of compared steps; None without any."""
    pairs = list(zip(ours.losses, theirs.losses, strict=False))[:compared]
    return max((abs(a - b) / abs(a) for a, b in pairs), default=None)


def check_equal_work(ours: Run, theirs: Runs) -> None:
    """Both sides read the same rows, and in the same order the same tokens and the same losses.

    Raises:
        RunError: they do not; then no ratio means anything.
    """
    for entry, runs in theirs.items():
        got = runs[0]
        counts = list(zip(ours.counts, got.counts, strict=False))[: entry.compared]
        difference = losses_differ(ours, got, entry.compared)
        if got.raw["rows"] != ours.raw["rows"]:
            problem = "other rows"
        elif any(a != b for a, b in counts):
            problem = f"tokens of the steps: {ours.counts[:3]} and {got.counts[:3]}"
        elif difference is not None and difference > LOSSES_AGREE:
            problem = f"losses: {ours.losses[:6]} and {got.losses[:6]}"
        else:
            continue
        raise RunError(
            "The two sides do not do the same work.",
            slug="benchmark-unequal",
            got=f"{entry.label}: {problem}",
        )


def ratios(work: str, found: Measured) -> dict[str, float]:
    """Peer over regimen, so that above 1 is better: time for a token, and memory.

    ``vs_best`` is over the fastest entry of all peers; the rest is for each peer that ran.
    """
    every = found.every
    ours, kept = speed(found.ours), memory(found.ours)
    best = fastest(found.finals, 1)[0]
    values = {f"{work}_vs_best": ours / speed(found.finals[best])}
    for peer in dict.fromkeys(entry.peer for entry in every):
        runs = {e: r for e, r in every.items() if e.peer == peer}
        again = {e: r for e, r in found.finals.items() if e.peer == peer}
        quoted = fastest(again, 1) or fastest(runs, 1)
        for entry in quoted:
            values[f"{work}_vs_{peer}_best"] = ours / speed(runs[entry])
            values[f"{work}_memory_vs_{peer}"] = memory(runs[entry]) / kept
        for entry in (e for e in runs if e.defaults):
            values[f"{work}_vs_{peer}_defaults"] = ours / speed(runs[entry])
        smallest = min(memory(r) for r in runs.values())
        values[f"{work}_memory_vs_{peer}_smallest"] = smallest / kept
    return values


def utilisation(ours: Sequence[Run]) -> float | None:
    """Median share of the machine's rate of the same matrix products; None if not measured."""
    shares = [run.utilisation for run in ours]
    known = [share for share in shares if share is not None]
    return statistics.median(known) if known else None


def row(
    work: Work, side: str, runs: Sequence[Run], reference: Run, entry: Configuration | None
) -> dict[str, Any]:
    """One line of the result: a configuration and its runs."""
    first = runs[0]
    differs = losses_differ(reference, first, None if entry is None else entry.compared)
    return {
        "work": work.name,
        "side": side,
        "configuration": "as shipped" if entry is None else entry.name,
        "settings": dict(work.regimen if entry is None else entry.settings),
        "environment": {} if entry is None else dict(entry.environment),
        "runs": len(runs),
        "tokens_per_second": spread([r.tokens_per_second for r in runs]),
        **_phases(runs),
        "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
        "steps": len(first.counts),
        "left_early": first.cut,
        "tokens_per_step": statistics.mean(tokens for tokens, _ in first.counts),
        "supervised_per_step": statistics.mean(learnt for _, learnt in first.counts),
        "first_losses": first.losses[:8],
        "loss_difference": differs,
    }


def _phases(runs: Sequence[Run]) -> dict[str, Any]:
    """Tokens a second of the reference and of the steps behind it, where these are apart."""
    before = [known for r in runs if (known := r.reference_tokens_per_second) is not None]
    if not before:
        return {}
    return {
        "reference_tokens_per_second": spread(before),
        "step_tokens_per_second": spread([r.step_tokens_per_second for r in runs]),
    }


def rows_of(work: Work, found: Measured) -> list[dict[str, Any]]:
    """regimen's row, the peers' from fast to slow, and what did not run."""
    every, reference = found.every, found.ours[0]
    rows = [row(work, "regimen", found.ours, reference, None)]
    for entry in sorted(every, key=lambda e: -speed(every[e])):
        made = row(work, entry.peer, every[entry], reference, entry)
        rows.append(made | {"stage": "turns" if entry in found.finals else "screening"})
    rows += [
        {"work": work.name, "side": e.peer, "configuration": e.name, "failed": reason}
        for e, reason in found.failures.items()
    ]
    return rows


def versions(found: Measured) -> dict[str, str]:
    """Of regimen's libraries and the peers'; where these differ, a peer's carry its name."""
    told: dict[str, str] = dict(found.ours[0].raw["versions"])
    for entry, runs in found.every.items():
        for name, number in runs[0].raw["versions"].items():
            key = name if told.get(name, number) == number else f"{name} of {entry.peer}"
            told[key] = number
    return told


def part(
    work: Work, rows: Rows, found: Measured, where: Mapping[str, Any], *, quick: bool
) -> dict[str, Any]:
    """The result of one work."""
    check_equal_work(found.ours[0], found.every)
    share = utilisation(found.ours)
    best = fastest(found.finals, 1)[0]
    return {
        "work": work.told(),
        "versions": versions(found),
        "machine": dict(where) | {"threads": found.ours[0].raw["threads"]},
        "quick": quick,
        "data": {
            "rows": rows.digest(),
            "rows_per_step": work.rows_per_step,
            "max_length": MAX_LENGTH,
            "mean_length": float(rows.lengths.mean()),
            "supervised_share": float(rows.supervised.sum() / rows.lengths.sum()),
        },
        "best": best.label,
        "matrix_gflop_per_second": [
            run.raw["flop_per_second"] / 1e9 for run in found.ours if "flop_per_second" in run.raw
        ],
        "utilisation": {} if share is None else {f"{work.name}_utilisation": share},
        "ratios": ratios(work.name, found),
        "rows": rows_of(work, found),
    }


def merged(
    old: Mapping[str, Any] | None, name: str, new: Mapping[str, Any], title: str = NAME
) -> dict[str, Any]:
    """The result of all works, with the part of one of them replaced.

    What programs read is on top: rows, ratios, utilisation, and versions and machine of the newest
    part; each part keeps its own.
    """
    works = dict(old["works"]) if old else {}
    rows = [r for r in (old["rows"] if old else []) if r["work"] != name]
    works[name] = {key: value for key, value in new.items() if key != "rows"}
    return {
        "name": title,
        "versions": new["versions"],
        "machine": new["machine"],
        "works": works,
        "rows": [*rows, *new["rows"]],
        "ratios": {k: v for kept in works.values() for k, v in kept["ratios"].items()},
        "utilisation": {k: v for kept in works.values() for k, v in kept["utilisation"].items()},
    }


def read(path: Path) -> dict[str, Any] | None:
    """The committed result; None where there is none."""
    return dict(json.loads(path.read_text())) if path.is_file() else None


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import psutil

    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = (line for line in info.read_text().splitlines() if line.startswith("model name"))
        model = next(lines, f": {model}").split(":", 1)[1].strip()
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
