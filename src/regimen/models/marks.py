"""Names for what a step does, which torch's profiler sees.

A mark costs a few microseconds and nothing else; it changes no number.
"""

from __future__ import annotations

from torch.profiler import record_function

PREFIX = "regimen."
LATE = "head gradient"
"""The mark under which a head's gradient is formed where that waits for the backward pass."""
PHASES = ("data", "forward", "head", "backward", "clip", "optimizer", "report", LATE)
"""What is marked; the head lies inside the forward pass, its late gradient in the backward pass."""


def mark(name: str) -> record_function:
    """A context manager: what happens inside carries this name in a profile."""
    return record_function(PREFIX + name)
