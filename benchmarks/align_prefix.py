"""Shared prompts beside a copy for each answer: measured against what counted arithmetic allows."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align_works import Prefix, told
from pairs import draw_pairs
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RunError
from result import machine
from work import MAX_LENGTH, Rows, write

COUNTED = (
    "matrix products of all linear layers, attention's products for each pair of a query and a key "
    "that it sees, and the head's on supervised rows alone; of the reference's forward pass and of "
    "the step's forward and backward pass; products that are formed again to save memory, norms, "
    "activations and the optimizer are not counted"
)
EQUAL = {"loss_differs": 1e-5, "reference_differs": 1e-4, "gradient_differs": 1e-3}
"""Relative differences in fp32 above which both forms do not compute the same."""
FORMS = ("shared", "separate")
LIMIT = 600.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Runs of both forms at some lengths, and what a comparison in fp32 said."""

    rows: Rows
    runs: Mapping[str, Sequence[Run]]
    check: Mapping[str, Any]

    @property
    def speed_up(self) -> float:
        """Time of separate prompts over that of shared ones, medians; reference and steps."""
        shared, separate = (
            statistics.median(r.tokens_per_second for r in self.runs[form]) for form in FORMS
        )
        return shared / separate

    @property
    def bound(self) -> float:
        """The same of the counted arithmetic."""
        shared, separate = (flop_for_token(self.runs[form][0]) for form in FORMS)
        return separate / shared


def flop_for_token(done: Run) -> float:
    """Counted arithmetic of a token of the rows: of the steps that are timed and the reference."""
    steps, before = done.raw["steps"][done.warm :], done.raw["reference"]
    tokens = sum(step["tokens"] for step in steps)
    return float(sum(done.raw["flop"][done.warm :]) / tokens + before["flop"] / before["tokens"])


def bench(prefix: Prefix, folder: Path, *, turns: int, quick: bool) -> dict[str, Any]:
    """Both forms at all lengths, ``turns`` processes of each, and the part of the result."""
    where = machine()
    found = {
        name: _compare(prefix, folder, name, share, turns=turns, quick=quick)
        for name, share in prefix.shares.items()
    }
    return part(prefix, found, where, quick=quick)


def _compare(
    prefix: Prefix, folder: Path, name: str, share: float | None, *, turns: int, quick: bool
) -> Compared:
    steps, work = prefix.quick_steps if quick else prefix.steps, prefix.work
    rows = draw_pairs(
        work.rows_per_step * steps, share=share, vocabulary=int(work.model["vocab_size"])
    )
    write(folder, rows, work.model, work.facts)
    settings = {"max_steps": steps, "batches_per_step": prefix.batches_per_step}
    check = _one(folder, f"{name}, equal", settings | {"check": True}).raw
    for key, most in EQUAL.items():
        if not check[key] <= most:
            raise RunError(
                "Shared and separate prompts do not compute the same.",
                slug="benchmark-unequal",
                got=f"{name}, {key.replace('_', ' ')} by {check[key]:.1e}",
            )
    runs: dict[str, list[Run]] = {form: [] for form in FORMS}
    for turn in range(turns):
        for form in FORMS if turn % 2 == 0 else reversed(FORMS):
            more = {"separate": form == "separate"}
            done = _one(folder, f"{name}, {form}", settings | more)
            console.line(f"  {name}, {form}: {done.tokens_per_second:,.0f} tokens/s")
            runs[form].append(done)
    return Compared(rows, runs, check)


def _one(folder: Path, name: str, settings: Mapping[str, Any]) -> Run:
    command = [sys.executable, str(HERE / "regimen_align.py")]
    done = run(command, folder, settings, {}, warm=1, limit=LIMIT)
    if isinstance(done, Failure):
        raise RunError(f"{name} failed.", slug="benchmark-failed", got=done.reason)
    return done


def part(
    prefix: Prefix, found: Mapping[str, Compared], where: Mapping[str, Any], *, quick: bool
) -> dict[str, Any]:
    """The result of the work; ``dpo_shared_prefix_of_bound`` is the smaller of all lengths."""
    first = next(iter(found.values())).runs["shared"][0]
    ratios = {f"{prefix.name}_of_bound": min(c.speed_up / c.bound for c in found.values())}
    for name, one in found.items():
        ratios |= {
            f"{prefix.name}_of_bound ({name})": one.speed_up / one.bound,
            f"{prefix.name}_speed_up ({name})": one.speed_up,
            f"{prefix.name}_bound ({name})": one.bound,
        }
    return {
        "work": told(prefix),
        "versions": first.raw["versions"],
        "machine": dict(where) | {"threads": first.raw["threads"]},
        "quick": quick,
        "counted": COUNTED,
        "equal": {
            name: {key: one.check[key] for key in (*EQUAL, "pairs", "tensors")}
            for name, one in found.items()
        },
        "data": {
            "rows_per_step": prefix.work.rows_per_step,
            "max_length": MAX_LENGTH,
            "lengths": {name: _lengths(one.rows) for name, one in found.items()},
        },
        "utilisation": {},
        "ratios": ratios,
        "rows": [
            _row(prefix.name, name, form, one) for name, one in found.items() for form in FORMS
        ],
    }


def _lengths(rows: Rows) -> dict[str, Any]:
    return {
        "rows": rows.digest(),
        "mean_length": float(rows.lengths.mean()),
        "prompt_share": float(rows.prompts.sum() / rows.lengths.sum()),
    }


def _row(work: str, name: str, form: str, one: Compared) -> dict[str, Any]:
    runs = one.runs[form]
    return {
        "work": work,
        "side": "regimen",
        "configuration": f"{name}, {form}",
        "runs": len(runs),
        "tokens_per_second": spread([r.tokens_per_second for r in runs]),
        "step_tokens_per_second": spread([r.step_tokens_per_second for r in runs]),
        "reference_tokens_per_second": spread([r.reference_tokens_per_second or 0 for r in runs]),
        "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
        "gflop_per_token": flop_for_token(runs[0]) / 1e9,
        "tokens_read": sum(runs[0].raw["read"]),
        "steps": len(runs[0].counts),
        "first_losses": runs[0].losses[:8],
    }
