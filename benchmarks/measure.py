"""What is measured inside a process: seconds and tokens of each step, and resident memory.

Standard library only, so that a peer's environment can import it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int:
    """Resident memory now; the peak so far where there is no ``/proc``."""
    return _status("VmRSS") or _max_rss()


def reset_peak() -> bool:
    """Start the kernel's count of peak resident memory anew; False where that cannot be done."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int:
    """Peak resident memory since the last ``reset_peak``, else of the process."""
    return _status("VmHWM") or _max_rss()


def _status(name: str) -> int:
    if not _STATUS.is_file():
        return 0
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0


def _max_rss() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step: seconds since training began, of the clock and of the processors."""

    ended: float
    cpu: float
    tokens: int
    supervised: int
    loss: float


class TooSlow(Exception):
    """Raised out of the peer's own loop: the run is far behind the best so far, and is left."""


FLOOR = "BENCH_FLOOR"
"""Environment variable: tokens a second below which a run is left after its second step."""


@dataclass(slots=True)
class Recorder:
    """Collects the steps and the memory of one process; made after its imports."""

    imported: int = field(default_factory=resident_bytes)
    peak_was_reset: bool = field(default_factory=reset_peak)
    began: float = 0.0
    steps: list[Step] = field(default_factory=list)
    floor: float = field(default_factory=lambda: float(os.environ.get(FLOOR, 0)))
    cut: bool = False
    peak: int = 0

    def begin(self) -> None:
        """Training starts now."""
        self.began = time.perf_counter()

    def step(self, tokens: int, supervised: int, loss: float) -> None:
        """An optimizer step has ended; ``tokens`` are those that are no padding.

        Raises:
            TooSlow: the second step was below the floor.
        """
        ended = time.perf_counter() - self.began
        self.steps.append(Step(ended, time.process_time(), tokens, supervised, loss))
        if len(self.steps) == 2 and tokens < self.floor * (ended - self.steps[0].ended):
            self.cut = True
            raise TooSlow

    def stop(self) -> None:
        """What comes after is no part of the work: the peak is that until now."""
        self.peak = peak_bytes()

    def write(self, path: Path, **extra: Any) -> None:
        """Write what was measured as JSON."""
        result = {
            "steps": [asdict(step) for step in self.steps],
            "imported": self.imported,
            "peak": self.peak or peak_bytes(),
            "cut": self.cut,
            "peak_was_reset": self.peak_was_reset,
            **extra,
        }
        path.write_text(json.dumps(result))
