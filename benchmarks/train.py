"""Speed and memory of training and of held-out loss against the peers, work by work (works.py).

    python benchmarks/train.py [--work NAME ...] [--quick] [--json]

A full run tries the peers' whole grids once, runs the fastest entries again in turns with regimen,
and replaces the works' parts of benchmarks/results/train.json and docs/benchmarks.md; without
`--work` it runs all works, one after the other. A quick run takes one entry of the grid and
`sft_full`, if no work is named, and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import keep, parser, require_peers
from processes import HERE
from regimen import console
from regimen.errors import RegimenError
from render import write_page
from result import NAME, machine, merged, part, read
from turns import Bench, measure
from work import write
from works import WORKS, Size, Work, changed


def bench(
    work: Work, pythons: Mapping[str, Path], files: Path, size: Size, *, quick: bool
) -> dict[str, Any]:
    """Measure one work, check it, and put together its part of the result."""
    where = machine()
    rows = work.draw(size)
    write(files, rows, work.model, work.facts)
    found = measure(Bench(work, size, pythons, files), quick=quick)
    return part(work, rows, found, where, quick=quick)


def show(result: Mapping[str, Any], name: str) -> None:
    """Print one work of a result as tables."""
    body = [
        (
            f"{r['side']}, {r['configuration']}",
            f"{r['tokens_per_second']['median']:,.0f}",
            f"{r['memory_mib']['median']:,.0f}",
            r["runs"],
        )
        for r in result["rows"]
        if r["work"] == name and "failed" not in r
    ]
    console.table(name, ("configuration", "tokens/s", "MiB", "runs"), body)
    kept = result["works"][name]
    body = [(key, f"{value:.2f}") for key, value in kept["ratios"].items()]
    body += [(key, f"{value:.0%}") for key, value in kept["utilisation"].items()]
    console.table("peer over regimen", ("ratio", "value"), body)


def interpreters(trl: Path) -> dict[str, Path]:
    """Each peer's interpreter, from that of TRL: `.venv-bench`, `.venv-bench-litgpt` ..."""
    environment = trl.parent.parent
    found = {"trl": trl}
    for peer in ("litgpt", "llamafactory"):
        found[peer] = environment.parent / f"{environment.name}-{peer}" / "bin" / trl.name
    return found


@dataclass(frozen=True, slots=True)
class Command:
    """A benchmark of several works: its name, and the work of a quick run where none is named."""

    name: str
    what: str
    works: Mapping[str, Work]
    quick: str
    bench: Callable[..., dict[str, Any]]

    def arguments(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """The command line."""
        made = parser(
            self.what,
            quick="one configuration, under 3 minutes",
            peer="TRL's; the other peers' are looked for beside its environment",
        )
        made.add_argument("--repeats", type=int, help="runs of each quoted configuration")
        made.add_argument(
            "--work", action="append", choices=list(self.works), help="a work; may be repeated"
        )
        return made.parse_args(argv)

    def run(self, argv: Sequence[str] | None = None) -> int:
        """Measure what is asked for; the exit status."""
        options = self.arguments(argv)
        names = options.work or ([self.quick] if options.quick else list(self.works))
        pythons = interpreters(options.peer_python)
        path = HERE / "results" / f"{self.name}.json"
        result: dict[str, Any] | None = None if options.quick else read(path)
        try:
            require_peers(options.peer_python)
            for name in dict.fromkeys(names):
                began = time.perf_counter()
                work = self.works[name]
                size = work.quick if options.quick else work.full
                size = changed(size, repeats=options.repeats) if options.repeats else size
                console.line(f"{name}: about {1 if options.quick else work.minutes} minutes")
                with tempfile.TemporaryDirectory() as files:
                    made = self.bench(work, pythons, Path(files), size, quick=options.quick)
                result = merged(result, name, made, self.name)
                console.line(f"{name}: {(time.perf_counter() - began) / 60:.1f} minutes")
                show(result, name)
                if not options.quick:
                    keep(path, result)
                    write_page()
        except RegimenError as problem:
            console.error(problem)
            return 1
        if options.json and result is not None:
            console.result(result)
        return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    what = "Speed and memory against the peers."
    return Command(NAME, what, WORKS, "sft_full", bench).run(argv)


if __name__ == "__main__":
    sys.exit(main())
