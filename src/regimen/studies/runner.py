"""Cells in processes of their own: cached, resumable, side by side, one failure stopping none.

A cell that is done has a manifest with its key, and is not made again. A study that is killed at
any moment goes on with the cells that are not done; a process whose study is gone ends itself.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from regimen.manifests import read_manifest
from regimen.processes import module_command, module_environment
from regimen.studies.cells import (
    FAILED,
    LOG,
    RESULT,
    Cell,
    Outcome,
    beside,
    read_outcome,
    write_cell,
)

MODULE = "regimen.stages.study_cell"
POLL_SECONDS = 0.1
TAIL = 1500
"""Characters of a log that are shown where a process died without a word."""

Told = Callable[[Outcome], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how cells are made.

    Args:
        directory: of the study; each cell has a directory below ``cells``.
        code: hash of the source code that a result depends on.
        jobs: processes side by side.
        threads: of each process.
        module: what a process runs, with the file of its cell and its directory.
    """

    directory: Path
    code: str
    jobs: int = 1
    threads: int = 1
    module: str = MODULE

    def place(self, cell: Cell) -> Path:
        """The directory of a cell."""
        return self.directory / "cells" / cell.name


@dataclass(frozen=True, slots=True)
class _Open:
    """A cell that is to be made: its key, and the directories of what it starts from."""

    outcome: Outcome
    key: Mapping[str, str]
    places: Sequence[str]


@dataclass(slots=True)
class _Running:
    outcome: Outcome
    process: subprocess.Popen[bytes]
    log: ExitStack


def run_cells(
    cells: Sequence[Cell],
    bench: Bench,
    told: Told | None = None,
    *,
    settled: Sequence[Outcome] = (),
) -> list[Outcome]:
    """Make every cell that is not done, and return what became of all, in order.

    Args:
        cells: with distinct names; those that others need stand before them.
        bench: where and how.
        told: called for each cell that is found done, is made or fails.
        settled: what became of cells in an earlier call; none of them is looked at again.

    Raises:
        ValueError: two cells of one name, or a need that is no cell before it.
    """
    _check(cells)
    outcomes = {one.cell.name: one for one in settled}
    waiting = [cell for cell in cells if cell.name not in outcomes]
    running: list[_Running] = []
    looked_at: dict[str, _Open] = {}

    def settle(outcome: Outcome) -> None:
        outcomes[outcome.cell.name] = outcome
        if told is not None:
            told(outcome)

    try:
        while waiting or running:
            for outcome in _ended(running):
                settle(outcome)
            waiting = _start(waiting, running, outcomes, looked_at, bench, settle)
            if running:
                time.sleep(POLL_SECONDS)
    finally:
        for one in running:
            one.process.terminate()
        for one in running:
            one.process.wait()
            one.log.close()
    return [outcomes[cell.name] for cell in cells]


def _check(cells: Sequence[Cell]) -> None:
    seen: set[str] = set()
    for cell in cells:
        if cell.name in seen:
            raise ValueError(f"two cells are called {cell.name!r}")
        if not set(cell.needs) <= seen:
            raise ValueError(f"cell {cell.name!r} needs {cell.needs}, which do not stand before it")
        seen.add(cell.name)


def _start(
    waiting: Sequence[Cell],
    running: list[_Running],
    outcomes: Mapping[str, Outcome],
    looked_at: dict[str, _Open],
    bench: Bench,
    settle: Told,
) -> list[Cell]:
    """Settle what is done or cannot be made, start what can be; returns what still waits.

    A cell is looked at once: only this process makes cells, so one that is open stays so.
    """
    left: list[Cell] = []
    for cell in waiting:
        needed = [outcomes.get(name) for name in cell.needs]
        if any(one is None for one in needed):
            left.append(cell)
            continue
        ready = [one for one in needed if one is not None]
        failed = [one.cell.name for one in ready if one.state != "done"]
        if failed:
            error = f"it starts from {failed[0]}, which failed"
            settle(Outcome(cell=cell, state="failed", directory=bench.place(cell), error=error))
            continue
        if cell.name not in looked_at:
            key = cell.key(bench.code, {one.cell.name: _content(one.directory) for one in ready})
            found = read_outcome(cell, bench.place(cell), key)
            if found.state == "done":
                settle(found)
                continue
            looked_at[cell.name] = _Open(found, key, [str(one.directory) for one in ready])
        if len(running) < bench.jobs:
            running.append(_process(looked_at[cell.name], bench))
        else:
            left.append(cell)
    return left


def _content(directory: Path) -> str:
    return read_manifest(directory).content_key


def _process(one: _Open, bench: Bench) -> _Running:
    """The process of a cell. What it says goes to a log beside the directory."""
    directory = one.outcome.directory
    file = write_cell(directory, one.outcome.cell, one.key, one.places)
    environment = module_environment(
        OMP_NUM_THREADS=str(bench.threads), TOKENIZERS_PARALLELISM="false"
    )
    stack = ExitStack()
    log = stack.enter_context(_log(directory).open("wb"))
    command = module_command(bench.module, str(file), str(directory))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
    )
    return _Running(one.outcome, process, stack)


def _log(directory: Path) -> Path:
    return beside(directory, LOG)


def _ended(running: list[_Running]) -> Iterable[Outcome]:
    """The outcomes of processes that have ended, which are taken from the list."""
    over = [one for one in running if one.process.poll() is not None]
    for one in over:
        running.remove(one)
        one.log.close()
        yield _outcome(one)


def _outcome(one: _Running) -> Outcome:
    """What a process left: its result, its error, or the end of its log."""
    directory, status = one.outcome.directory, one.process.returncode
    failed = beside(directory, FAILED)
    if status == 0 and (directory / RESULT).is_file():
        result = json.loads((directory / RESULT).read_text(encoding="utf-8"))
        return replace(one.outcome, state="done", result=result)
    if status == 1 and failed.is_file():
        error = str(json.loads(failed.read_text(encoding="utf-8"))["error"])
    else:
        said = _log(directory).read_text(encoding="utf-8", errors="replace")[-TAIL:]
        error = f"its process ended with status {status}; the end of its log:\n{said}"
    return replace(one.outcome, state="failed", error=error)
