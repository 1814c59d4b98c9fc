"""The options by which a training takes less memory, and what each is expected to cost.

Those that leave losses and gradients as they are come without being asked for; those that change
what is learnt are tried where the settings allow them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from regimen.settings.memory import returned_by_itself
from regimen.settings.optimizers import FUSED

SLOWER: Mapping[str, Mapping[Any, float]] = {
    "activations": {"keep": 1.0, "selective": 1.1, "full": 1.3, "offload": 1.4},
    "allocator": {None: 1.0, "return": 1.15},
    "stream": {False: 1.0, True: 1.5},
    "quantise": {None: 1.0, "int8": 1.3, "nf4": 1.4},
    "optimizer": {"adamw": 1.0, "adamw_8bit": 1.05, "adafactor": 1.05, "lomo": 1.1},
    "dtype": {"float32": 1.0, "bfloat16": 1.05},
}
"""Time of a step with an option, roughly, as a multiple of that without: it decides what is tried
first, and no more. What a plan costs is measured."""

HALVED = 1.05
"""The same for micro-batches of half the tokens."""

MOST_HALVINGS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to arrange a training.

    Args:
        values: of the settings that differ: a key of ``SLOWER`` each.
        halvings: of the micro-batch, with as many doublings of the accumulation.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    halvings: int = 0

    @property
    def slower(self) -> float:
        """The expected time of a step, as a multiple of that of the plainest way."""
        factor = HALVED**self.halvings
        for name, value in self.values.items():
            factor *= SLOWER[name][value]
        return factor

    @property
    def words(self) -> str:
        """For a table."""
        named = [
            f"{name}: {'true' if value is True else value}"
            for name, value in self.values.items()
            if value not in (None, False)
        ]
        if self.halvings:
            named.append(f"micro-batches / {2**self.halvings}")
        return ", ".join(named) or "as the settings say"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a search may change, and from where it starts.

    Args:
        activations, allocator, stream, quantise, optimizer, dtype: as the settings have them.
        tokens_per_batch, max_length: a micro-batch holds the longest row.
        accumulation: micro-batches of a step.
        streams: whether the base may lie on disk.
        quantises: whether the base may be quantised: it is frozen, and is not already.
        allow: of ``quantise``, ``optimizer``, ``dtype``: what may change although it changes what
            is learnt.
    """

    activations: str = "keep"
    allocator: str | None = None
    stream: bool = False
    quantise: str | None = None
    optimizer: str = "adamw"
    dtype: str = "float32"
    tokens_per_batch: int = 4096
    max_length: int = 1024
    accumulation: int = 1
    streams: bool = False
    quantises: bool = False
    allow: Sequence[str] = ()


def options(asked: Asked) -> list[Option]:
    """Every way that is allowed, the one that is expected to be fastest first.

    What the settings ask for is never undone: a search only goes on from it.
    """
    named = list(_values(asked))
    ways = (
        dict(zip(named, values, strict=True))
        for values in product(*(_values(asked)[name] for name in named))
    )
    found = [
        Option(values=values, halvings=halvings)
        for values in ways
        if not _returns_anyway(values, asked)
        for halvings in range(_halvings(asked) + 1)
        if not _adds_up(values, halvings, asked)
    ]
    # of equally fast ones, the one that changes less
    return sorted(found, key=lambda one: (one.slower, one.halvings))


def _returns_anyway(values: Mapping[str, Any], asked: Asked) -> bool:
    """Whether a way asks for freed blocks to be returned that are returned without being asked."""
    return values.get("allocator") is not None and returned_by_itself(
        values["activations"],
        stream=values.get("stream", asked.stream),
        quantised=values.get("quantise", asked.quantise) is not None,
    )


def _adds_up(values: Mapping[str, Any], halvings: int, asked: Asked) -> bool:
    """Whether gradients of several micro-batches would be added up for an optimizer that steps
    inside the backward pass of each."""
    several = halvings > 0 or asked.accumulation > 1
    return values.get("optimizer", asked.optimizer) in FUSED and several


def _values(asked: Asked) -> dict[str, tuple[Any, ...]]:
    """The values of each setting that may be tried, that of the settings first."""
    ways = tuple(SLOWER["activations"])
    found: dict[str, tuple[Any, ...]] = {"activations": ways[ways.index(asked.activations) :]}
    if asked.allocator is None:
        found["allocator"] = tuple(SLOWER["allocator"])
    if asked.stream:
        found["stream"] = (True,)
    elif asked.streams:
        found["stream"] = (False, True)
    for name, value in (
        ("quantise", asked.quantise),
        ("optimizer", asked.optimizer),
        ("dtype", asked.dtype),
    ):
        possible = name != "quantise" or asked.quantises
        if name in asked.allow and possible and value in SLOWER[name]:
            known = tuple(SLOWER[name])
            found[name] = known[known.index(value) :]
    return found


def _halvings(asked: Asked) -> int:
    """How often a micro-batch can be halved and still hold the longest row."""
    count = 0
    while count < MOST_HALVINGS and asked.tokens_per_batch >> (count + 1) >= asked.max_length:
        count += 1
    return count


def changes(option: Option, asked: Asked, accumulation: int) -> dict[str, Any]:
    """The settings of a way: dotted names below the stage's section, with their values."""
    found = {_NAMES.get(name, name): value for name, value in option.values.items()}
    if option.halvings:
        found["tokens_per_batch"] = asked.tokens_per_batch >> option.halvings
        found["gradient_accumulation_steps"] = accumulation << option.halvings
    return found


_NAMES = {
    "activations": "memory.activations",
    "allocator": "memory.allocator",
    "stream": "memory.stream",
    "dtype": "model.dtype",
}
