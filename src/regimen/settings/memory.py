"""How a training gets by with less memory: what is kept of activations, where the base lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from regimen.settings.base import Conflict, Count, Section, Text


class MemorySettings(Section):
    """What is kept in memory while training; none of it changes losses or gradients."""

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

    def conflicts(self) -> Iterator[Conflict]:
        """Places for what is moved, where something is."""
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
