"""What a study will cost, before it runs: from cells that are done, or from a short first one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from regimen.studies.cells import TIMES, Cell, read_outcome
from regimen.studies.design import changed
from regimen.studies.runner import Bench, run_cells

PROBE_SHARE = 0.1
"""Part of a cell's tokens that the measurement trains on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cells that are done and open, tokens still to train, and seconds of wall clock.

    ``measured`` says what the seconds rest on: ``cells`` of this study, or a short ``probe``.
    """

    done: int
    open: int
    tokens: int
    seconds: float
    measured: str

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def estimate(cells: Sequence[Cell], bench: Bench) -> Cost:
    """Seconds that the open cells take.

    The training time of a cell is taken to grow with its tokens, everything else to stay as it is
    in the cells that were measured. Without one, the first cell that trains is made with a tenth of
    its tokens, beside the study's cells; what it starts from is made for good.
    A measurement that fails gives 0 seconds and says why in ``measured``; the cell itself will then
    say what is wrong.
    """
    waiting = [cell for cell in cells if not _is_done(cell, bench)]
    tokens = sum(cell.tokens for cell in waiting)
    done = len(cells) - len(waiting)
    if not waiting:
        return Cost(done=done, open=0, tokens=0, seconds=0.0, measured="cells")
    known = _known(cells, bench)
    rates = [(_fixed(times), _training(times) / cell.tokens) for cell, times in known]
    measured = "cells"
    if not rates:
        probe = _probe(cells, waiting, bench)
        if isinstance(probe, str):
            return Cost(done=done, open=len(waiting), tokens=tokens, seconds=0.0, measured=probe)
        rates, measured = [probe], "probe"
    fixed = median(rate[0] for rate in rates)
    per_token = median(rate[1] for rate in rates)
    seconds = (fixed * len(waiting) + per_token * tokens) / bench.jobs
    return Cost(done=done, open=len(waiting), tokens=tokens, seconds=seconds, measured=measured)


def _is_done(cell: Cell, bench: Bench) -> bool:
    """Whether its directory is finished; needs are looked at when it runs."""
    if cell.needs:
        return (bench.place(cell) / "manifest.json").is_file()
    return read_outcome(cell, bench.place(cell), cell.key(bench.code, {})).state == "done"


def _known(cells: Sequence[Cell], bench: Bench) -> list[tuple[Cell, dict[str, float]]]:
    return [(cell, times) for cell in cells if cell.tokens and (times := _times(bench.place(cell)))]


def _times(directory: Path) -> dict[str, float]:
    """Seconds of the stages of a cell that is done."""
    file = directory / TIMES
    if not (directory / "manifest.json").is_file() or not file.is_file():
        return {}
    return {name: float(value) for name, value in json.loads(file.read_text()).items()}


def _training(times: dict[str, float]) -> float:
    return sum(value for name, value in times.items() if name.startswith(("tune", "align")))


def _fixed(times: dict[str, float]) -> float:
    return times.get("whole", sum(times.values())) - _training(times)


def _probe(
    cells: Sequence[Cell], waiting: Sequence[Cell], bench: Bench
) -> tuple[float, float] | str:
    """Seconds beside the training and per token of a short cell, or why there is none."""
    first = next((cell for cell in waiting if cell.tokens), None)
    if first is None:
        return "nothing to measure: no open cell trains"
    tokens = max(1, round(first.tokens * PROBE_SHARE))
    needed = _behind(first, cells)
    short = replace(first, factors={"probe": first.name}, tokens=tokens, work=_short(first, tokens))
    outcome = run_cells([*needed, short], bench)[-1]
    if outcome.state != "done":
        return f"the measurement failed: {outcome.error}"
    times = _times(outcome.directory)
    return _fixed(times), _training(times) / tokens


def _behind(cell: Cell, cells: Sequence[Cell]) -> list[Cell]:
    """The cells that a cell starts from, in the order in which they are made."""
    wanted = set(cell.needs)
    for one in reversed(cells):
        if one.name in wanted:
            wanted |= set(one.needs)
    return [one for one in cells if one.name in wanted]


def _short(cell: Cell, tokens: int) -> dict[str, Any]:
    """The cell's work with few tokens."""
    work = dict(cell.work)
    for stage in ("tune", "align"):
        if stage in work.get("settings", {}):
            work["settings"] = changed(work["settings"], {f"{stage}.max_tokens": tokens})
    if "form" in work:
        form = dict(work["form"])
        form["steps"] = max(1, tokens // form["tokens_per_batch"])
        work["form"] = form
    return work
