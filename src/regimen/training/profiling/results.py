"""What a profile finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from regimen.models.arithmetic import Flop
from regimen.training.profiling.attribution import Label
from regimen.training.profiling.rates import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes. The components and ``temporary`` add up to ``allocated``; that, ``before`` and
    ``slack`` add up to ``peak``.

    Args:
        weights, gradients, optimizer: what these tensors hold, exactly.
        activations: what the forward pass below the head leaves for the backward pass.
        head: blocks that the head keeps, and the most that it allocates besides.
        temporary: the rest of the highest allocation; below 0 where not all of the components are
            there at the same time.
        allocated: the highest allocation of a step, with everything that was there before it.
        before: resident before the first step, without the weights: Python, libraries, data.
        slack: what the process occupies beyond: the allocator's free blocks, kernels' own memory.
        peak: resident, the highest of the plain steps before the profiler ran.
        is_of_steps: whether ``peak`` is of these steps alone, not of the process's whole life.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    head: int
    temporary: int
    allocated: int
    before: int
    slack: int
    peak: int
    is_of_steps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What was measured. Seconds, FLOP, tokens and faults are those of a step, on average.

    Args:
        seconds: of a plain step.
        profiled_seconds: of a step under the profiler, which ``parts`` and ``between`` add up to.
        processor: seconds of processor time in a second of plain steps; below 1 something else had
            the processors.
        overhead: how much more processor time a token took under the profiler, as a share.
        parts: seconds by part and pass.
        between: seconds of the loop outside all parts.
        flop: by part, as the model's arithmetic has it.
        flop_per_second: of plain steps.
        rates: of the matrix products alone, by type.
        dtype: the type in which training forms them.
        utilisation: ``flop_per_second`` over the rate of that type.
        system_share: of processor time, spent in the kernel.
        faults: page faults; None where the system does not count them. Both these are of the plain
            steps before the profiler ran.
    """

    steps: int
    profiled_steps: int
    tokens: float
    supervised: float
    micro_batches: float
    seconds: float
    profiled_seconds: float
    processor: float
    overhead: float
    parts: Mapping[Label, float]
    between: float
    flop: Mapping[str, Flop]
    flop_per_second: float
    rates: Mapping[str, Rate]
    dtype: str
    utilisation: float
    system_share: float
    faults: float | None
    memory: Memory
