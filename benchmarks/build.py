"""Speed and memory of building: templates alone, against `datasets.map`, and a large build.

    python benchmarks/build.py [--quick] [--json] [--peer-python .venv-bench/bin/python]

Templates of four kinds (build_works.py) are rendered by jinja2 alone, by `TemplateWorker`, and by
`datasets.map`; all must write the same texts. Then `regimen run` builds a million instances. A
full run writes benchmarks/results/build.json and takes about ten minutes.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build_million import LIMIT_BYTES, LIMIT_SECONDS, million
from build_works import KINDS, write_rows
from command import beside_peers, carry_out, parser
from processes import HERE, Failure, Run, run, spread
from regimen import console
from regimen.errors import RunError
from render import write_page
from result import machine

NAME = "build"
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of each kind, rounds in a process, turns of processes, rows of the large build."""

    rows: int
    rounds: int
    turns: int
    build: int


FULL = Size(30_000, 2, 3, MILLION)
QUICK = Size(4_000, 2, 1, 40_000)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one process measures. ``cores`` 0 is all; ``texts`` says that it tells its texts."""

    side: str
    script: str
    cores: int
    settings: Mapping[str, Any]
    texts: bool = True


_MAP: dict[str, Any] = {"batched": False, "in_memory": True}
ENTRIES: Mapping[str, Entry] = {
    "bare": Entry("jinja2", "build_bare.py", 0, {}),
    "ours": Entry("regimen", "build_regimen.py", 0, {"work": "render"}),
    "bare, one core": Entry("jinja2", "build_bare.py", 1, {}),
    "ours, one core": Entry("regimen", "build_regimen.py", 1, {"work": "render"}),
    "map": Entry("datasets", "peers/datasets_map.py", 0, {**_MAP, "processes": 2}),
    "columns": Entry("regimen", "build_regimen.py", 0, {"work": "columns"}),
    "from Arrow": Entry("regimen", "build_regimen.py", 0, {"work": "table"}),
    "map, one core": Entry("datasets", "peers/datasets_map.py", 1, {**_MAP, "processes": None}),
    "columns, one core": Entry("regimen", "build_regimen.py", 1, {"work": "columns"}),
    "map, batched": Entry(
        "datasets", "peers/datasets_map.py", 0, {**_MAP, "processes": 2, "batched": True}
    ),
    "whole line": Entry("regimen", "build_regimen.py", 0, {"work": "line"}, texts=False),
}
"""Processes of a turn, in their order."""

Runs = Mapping[str, Sequence[Run]]


def one(name: str, peer: Path, folder: Path, rounds: int) -> Run:
    """One process.

    Raises:
        RunError: it failed.
    """
    entry = ENTRIES[name]
    python = str(peer) if entry.side == "datasets" else sys.executable
    settings = {**entry.settings, "cores": entry.cores, "rounds": rounds}
    done = run([python, str(HERE / entry.script)], folder, settings, {}, warm=0, limit=600)
    if isinstance(done, Failure):
        raise RunError(f"{name} failed.", slug="benchmark-failed", got=done.reason)
    seconds = sum(statistics.median(kind["seconds"]) for kind in done.raw["kinds"].values())
    console.line(f"  {entry.side}, {name}: {seconds:.2f} s")
    return done


def check_equal(runs: Runs) -> None:
    """Every process must have written the same texts.

    Raises:
        RunError: one has not; then no ratio means anything.
    """
    expected = runs["bare"][0].raw["kinds"]
    for name, some in runs.items():
        for kind in KINDS if ENTRIES[name].texts else ():
            found = {done.raw["kinds"][kind.name]["digest"] for done in some}
            if found != {expected[kind.name]["digest"]}:
                raise RunError(
                    "The sides did not write the same texts.",
                    slug="benchmark-unequal",
                    got=f"{name}: other texts of kind {kind.name}",
                )


def values(runs: Sequence[Run], kind: str, what: str = "seconds") -> list[float]:
    """All that was measured of a kind, of every round of every run."""
    return [value for done in runs for value in done.raw["kinds"][kind].get(what, ())]


def total(runs: Sequence[Run], what: str = "seconds") -> float:
    """Seconds for the rows of all kinds: the sum of the kinds' medians."""
    return sum(statistics.median(values(runs, kind.name, what)) for kind in KINDS)


def making_jobs(runs: Sequence[Run]) -> float:
    """Seconds for making the jobs of all kinds, which `render` is given."""
    return sum(
        statistics.median(done.raw["kinds"][kind.name]["jobs"] for done in runs) for kind in KINDS
    )


def ratios(runs: Runs) -> dict[str, float]:
    """What is promised: time of jinja2 alone, and of `datasets.map`, over regimen's."""
    return {
        "render_overhead": total(runs["bare"]) / total(runs["ours"]),
        "render_vs_datasets": total(runs["map"]) / total(runs["columns"]),
    }


def side_ratios(runs: Runs) -> dict[str, float]:
    """The same under other conditions, most of them worse for regimen."""
    bare, ours = runs["bare"], runs["ours"]
    found = {
        f"render_overhead_{kind.name}": statistics.median(values(bare, kind.name))
        / statistics.median(values(ours, kind.name))
        for kind in KINDS
    }
    return found | {
        "render_overhead_with_jobs": total(bare) / (total(ours) + making_jobs(ours)),
        "render_overhead_cpu": total(bare, "cpu") / total(ours, "cpu"),
        "render_overhead_one_core": total(runs["bare, one core"]) / total(runs["ours, one core"]),
        "render_vs_datasets_from_arrow": total(runs["map"]) / total(runs["from Arrow"]),
        "render_vs_datasets_one_core": total(runs["map, one core"])
        / total(runs["columns, one core"]),
        "render_vs_datasets_batched": total(runs["map, batched"]) / total(runs["columns"]),
    }


def row(name: str, runs: Sequence[Run], rows: int) -> dict[str, Any]:
    """One line of the result: microseconds a row, of the clock and of the processors."""
    entry = ENTRIES[name]
    found = {
        kind.name: spread([1e6 * value / rows for value in values(runs, kind.name)])
        for kind in KINDS
    }
    cpu = total(runs, "cpu") if values(runs, KINDS[0].name, "cpu") else None
    return {
        "side": entry.side,
        "configuration": name,
        "settings": dict(entry.settings),
        "cores": entry.cores or "all",
        "runs": len(runs),
        "microseconds": found,
        "mean_microseconds": 1e6 * total(runs) / rows / len(KINDS),
        "mean_cpu_microseconds": None if cpu is None else 1e6 * cpu / rows / len(KINDS),
    }


def limits(built: Mapping[str, Any]) -> dict[str, float]:
    """What a large build may take over what it takes; memory only of the full size."""
    seconds = built["seconds"] * MILLION / built["rows"]
    found = {"build_limit_time": LIMIT_SECONDS / seconds}
    if built["rows"] >= MILLION:
        found["build_limit_memory"] = LIMIT_BYTES / 2**20 / built["tree_peak_mib"]
    return found


def bench(peer: Path, folder: Path, size: Size, *, quick: bool) -> dict[str, Any]:
    """Measure, check, and put together the result."""
    found = machine()
    write_rows(folder, size.rows)
    runs: dict[str, list[Run]] = {name: [] for name in ENTRIES}
    for _ in range(size.turns):
        for name in ENTRIES:
            runs[name].append(one(name, peer, folder, size.rounds))
    check_equal(runs)
    console.line(f"  a build of {size.build:,} rows")
    built = million(folder, size.build)
    versions: dict[str, str] = {}
    for some in runs.values():
        versions |= some[0].raw["versions"]
    return {
        "name": NAME,
        "versions": versions,
        "machine": found,
        "quick": quick,
        "data": {"rows": size.rows, "kinds": [kind.name for kind in KINDS]},
        "rows": [row(name, some, size.rows) for name, some in runs.items()],
        "build": {**built, "extrapolated": size.build < MILLION},
        "ratios": ratios(runs) | limits(built),
        "side_ratios": side_ratios(runs),
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as tables."""
    kinds = result["data"]["kinds"]
    body = [
        (
            f"{r['side']}, {r['configuration']}",
            *(f"{r['microseconds'][kind]['median']:.1f}" for kind in kinds),
            "" if r["mean_cpu_microseconds"] is None else f"{r['mean_cpu_microseconds']:.1f}",
        )
        for r in result["rows"]
    ]
    console.table("microseconds a row", ("configuration", *kinds, "mean CPU"), body)
    built = result["build"]
    console.table(
        "build" + (", ratios of time extrapolated" if built["extrapolated"] else ""),
        ("rows", "seconds", "of it reading", "MiB", "instances/s"),
        [
            (
                f"{built['rows']:,}",
                f"{built['seconds']:.0f}",
                f"{built['reading_seconds']:.0f}",
                f"{built['tree_peak_mib']:,.0f}",
                f"{built['instances_per_second']:,.0f}",
            )
        ],
    )
    both = {**result["ratios"], **result["side_ratios"]}
    console.table(
        "peer over regimen", ("ratio", "value"), [(n, f"{v:.2f}") for n, v in both.items()]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = parser(
        "Speed and memory of building instances.",
        quick="few rows, under 3 minutes",
        peer="has `datasets`",
    ).parse_args(argv)
    size = QUICK if options.quick else FULL

    def measured(peer: Path, folder: Path) -> dict[str, Any]:
        return bench(peer, folder, size, quick=options.quick)

    return carry_out(
        options,
        lambda: beside_peers(options.peer_python, measured),
        show,
        lambda _: write_page(),
    )


if __name__ == "__main__":
    sys.exit(main())
