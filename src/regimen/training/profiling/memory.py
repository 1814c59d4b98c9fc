"""Bytes by component: what tensors hold, what a step allocates, what the process occupies."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regimen.models.marks import LATE, PREFIX
from regimen.models.quantised import plain_parts

BLOCK = "[memory]"
"""The name that torch's profiler gives to an allocation (positive) or a release."""


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of the memory behind tensors; what several of them share counts once."""
    found: dict[int, int] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def weights(model: Any) -> int:
    """Parameters and buffers, with the scales of quantised ones."""
    return bytes_of(weights_of(model))


def weights_of(model: Any) -> Iterator[Tensor]:
    """The tensors of ``weights``."""
    for parameter in model.parameters():
        yield from plain_parts(parameter)
        yield from tensors_in(getattr(parameter, "quant_state", None))
        yield from tensors_in(getattr(parameter, "SCB", None))
    yield from model.buffers()


def gradients(parameters: Iterable[Tensor]) -> int:
    """The gradients that are there."""
    return bytes_of(p.grad for p in parameters if p.grad is not None)


def optimizer_states(optimizer: torch.optim.Optimizer) -> int:
    """Moments and step counts; also those of an optimizer that is made of others."""
    parts = getattr(optimizer, "parts", None) or [optimizer]
    return bytes_of(t for part in parts for t in tensors_in(part.state))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested mappings, lists and plain objects, such as quantisation states.

    Of a tensor that is made of others, as torchao's, these are given: its own size is that of what
    it stands for.
    """
    if isinstance(value, Tensor) and hasattr(value, "__tensor_flatten__"):
        for name in value.__tensor_flatten__()[0]:
            yield from tensors_in(getattr(value, name))
    elif isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for entry in value.values():
            yield from tensors_in(entry)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from tensors_in(entry)
    elif hasattr(value, "__dict__"):
        yield from tensors_in(vars(value))


@dataclass(frozen=True, slots=True)
class Allocated:
    """What one step allocated through torch, in bytes above what was there before.

    ``activations``: what the forward pass below the head left for the backward pass; ``head``: the
    most that the head had at a time on top; ``peak``: the most at any moment of the step. Its
    moments grow with the layers each in a way of its own: ``stepping`` is the most while the
    optimizer steps, ``late`` the most since a head's gradient was begun that waited for the
    backward pass, ``early`` the most before.
    """

    activations: int
    head: int
    early: int
    late: int
    stepping: int

    @property
    def peak(self) -> int:
        """The most at any moment."""
        return max(self.early, self.late, self.stepping)


def allocated(profiler: torch.profiler.profile) -> Allocated:
    """Follow the allocations of one profiled step.

    torch's own summary adds them up by operation and loses their moments, so its raw events are
    read: ``profiler`` must have run with ``profile_memory``.
    """
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    changes: list[tuple[int, int]] = []
    event: Any  # its type hides what it tells of memory
    spans: dict[str, list[tuple[int, int]]] = {}
    for event in profiler.profiler.kineto_results.events():
        name, start = event.name(), event.start_ns()
        if name == BLOCK:
            changes.append((start, event.nbytes()))
        elif name.startswith(PREFIX):
            span = (start, start + event.duration_ns())
            spans.setdefault(name.removeprefix(PREFIX), []).append(span)
    return follow(changes, spans)


def follow(
    changes: Iterable[tuple[int, int]], spans: Mapping[str, list[tuple[int, int]]]
) -> Allocated:
    """``Allocated`` from (moment, bytes) of each change and the spans of the loop's marks.

    A step of several micro-batches has several forward spans; the largest counts.
    """
    level, levels = 0, []
    for moment, size in sorted(changes):
        level += size
        levels.append((moment, level))
    heads = sorted(spans.get("head", []))
    activations = most_in_head = 0
    for begin, _ in sorted(spans.get("forward", [])):
        head = next(((a, b) for a, b in heads if a >= begin), None)
        if head is None:
            continue
        before = _level(levels, head[0])
        activations = max(activations, before - _level(levels, begin))
        within = [size for moment, size in levels if head[0] <= moment <= head[1]]
        most_in_head = max(most_in_head, max(within, default=before) - before)
    waited = min((begin for begin, _ in spans.get(LATE, [])), default=math.inf)
    steps = spans.get("optimizer", [])
    found = {"early": 0, "late": 0, "stepping": 0}
    for moment, size in levels:
        inside = any(begin <= moment <= end for begin, end in steps)
        name = "stepping" if inside else "late" if moment >= waited else "early"
        found[name] = max(found[name], size)
    return Allocated(activations, most_in_head, **found)


def _level(levels: list[tuple[int, int]], moment: int) -> int:
    """What was allocated just before a moment."""
    return next((size for at, size in reversed(levels) if at < moment), 0)


def reset_peak() -> bool:
    """Begin a new resident peak where the system can (Linux); says whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_peak() -> int:
    """Highest resident bytes: since ``reset_peak`` where that works, else of the whole process."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return resident()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident() -> int:
    """Resident bytes now."""
    import psutil

    return int(psutil.Process().memory_info().rss)
