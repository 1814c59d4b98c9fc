"""Names for what a step does, which torch's profiler sees.

A mark costs a few microseconds and nothing else; it changes no number.
"""

from __future__ import annotations

from torch.profiler import record_function

PREFIX = "regimen."
PHASES = ("data", "forward", "head", "backward", "clip", "optimizer", "report")
"""What the loop marks; the head lies inside the forward pass."""


def mark(name: str) -> record_function:
    """A context manager: what happens inside carries this name in a profile."""
    return record_function(PREFIX + name)
