"""Blocks of steps of the real loop: some plain, some under torch's profiler."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from regimen.training.options import State
from regimen.training.profiling.memory import reset_peak, resident_peak

LONGEST = 30.0
"""Seconds after which a block has enough steps, whatever its number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A block: at least ``steps`` steps and ``seconds``, at most ``LONGEST`` seconds.

    ``profiler`` makes the profiler that runs through the block, if one does.
    """

    name: str
    steps: int
    seconds: float = 0.0
    profiler: Callable[[], torch.profiler.profile] | None = None


@dataclass(slots=True)
class Block:
    """What a block of steps took.

    ``batches`` are the numbers of its micro-batches (cursors of the loop). ``seconds`` are of wall
    time, ``user`` and ``system`` of processor time; ``faults`` are page faults, None where the
    system does not count them; ``peak`` is the resident peak in bytes, of this block alone where
    ``peak_is_own``.
    """

    name: str
    steps: int = 0
    tokens: int = 0
    supervised: int = 0
    batches: range = range(0)
    seconds: float = 0.0
    user: float = 0.0
    system: float = 0.0
    faults: int | None = None
    peak: int = 0
    peak_is_own: bool = False
    profiler: torch.profiler.profile | None = None


@dataclass(slots=True)
class Steps:
    """Cuts a run of the loop into blocks; ``after_step`` is its ``stop`` hook.

    What happens between two blocks (profilers begin and end) lies outside every block.
    """

    plans: Sequence[Plan]
    done: list[Block] = field(default_factory=list)
    _block: Block | None = None
    _began: float = 0.0
    _usage: tuple[float, float, int | None] = (0.0, 0.0, None)
    _state: State = field(default_factory=State)

    def begin(self) -> None:
        """Open the first block."""
        self._open()

    def note(self, state: State, _losses: Any) -> None:
        """The ``progress`` hook: what the step has read."""
        block, before = self._block, self._state
        assert block is not None
        block.tokens += state.tokens - before.tokens
        block.supervised += state.supervised - before.supervised
        first = block.batches.start if block.steps else before.cursor
        block.batches = range(first, state.cursor)
        self._state = replace(state)

    def after_step(self) -> bool:
        """Whether all blocks are done."""
        block, plan = self._block, self.plans[len(self.done)]
        assert block is not None
        block.steps += 1
        seconds = time.perf_counter() - self._began
        if (block.steps < plan.steps or seconds < plan.seconds) and seconds < LONGEST:
            return False
        self._close(block, seconds)
        if len(self.done) == len(self.plans):
            return True
        self._open()
        return False

    def _open(self) -> None:
        plan = self.plans[len(self.done)]
        self._block = Block(plan.name)
        self._block.peak_is_own = reset_peak()
        if plan.profiler is not None:
            self._block.profiler = plan.profiler()
            self._block.profiler.start()
        self._usage = usage()
        self._began = time.perf_counter()

    def _close(self, block: Block, seconds: float) -> None:
        user, system, faults = usage()
        block.seconds, block.peak = seconds, resident_peak()
        block.user, block.system = user - self._usage[0], system - self._usage[1]
        if faults is not None and self._usage[2] is not None:
            block.faults = faults - self._usage[2]
        if block.profiler is not None:
            block.profiler.stop()
        self.done.append(block)


def usage() -> tuple[float, float, int | None]:
    """User and system seconds of this process, and its page faults where they are counted."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        times = psutil.Process().cpu_times()
        return times.user, times.system, None
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime, used.ru_stime, used.ru_minflt + used.ru_majflt
