"""Who runs when: every entry of the grid once, then the fastest in turns with regimen."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from grid import Configuration, defaults, grid, quick_best
from measure import FLOOR
from processes import HERE, Failure, Run, run
from regimen import console
from regimen.errors import RunError
from regimen.models.hardware import bf16_is_fast
from works import Size, Work

CUT = 0.5
"""Share of the best speed so far below which an entry is left after its second step."""

Runs = dict[Configuration, list[Run]]


@dataclass(slots=True)
class Measured:
    """The runs of a work: regimen's, those that took turns with it, those of the grid, failures."""

    ours: list[Run] = field(default_factory=list)
    finals: Runs = field(default_factory=dict)
    screened: Runs = field(default_factory=dict)
    failures: dict[Configuration, str] = field(default_factory=dict)

    @property
    def every(self) -> Runs:
        """Each entry's runs; those in turns where there are any."""
        return {**self.screened, **self.finals}


class Bench:
    """Runs processes of both sides over one set of files."""

    def __init__(self, work: Work, size: Size, pythons: Mapping[str, Path], files: Path) -> None:
        self.work, self.size, self.pythons, self.files = work, size, pythons, files

    def regimen(self) -> Run:
        """One run of regimen.

        Raises:
            RunError: it failed.
        """
        size = self.size
        command = [sys.executable, str(HERE / self.work.script)]
        settings = {**self.work.regimen, "max_steps": size.steps}
        done = run(command, self.files, settings, {}, warm=size.warm, limit=3 * size.limit)
        if isinstance(done, Failure):
            raise RunError("regimen's side failed.", slug="benchmark-failed", got=done.reason)
        console.line(f"  regimen: {done.tokens_per_second:,.0f} tokens/s")
        return done

    def peer(
        self, entry: Configuration, steps: int, warm: int, floor: float = 0.0
    ) -> Run | Failure:
        """One run of a peer; it is left after its second step if that is below ``floor``."""
        python = self.pythons[entry.peer]
        if not python.is_file():
            return Failure(f"its environment is not there: {python}")
        command = [str(python), str(HERE / "peers" / entry.script)]
        settings = {**entry.settings, "max_steps": steps}
        environment = {**entry.environment, FLOOR: repr(floor)}
        # what is quoted may take longer than what is tried: without it there is no result
        limit = self.size.limit * (1 if floor else 3)
        began = time.perf_counter()
        done = run(command, self.files, settings, environment, warm=warm, limit=limit)
        took = time.perf_counter() - began
        if isinstance(done, Failure):
            shown = done.reason
        else:
            shown = f"{done.tokens_per_second:,.0f} tokens/s{', left early' if done.cut else ''}"
        console.line(f"  {entry.label}: {shown} ({took:.0f} s)")
        return done


def measure(bench: Bench, *, quick: bool) -> Measured:
    """Screen, then take turns."""
    bf16 = bf16_is_fast()
    found = Measured()
    if not quick:
        screen(bench, grid(bench.work, bf16), found)
    finalists = (
        [quick_best(bench.work, bf16)] if quick else fastest(found.screened, bench.size.finalists)
    )
    once = [] if quick else others(found.screened, finalists)
    take_turns(bench, finalists, once, found)
    return found


def screen(bench: Bench, entries: Iterable[Configuration], found: Measured) -> None:
    """Every entry once, into ``found``; the first step is not counted."""
    best = 0.0
    for entry in entries:
        floor = 0.0 if entry.defaults else CUT * best
        steps = bench.size.defaults_steps if entry.defaults else bench.size.screening_steps
        done = bench.peer(entry, steps, 1, floor)
        if isinstance(done, Failure):
            found.failures[entry] = done.reason
            continue
        found.screened[entry] = [done]
        if not entry.defaults:
            best = max(best, done.tokens_per_second)


def fastest(runs: Runs, count: int) -> list[Configuration]:
    """The entries with the highest median speed, fastest first; defaults compete in no case."""
    entries = sorted((e for e in runs if not e.defaults), key=lambda e: -speed(runs[e]))
    return entries[:count]


def others(screened: Runs, finalists: Sequence[Configuration]) -> list[Configuration]:
    """The fastest entry of each peer that has none among the finalists."""
    missing = {e.peer: None for e in screened if e.peer not in {f.peer for f in finalists}}
    found: list[Configuration] = []
    for peer in missing:
        found += fastest({e: r for e, r in screened.items() if e.peer == peer}, 1)
    return found


def take_turns(
    bench: Bench,
    finalists: Sequence[Configuration],
    once: Sequence[Configuration],
    found: Measured,
) -> None:
    """regimen, peer, regimen, peer ...; the finalists ``repeats`` times, ``once`` one time.

    The defaults of TRL follow in the first turns.
    """
    size = bench.size
    for turn in range(size.repeats):
        for entry in (*finalists, *(once if turn == 0 else ())):
            found.ours.append(bench.regimen())
            _again(bench.peer, entry, size.peer_steps, size.warm, found)
        if turn < size.defaults_repeats:
            _again(bench.peer, defaults(bench.work), size.defaults_steps, 1, found)


def _again(
    peer: Callable[[Configuration, int, int], Run | Failure],
    entry: Configuration,
    steps: int,
    warm: int,
    found: Measured,
) -> None:
    """One more run of an entry that is quoted.

    Raises:
        RunError: it failed.
    """
    key = next((e for e in found.finals if e.label == entry.label), entry)
    done = peer(entry, steps, warm)
    if isinstance(done, Failure):
        raise RunError(
            "A configuration of a peer that is quoted failed.",
            slug="benchmark-failed",
            got=f"{entry.label}: {done.reason}",
        )
    found.finals.setdefault(key, []).append(done)


def speed(runs: Sequence[Run]) -> float:
    """Median tokens a second."""
    return statistics.median(run.tokens_per_second for run in runs)


def memory(runs: Sequence[Run]) -> float:
    """Median bytes above what was resident after the imports."""
    return statistics.median(run.grown_bytes for run in runs)
