"""The result of gpu.py: a line for each side of a cell, ratios with names, what was to be reached.

As everywhere, `vs` is the peer's time over regimen's, so that above 1 is better; `share` is
regimen's memory over the peer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpu_cells import CELLS, Cell
from gpu_state import Job, Raw, jobs_of
from processes import Run, spread

NAME = "gpu"
GIB, GB = 1 << 30, 10**9
REFERENCE_RATE = 790e12
"""FLOP a second of a large product in bf16 to which absolute figures are scaled."""
LOSSES_AGREE = 0.02
LIGER, PRODUCTS = "trl_liger", "products"


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio is to reach."""

    bound: float
    least: bool
    what: str

    def reached(self, value: float) -> bool:
        """Whether a value does."""
        return value >= self.bound if self.least else value <= self.bound


TARGETS: Mapping[str, Target] = {
    "gpu_lora_8b_tokens_per_second_scaled": Target(
        12_500, True, "tokens/s of LoRA 8 B, scaled to 790 TFLOP/s"
    ),
    "gpu_lora_8b_vs_trl_liger": Target(1.5, True, "LoRA 8 B against TRL with Liger"),
    "gpu_sft_full_1.5b_utilisation": Target(0.5, True, "utilisation of full tuning of 1.5 B"),
    "gpu_dpo_1.5b_vs_trl_liger": Target(2.0, True, "DPO 1.5 B against TRL with Liger"),
    "gpu_head_over_products": Target(1.25, False, "time of the head over its four products"),
    "gpu_head_vs_cut_cross_entropy": Target(1.0, True, "the head against cut-cross-entropy"),
    "gpu_head_gb_above_inputs": Target(3.2, False, "GB of the head above its inputs"),
    "gpu_nf4_lora_8b_gib": Target(8.0, False, "GiB of LoRA on 8 B in NF4, 4,096 tokens at once"),
    **{
        f"gpu_{name}_beyond_share_of_trl_liger": Target(
            0.6, False, "peak beyond weights, gradients and optimizer, of TRL with Liger's"
        )
        for name, cell in CELLS.items()
        if any(side.library == LIGER for side in cell.sides)
    },
}
"""By the name of the ratio."""


def part_of(cell: Cell, found: Mapping[str, Raw]) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The lines of a cell and its ratios; a side that did other work has a line that says so."""
    jobs = jobs_of([cell])
    here = {job: found[job.key] for job in jobs if job.key in found}
    first = next((r for j, r in here.items() if j.side.name == "regimen"), None)
    rows = [_row(job, raw, first) for job, raw in here.items()]
    return rows, _ratios(cell, rows)


def _row(job: Job, raw: Raw, first: Raw | None) -> dict[str, Any]:
    line: dict[str, Any] = {
        "work": job.cell.name,
        "side": job.side.library,
        "configuration": job.side.name,
        "settings": dict(job.side.settings),
    }
    problem = raw.get("failed") or _other_work(job.cell, raw, first)
    if problem:
        return line | {"failed": problem}
    run = Run(raw, job.cell.warm)
    memory, held = raw["memory"], raw["held"]
    steady = held["weights"] + held["gradients"] + held["optimizer"]
    seconds = [b["ended"] - a["ended"] for a, b in _behind(raw, job.cell.warm)]
    speed = run.tokens_per_second
    utilisation = _utilisation(raw, job.cell.warm)
    return line | {
        "tokens_per_second": spread([speed]),
        "step_tokens_per_second": spread([run.step_tokens_per_second]),
        "step_seconds": spread(seconds),
        "memory_gib": spread([memory["allocated"] / GIB]),
        "reserved_gib": memory["reserved"] / GIB,
        "beyond_gib": (memory["allocated"] - steady) / GIB,
        "steady_gib": steady / GIB,
        "matmul_tflops": raw["matmul"] / 1e12,
        "utilisation": utilisation,
        "gflop_per_token": _gflop(raw, job.cell.warm),
        "runs": 1,
        "first_losses": run.losses[:4],
        "ragged": raw.get("ragged"),
    }


def _behind(raw: Raw, warm: int) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
    """Each step that counts, with the step before it."""
    steps = raw["steps"]
    return list(zip(steps[warm - 1 : -1], steps[warm:], strict=True))


def _utilisation(raw: Raw, warm: int) -> float | None:
    """Counted arithmetic of the steps over their time, as a share of the measured rate."""
    if "flop" not in raw:
        return None
    steps = raw["steps"]
    seconds = steps[-1]["ended"] - steps[warm - 1]["ended"]
    return float(sum(raw["flop"][warm:]) / seconds / raw["matmul"])


def _gflop(raw: Raw, warm: int) -> float | None:
    """Counted arithmetic of a token of the rows, the reference's with it where there is one."""
    if "flop" not in raw:
        return None
    found = sum(raw["flop"][warm:]) / sum(step["tokens"] for step in raw["steps"][warm:])
    before = raw.get("reference")
    return float(found + (before["flop"] / before["tokens"] if before else 0.0)) / 1e9


def _other_work(cell: Cell, raw: Raw, first: Raw | None) -> str:
    """How a side's work differs from regimen's, or nothing."""
    if first is None or "failed" in first or raw is first:
        return ""
    if raw["rows"] != first["rows"]:
        return "other rows"
    counts, ours = ([s["tokens"] for s in it["steps"]] for it in (raw, first))
    if sum(counts) != sum(ours):
        return f"tokens of the steps: {ours[:3]} and {counts[:3]}"
    a, b = first["steps"][0]["loss"], raw["steps"][0]["loss"]
    products = cell.kind == "head" and not b
    if cell.compared and not products and not abs(a - b) <= LOSSES_AGREE * abs(a):
        return f"first losses: {a:.4g} and {b:.4g}"
    return ""


def _ratios(cell: Cell, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """All ratios of a cell that its sides allow."""
    done = [row for row in rows if "failed" not in row]
    ours = next((row for row in done if row["configuration"] == "regimen"), None)
    if ours is None:
        return {}
    name, speed = f"gpu_{cell.name}", _speed(ours)
    found: dict[str, float] = {}
    if ours["utilisation"] is not None and cell.kind != "head":
        found[f"{name}_utilisation"] = ours["utilisation"]
        scale = REFERENCE_RATE / 1e12 / ours["matmul_tflops"]
        found[f"{name}_tokens_per_second_scaled"] = speed * scale
    for library in dict.fromkeys(row["side"] for row in done if row is not ours):
        theirs = [row for row in done if row["side"] == library]
        best = max(theirs, key=_speed)
        if library == PRODUCTS:
            continue
        if library == "separate":
            bound = best["gflop_per_token"] / ours["gflop_per_token"]
            found |= {f"{name}_bound": bound, f"{name}_of_bound": speed / _speed(best) / bound}
        found[f"{name}_vs_{library}"] = speed / _speed(best)
        if library == LIGER and best["beyond_gib"] > 0:
            found[f"{name}_beyond_share_of_{library}"] = ours["beyond_gib"] / best["beyond_gib"]
            peaks = (row["memory_gib"]["median"] for row in (ours, best))
            found[f"{name}_memory_share_of_{library}"] = next(peaks) / next(peaks)
    if cell.kind == "head":
        found |= _of_the_head(done, ours)
    if cell.quantise:
        found[f"{name}_gib"] = ours["memory_gib"]["median"]
    return found


def _of_the_head(done: Sequence[Mapping[str, Any]], ours: Mapping[str, Any]) -> dict[str, float]:
    """Time over the four products of the same run of gpu.py, and memory above the inputs."""
    found = {"gpu_head_gb_above_inputs": ours["beyond_gib"] * GIB / GB}
    products = next((row for row in done if row["side"] == PRODUCTS), None)
    if products is not None:
        found["gpu_head_over_products"] = _speed(products) / _speed(ours)
    return found


def _speed(row: Mapping[str, Any]) -> float:
    return float(row["tokens_per_second"]["median"])


def merged(cells: Sequence[Cell], found: Mapping[str, Raw], where: Mapping[str, Any]) -> Any:
    """The result of what is there: lines, ratios, targets, versions, and the processes' own."""
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for cell in cells:
        lines, more = part_of(cell, found)
        rows += lines
        ratios |= more
    done = [raw for raw in found.values() if "failed" not in raw]
    versions: dict[str, str] = {}
    for raw in done:
        versions |= raw["versions"]
    machine = dict(where) | ({"device": done[0]["device"]} if done else {})
    return {
        "name": NAME,
        "versions": versions,
        "machine": machine | {"threads": done[0]["threads"] if done else None},
        "matmul_tflops": spread([raw["matmul"] / 1e12 for raw in done]) if done else None,
        "cells": {cell.name: cell.about for cell in cells},
        "rows": rows,
        "ratios": ratios,
        "targets": {
            name: {
                "bound": target.bound,
                "at": "least" if target.least else "most",
                "value": ratios[name],
                "reached": target.reached(ratios[name]),
            }
            for name, target in TARGETS.items()
            if name in ratios
        },
        "processes": dict(found),
    }
