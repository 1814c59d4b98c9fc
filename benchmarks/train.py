"""Training speed and memory against TRL on the work `sft_full` (see work.py).

    python benchmarks/train.py [--quick] [--json] [--peer-python .venv-bench/bin/python]

A full run tries the peer's whole grid once, runs the fastest entries again in turns with regimen,
and writes benchmarks/results/train.json and docs/benchmarks.md. A quick run takes one entry of the
grid and writes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grid import DEFAULTS, REGIMEN, Configuration, by_name, grid, quick_best
from processes import HERE, Failure, Run, loss_difference, run, spread
from regimen import console
from regimen.errors import MissingExtraError, RegimenError, RunError
from regimen.files import atomic_write, jsonable
from regimen.models.hardware import bf16_is_fast
from render import write_page
from work import MAX_LENGTH, ROWS_PER_STEP, draw_rows, write

NAME = "train"
LOSSES_AGREE = 0.02
"""Relative difference of two losses of the same rows in different arithmetic."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is run. ``limit`` is in seconds for one process; ``warm`` steps are not counted."""

    steps: int
    screening_steps: int
    defaults_steps: int
    warm: int
    repeats: int
    finalists: int
    limit: float


FULL = Size(12, 4, 16, 2, 3, 2, 900.0)
QUICK = Size(4, 4, 4, 1, 1, 1, 100.0)

Runs = dict[str, list[Run]]


class Bench:
    """Runs processes of both sides over one set of files."""

    def __init__(self, peer_python: Path, work: Path, size: Size) -> None:
        self.peer_python, self.work, self.size = peer_python, work, size

    def regimen(self) -> Run:
        """One run of regimen.

        Raises:
            RunError: it failed.
        """
        size = self.size
        command = [sys.executable, str(HERE / "regimen_sft.py")]
        settings = REGIMEN | {"max_steps": size.steps}
        done = run(command, self.work, settings, {}, warm=size.warm, limit=size.limit)
        if isinstance(done, Failure):
            raise RunError("regimen's side failed.", slug="benchmark-failed", got=done.reason)
        console.line(f"  regimen: {done.tokens_per_second:,.0f} tokens/s")
        return done

    def peer(self, entry: Configuration, steps: int, warm: int) -> Run | Failure:
        """One run of the peer."""
        command = [str(self.peer_python), str(HERE / "peers" / "trl_sft.py")]
        settings = {**entry.settings, "max_steps": steps}
        done = run(
            command, self.work, settings, entry.environment, warm=warm, limit=self.size.limit
        )
        shown = (
            done.reason if isinstance(done, Failure) else f"{done.tokens_per_second:,.0f} tokens/s"
        )
        console.line(f"  TRL, {entry.name}: {shown}")
        return done


def screen(bench: Bench) -> tuple[Runs, dict[str, str]]:
    """Every entry of the grid once; the runs, and why an entry failed."""
    runs: Runs = {}
    failures: dict[str, str] = {}
    for entry in grid(bf16_is_fast()):
        done = bench.peer(entry, bench.size.screening_steps, 1)
        if isinstance(done, Failure):
            failures[entry.name] = done.reason
        else:
            runs[entry.name] = [done]
    return runs, failures


def fastest(runs: Runs, count: int) -> list[Configuration]:
    """The entries with the highest median speed, fastest first."""
    names = sorted((n for n in runs if n != DEFAULTS.name), key=lambda n: -_speed(runs[n]))
    return [by_name(name) for name in names[:count]]


def take_turns(bench: Bench, finalists: Sequence[Configuration]) -> tuple[list[Run], Runs]:
    """regimen, peer, regimen, peer ...; the finalists and the defaults, ``repeats`` times."""
    size = bench.size
    ours: list[Run] = []
    theirs: Runs = {}
    for _ in range(size.repeats):
        for entry in (*finalists, DEFAULTS):
            ours.append(bench.regimen())
            steps = size.defaults_steps if entry is DEFAULTS else size.steps
            done = bench.peer(entry, steps, size.warm)
            if isinstance(done, Failure):
                raise RunError(
                    "A configuration of the peer that is quoted failed.",
                    slug="benchmark-failed",
                    got=f"{entry.name}: {done.reason}",
                )
            theirs.setdefault(entry.name, []).append(done)
    return ours, theirs


def check_equal_work(ours: Run, theirs: Runs) -> None:
    """Both sides read the same rows, and in the same order the same tokens and the same losses.

    Raises:
        RunError: they do not; then no ratio means anything.
    """
    for name, runs in theirs.items():
        got = runs[0]
        if got.raw["rows"] != ours.raw["rows"]:
            problem = "other rows"
        elif not by_name(name).same_order:
            continue
        elif any(a != b for a, b in zip(ours.counts, got.counts, strict=False)):
            problem = f"tokens of the steps: {ours.counts[:3]} and {got.counts[:3]}"
        elif loss_difference(ours, got) > LOSSES_AGREE:
            problem = f"losses: {ours.losses[:6]} and {got.losses[:6]}"
        else:
            continue
        raise RunError(
            "The two sides do not do the same work.",
            slug="benchmark-unequal",
            got=f"{name}: {problem}",
        )


def ratios(ours: Sequence[Run], finals: Runs, every: Runs) -> dict[str, float]:
    """Peer over regimen, so that above 1 is better: time for a token, and memory.

    ``finals`` holds the runs that took turns; ``every`` those of the whole grid as well.
    """
    best = fastest(finals, 1)[0].name
    speed, memory = _speed(ours), _memory(ours)
    smallest = min(_memory(runs) for runs in every.values())
    return {
        "sft_full_vs_trl_best": speed / _speed(finals[best]),
        "sft_full_vs_trl_defaults": speed / _speed(finals[DEFAULTS.name]),
        "sft_full_memory_vs_trl": _memory(finals[best]) / memory,
        "sft_full_memory_vs_trl_smallest": smallest / memory,
    }


def _speed(runs: Sequence[Run]) -> float:
    return statistics.median(run.tokens_per_second for run in runs)


def _memory(runs: Sequence[Run]) -> float:
    return statistics.median(run.grown_bytes for run in runs)


def row(
    side: str, runs: Sequence[Run], reference: Run, entry: Configuration | None
) -> dict[str, Any]:
    """One line of the result: a configuration and its runs."""
    first = runs[0]
    same = entry is None or entry.same_order
    return {
        "work": "sft_full",
        "side": side,
        "configuration": "as shipped" if entry is None else entry.name,
        "settings": dict(REGIMEN if entry is None else entry.settings),
        "environment": {} if entry is None else dict(entry.environment),
        "runs": len(runs),
        "tokens_per_second": spread([r.tokens_per_second for r in runs]),
        "memory_mib": spread([r.grown_bytes / 2**20 for r in runs]),
        "steps": len(first.counts),
        "tokens_per_step": statistics.mean(tokens for tokens, _ in first.counts),
        "supervised_per_step": statistics.mean(learnt for _, learnt in first.counts),
        "first_losses": first.losses[:8],
        "loss_difference": loss_difference(reference, first) if same else None,
    }


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


def bench(peer_python: Path, work: Path, size: Size, *, quick: bool) -> dict[str, Any]:
    """Measure, check, and put together the result."""
    found = machine()
    rows = draw_rows(size.steps * ROWS_PER_STEP)
    write(work, rows)
    benchmark = Bench(peer_python, work, size)
    screened, failures = ({}, {}) if quick else screen(benchmark)
    finalists = [quick_best(bf16_is_fast())] if quick else fastest(screened, size.finalists)
    ours, finals = take_turns(benchmark, finalists)
    every = {**screened, **finals}
    check_equal_work(ours[0], every)
    entries = [row("regimen", ours, ours[0], None)]
    for name in sorted(every, key=lambda n: -_speed(every[n])):
        entry = row("trl", every[name], ours[0], by_name(name))
        entries.append(entry | {"stage": "turns" if name in finals else "screening"})
    entries += [
        {"work": "sft_full", "side": "trl", "configuration": name, "failed": reason}
        for name, reason in failures.items()
    ]
    return {
        "name": NAME,
        "versions": finals[DEFAULTS.name][0].raw["versions"] | ours[0].raw["versions"],
        "machine": found | {"threads": ours[0].raw["threads"]},
        "quick": quick,
        "data": {
            "rows": rows.digest(),
            "rows_per_step": ROWS_PER_STEP,
            "max_length": MAX_LENGTH,
            "mean_length": float(rows.lengths.mean()),
            "supervised_share": float(rows.supervised.sum() / rows.lengths.sum()),
        },
        "best": fastest(finals, 1)[0].name,
        "rows": entries,
        "ratios": ratios(ours, finals, every),
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as two tables."""
    body = [
        (
            f"{r['side']}, {r['configuration']}",
            f"{r['tokens_per_second']['median']:,.0f}",
            f"{r['memory_mib']['median']:,.0f}",
            r["runs"],
        )
        for r in result["rows"]
        if "failed" not in r
    ]
    console.table("sft_full", ("configuration", "tokens/s", "MiB", "runs"), body)
    body = [(name, f"{value:.2f}") for name, value in result["ratios"].items()]
    console.table("peer over regimen", ("ratio", "value"), body)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Training speed and memory against TRL.")
    parser.add_argument("--quick", action="store_true", help="one configuration, under 3 minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--repeats", type=int, help="runs of each quoted configuration")
    parser.add_argument(
        "--peer-python", type=Path, default=HERE.parent / ".venv-bench" / "bin" / "python"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = arguments(argv)
    size = QUICK if options.quick else FULL
    if options.repeats:
        size = Size(**{f: getattr(size, f) for f in Size.__slots__} | {"repeats": options.repeats})
    try:
        if not options.peer_python.is_file():
            raise MissingExtraError(
                "The peers' environment is not there.",
                slug="missing-bench-env",
                got=str(options.peer_python),
                fix="make bench-env, or name its interpreter with --peer-python",
            )
        with tempfile.TemporaryDirectory() as directory:
            result = bench(options.peer_python, Path(directory), size, quick=options.quick)
    except RegimenError as problem:
        console.error(problem)
        return 1
    show(result)
    if not options.quick:
        text = json.dumps(jsonable(result), indent=1, allow_nan=False) + "\n"
        atomic_write(HERE / "results" / f"{NAME}.json", text)
        write_page()
    if options.json:
        console.result(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
