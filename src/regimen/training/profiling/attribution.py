"""Seconds by part from the events of torch's profiler.

In the forward pass hooks mark the parts. In the backward pass torch's engine tells when it ran
which node, and the node's sequence number is that of the operation that made it, in the forward
pass: its time belongs to the part in which that operation lay. Every instant counts for the
innermost name that covers it, so that the parts add up to the marked time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from regimen.models.forward import LanguageModel, backbone_of
from regimen.models.marks import LATE, PREFIX, mark
from regimen.models.parts import ATTENTION, HEAD, NETWORK, NORMS, REST, parts_below

Label = tuple[str, str]
"""A part and what it does: forward, backward, again (forward once more in the backward pass)."""

NODE, GRADIENT = "autograd::engine::evaluate_function: ", "AccumulateGrad"
DATA, CLIP, OPTIMIZER, REPORT = "data, batching", "gradient clipping", "optimizer", "logging"
MARKS: dict[str, Label] = {
    "data": (DATA, "other"),
    "forward": (REST, "forward"),
    "head": (HEAD, "forward"),
    LATE: (HEAD, "backward"),
    "backward": (REST, "backward"),
    "clip": (CLIP, "other"),
    "optimizer": (OPTIMIZER, "other"),
    "report": (REPORT, "other"),
    **{part: (part, "forward") for part in (ATTENTION, NETWORK, NORMS)},
}
"""What each mark of the loop and of the hooks stands for."""


class Event(Protocol):
    """What is used of ``torch.autograd.profiler_util.FunctionEvent``; times are microseconds."""

    name: str
    time_range: Any
    sequence_nr: int


@contextmanager
def marked_parts(model: LanguageModel) -> Iterator[None]:
    """Inside, the forward pass of each part carries its mark."""
    handles = []
    for part, _, module in parts_below(backbone_of(model.model)):
        opened: list[Any] = []

        def begin(_module: Any, _args: Any, part: str = part, opened: list[Any] = opened) -> None:
            opened.append(mark(part))
            opened[-1].__enter__()

        def end(_module: Any, _args: Any, _out: Any, opened: list[Any] = opened) -> None:
            opened.pop().__exit__(None, None, None)

        handles.append(module.register_forward_pre_hook(begin))
        # recomputation leaves a module by an exception once it has what it needs
        handles.append(module.register_forward_hook(end, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def seconds_by_label(events: Iterable[Event]) -> dict[Label, float]:
    """Seconds of each part in each pass; they do not overlap.

    Args:
        events: of one thread that ran both passes, as on a CPU, in any order.
    """
    found: dict[Label, float] = {}
    made: dict[int, str] = {}  # by sequence number: the part whose operation made the node
    stack: list[tuple[float, Label]] = []
    now, last = 0.0, REST

    def until(time: float) -> None:
        """Count the time up to here, and leave what ended before."""
        nonlocal now
        while stack and stack[-1][0] <= time:
            end, label = stack.pop()
            found[label] = found.get(label, 0.0) + max(end - now, 0.0) * 1e-6
            now = max(now, end)
        if stack:
            label = stack[-1][1]
            found[label] = found.get(label, 0.0) + max(time - now, 0.0) * 1e-6
        now = max(now, time)

    for event in sorted(events, key=lambda e: (e.time_range.start, -e.time_range.end)):
        until(event.time_range.start)
        back = any(label[1] == "backward" for _, label in stack)
        if event.name.startswith(PREFIX):
            part, way = MARKS[event.name.removeprefix(PREFIX)]
            way = "again" if back and way == "forward" else way
            stack.append((event.time_range.end, (part, way)))
        elif event.name.startswith(NODE):
            # a gradient is added up directly after the node that gave it
            part = last if GRADIENT in event.name else made.get(event.sequence_nr, REST)
            last = part
            stack.append((event.time_range.end, (part, "backward")))
        elif event.sequence_nr >= 0 and stack and not back:
            # several operations may carry a number; the last of them made the node
            made[event.sequence_nr] = stack[-1][1][0]
    until(float("inf"))
    return found
