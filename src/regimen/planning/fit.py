"""Bytes of a training by component: measured on the model with few layers, extended to all.

Weights, gradients, the optimizer's state and what a step allocates grow by the same number of bytes
with every layer. So two short models of the same width, with the same adapter, optimizer and
micro-batch, say what the whole model takes; embeddings, head and batch are in what does not grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

SLACK = 0.04
"""Of what torch allocates: what its blocks lose to the allocator. Measured over the configurations
of tests/stages/test_plan.py."""

HOLES = 0.12
"""Of what a step allocates outside the pool of blocks in the layers that short models do not have:
what the heap loses besides. Measured over the configurations of benchmarks/plan.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Bytes by component.

    Args:
        libraries: Python and what is imported, before a model is there.
        weights: that no step changes.
        trained: weights that the optimizer steps.
        optimizer: its state.
        step: the most that a step has at a time beside these: activations, gradients, the head.
        apart: what else the process holds, such as compiled kernels and what the allocator keeps.
    """

    libraries: float = 0.0
    weights: float = 0.0
    trained: float = 0.0
    optimizer: float = 0.0
    step: float = 0.0
    apart: float = 0.0

    @property
    def total(self) -> float:
        """The resident peak."""
        return float(sum(getattr(self, one.name) for one in fields(self)))

    @property
    def above_libraries(self) -> float:
        """The same beyond imports."""
        return self.total - self.libraries

    def as_dict(self) -> dict[str, float]:
        """For JSON: bytes by component, and all."""
        return {**{name: round(value) for name, value in asdict(self).items()}} | {
            "total": round(self.total)
        }


GROWING = ("weights", "trained", "optimizer", "step")
MOMENTS = ("late", "stepping")
"""What a step allocates at most since a head's gradient that waited, and while the optimizer steps;
``step`` is the most before."""


def extended(
    few: Mapping[str, float], more: Mapping[str, float], layers: tuple[int, int, int]
) -> Parts:
    """The parts of a model of ``layers[2]`` layers from those of models of the first two.

    A step's peak lies in one of three moments, which grow by themselves (`Allocated`). ``idle`` is
    what the pool holds of it.

    Raises:
        ValueError: the two have as many layers.
    """
    short, longer, whole = layers
    if longer == short:
        raise ValueError("two models of as many layers say nothing of one with more")
    found = {}
    for name in (*GROWING, *MOMENTS, "idle"):
        before, after = few.get(name, 0.0), more.get(name, 0.0)
        found[name] = after + (after - before) / (longer - short) * (whole - longer)
    heap = found["step"] - found.pop("idle") - (few["step"] - few.get("idle", 0.0))
    found["step"] = max(found["step"], *(found.pop(name) for name in MOMENTS))
    allocated = sum(found.values())
    apart = max(few.get("apart", 0.0), more.get("apart", 0.0)) + SLACK * allocated
    apart += HOLES * max(heap, 0.0)
    return Parts(libraries=more["libraries"], apart=apart, **found)


def between(few: Parts, many: Parts, share: float) -> Parts:
    """The parts at a size between two: ``share`` of the way from the first to the second."""
    return Parts(
        **{
            one.name: getattr(few, one.name)
            + share * (getattr(many, one.name) - getattr(few, one.name))
            for one in fields(Parts)
        }
    )
