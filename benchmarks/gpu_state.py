"""What gpu.py has measured so far: one JSON for each cell and side in a folder, and all in one.

A folder may be cut down to its ``gpu.json``, which holds the processes' results as well: a machine
that gives few files back loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_cells import CELLS, Cell, Side
from regimen.errors import RunError
from regimen.files import atomic_write, jsonable

WHOLE = "gpu.json"
Raw = Mapping[str, Any]
Found = dict[str, Raw]
"""Results of processes, by the key of their job."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A side of a cell: one process."""

    cell: Cell
    side: Side

    @property
    def key(self) -> str:
        """Its name, which is that of its file."""
        words = self.side.name.replace(",", "").split()
        return f"{self.cell.name}.{'-'.join(words)}"


def jobs_of(cells: Iterable[Cell]) -> list[Job]:
    """The processes of some cells in order, those that wait for the others last."""
    found = [Job(cell, side) for cell in cells for side in cell.sides]
    return sorted(found, key=lambda job: job.side.later)


def chosen(names: Sequence[str] | None) -> list[Cell]:
    """Cells by name, in the table's order; all of them where none is named.

    Raises:
        RunError: ``benchmark-cell`` for a name that no cell has.
    """
    unknown = [name for name in names or () if name not in CELLS]
    if unknown:
        raise RunError(
            "There is no such cell.",
            slug="benchmark-cell",
            got=", ".join(unknown),
            expected=", ".join(CELLS),
        )
    return [cell for cell in CELLS.values() if not names or cell.name in names]


def granted(side: Side, left: float) -> float:
    """Seconds that a process may take where ``left`` remain; 0 where it is not worth beginning."""
    return min(side.limit, left) if left >= side.expected else 0.0


def following(jobs: Sequence[Job], found: Mapping[str, Raw], left: float) -> Job | None:
    """The first job without a result that the time left is enough to begin; None without any."""
    waiting = (job for job in jobs if job.key not in found)
    return next((job for job in waiting if granted(job.side, left)), None)


def settled(failure: str, job: Job, limit: float) -> Raw | None:
    """What is kept of a failure: nothing where the process had less time than is its own.

    Args:
        failure: why it gave no result.
        job: the process.
        limit: seconds that it had.
    """
    cut_short = failure.startswith("took more than") and limit < job.side.limit
    return None if cut_short else {"failed": failure}


def read_state(folder: Path) -> Found:
    """Everything that a folder holds; a file of its own goes before what ``gpu.json`` says."""
    found: Found = {}
    whole = folder / WHOLE
    if whole.is_file():
        found |= json.loads(whole.read_text()).get("processes", {})
    for path in sorted(folder.glob("*.*.json")):
        found[path.name.removesuffix(".json")] = json.loads(path.read_text())
    return found


def keep(folder: Path, key: str, raw: Raw) -> None:
    """Write the result of a process."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / f"{key}.json", json.dumps(jsonable(raw), allow_nan=False))


def forget_failures(folder: Path, found: Found, keys: Iterable[str]) -> Found:
    """The results without failures among some keys, whose files go as well."""
    failed = {key for key in keys if "failed" in found.get(key, {})}
    for key in failed:
        (folder / f"{key}.json").unlink(missing_ok=True)
    return {key: raw for key, raw in found.items() if key not in failed}


def carry_on(
    jobs: Sequence[Job],
    found: Found,
    folder: Path,
    carry_out: Callable[[Job, float], Raw],
    left: Callable[[], float],
) -> Found:
    """Run what has no result while time is left; writes each result at once.

    Args:
        jobs: in order.
        found: what is there already.
        folder: of the results.
        carry_out: runs a job within some seconds; a failure has the key ``failed``.
        left: seconds that remain.
    """
    late: set[str] = set()
    while True:
        remaining = left()
        job = following([job for job in jobs if job.key not in late], found, remaining)
        if job is None:
            return found
        limit = granted(job.side, remaining)
        raw: Raw | None = carry_out(job, limit)
        if raw is not None and "failed" in raw:
            raw = settled(raw["failed"], job, limit)
        if raw is None:
            late.add(job.key)
            continue
        found[job.key] = raw
        keep(folder, job.key, raw)
