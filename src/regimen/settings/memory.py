"""How a training gets by with less memory: what is kept of activations, where the base lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Strict

from regimen.settings.base import Conflict, Count, Section, Text

UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


def in_bytes(size: str) -> int:
    """A size with its unit in bytes: ``8GiB``, ``1.5 GB``.

    Raises:
        ValueError: it is no number above 0 with a unit.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(MB|GB|MiB|GiB)", size.strip())
    if found is None or not float(found[1]):
        raise ValueError(f"{size!r} is no size; expected a number with MB, GB, MiB or GiB: 8GiB")
    return round(float(found[1]) * UNITS[found[2]])


def _size(size: str) -> str:
    in_bytes(size)
    return size


Size = Annotated[Text, AfterValidator(_size)]


def returned_by_itself(activations: str, *, stream: bool, quantised: bool) -> bool:
    """Whether freed blocks are returned where ``allocator`` says nothing.

    A quantised base makes each weight anew for its products: blocks of many sizes, which took four
    times what is in use when they were kept.
    """
    return quantised or stream or activations == "offload"


class MemorySettings(Section):
    """What is kept in memory while training. Only ``allow`` lets losses and gradients change."""

    budget: Size | None = None
    """Most memory that the training may take, libraries included, such as ``8GiB``: resident memory
    of the process on a CPU, memory of the device on an accelerator. The fastest arrangement that
    keeps to it is found before the first step (``regimen plan`` shows it); what the settings ask
    for is not undone."""

    allow: Annotated[tuple[Literal["quantise", "optimizer", "dtype"], ...], Strict(False)] = ()
    """What ``budget`` may change although it changes what is learnt: put a frozen base into fewer
    bits, take an optimizer with less state, hold the weights in bf16."""

    activations: Literal["keep", "selective", "full", "offload"] = "keep"
    """What is kept for the backward pass: everything; everything but what is inside feed-forward
    networks (``selective``); the input of each layer (``full``); that, on disk or in the CPU's
    memory (``offload``). The rest is computed again."""

    offload_to: Literal["cpu", "disk"] | None = None
    """Where ``offload`` puts the inputs of layers; when not given, the CPU's memory for a model on
    an accelerator, and the disk for one on the CPU."""

    offload_directory: Text | None = None
    """Directory of files that ``offload`` and ``stream`` need while training; the run's when not
    given. They have no names, and are gone when the process is."""

    tiled_mlp: Count | None = None
    """Tokens that a feed-forward network works on at a time, so that what is inside it never exists
    for all tokens; all at once when not given."""

    stream: bool = False
    """Leave the frozen base on disk: the weights of a layer are read when it runs, and let go
    after it. Needs an adapter that leaves the base as it is."""

    allocator: Literal["keep", "return"] | None = None
    """What becomes of blocks of memory that are freed: kept for the next ones, or returned to the
    system at once, which is slower (8% measured) and takes less memory (Linux with glibc).
    Returned with ``quantise``, ``offload`` and ``stream`` when not given, and kept otherwise."""

    def returns_blocks(self, *, quantised: bool) -> bool:
        """Whether freed blocks are returned."""
        if self.allocator is None:
            return returned_by_itself(self.activations, stream=self.stream, quantised=quantised)
        return self.allocator == "return"

    def conflicts(self) -> Iterator[Conflict]:
        """Places for what is moved, where something is."""
        if self.allow and self.budget is None:
            yield Conflict(
                what="says what a budget may change, and there is no budget",
                at=("allow",),
                fix="Add 'budget', for example 8GiB, or remove it.",
            )
        if self.offload_to is not None and self.activations != "offload":
            yield Conflict(
                what=f"says where activations go, and activations is {self.activations!r}",
                at=("offload_to",),
                fix="Set 'activations: offload', or remove it.",
            )
        to_disk = self.activations == "offload" and self.offload_to != "cpu"
        if self.offload_directory is not None and not to_disk and not self.stream:
            yield Conflict(
                what="names a directory, and nothing goes to disk",
                at=("offload_directory",),
                fix="Set 'activations: offload' or 'stream: true', or remove it.",
            )


def of_memory(
    memory: MemorySettings, adapter: Any, *, checkpointing: bool, own: tuple[str, ...]
) -> Iterator[Conflict]:
    """What ``memory`` and the rest of a training demand of each other.

    Args:
        memory: the section.
        adapter: the section of the adapter, or None.
        checkpointing: the setting ``gradient_checkpointing``.
        own: kinds of adapter that train weights of the base.
    """
    if checkpointing and memory.activations in ("selective", "offload"):
        yield Conflict(
            what=f"is 'activations: full', and memory.activations is {memory.activations!r}",
            at=("gradient_checkpointing",),
            fix="Remove one of the two.",
        )
    if not memory.stream:
        return
    if adapter is None:
        yield Conflict(
            what="needs an adapter: weights that are left on disk cannot be trained",
            at=("memory", "stream"),
            fix="Add an 'adapter' section, for example {kind: lora}, or remove 'stream'.",
        )
    elif adapter.kind in own:
        yield Conflict(
            what=f"leaves the base on disk, and {adapter.kind} trains weights of the base",
            at=("memory", "stream"),
            fix="Remove 'stream', or choose another adapter.kind, for example lora.",
        )
