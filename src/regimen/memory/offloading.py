"""Tensors that wait for the backward pass in the CPU's memory, copied while the device computes.

Copies away and back run on a stream of their own. In the backward pass a tensor is asked for in the
opposite order, so the one that was kept before it is on its way back meanwhile: two are on the
device at a time (Rajbhandari et al. 2020, *ZeRO*, section 6.1, arXiv 1910.02054).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


class Side:
    """A second stream of a device; on devices without streams, everything happens in turn."""

    def __init__(self, device: torch.device) -> None:
        there = device.type == "cuda" and torch.cuda.is_available()
        streams: Any = torch.cuda.Stream
        self.stream: Any = streams(device) if there else None

    def after_main(self) -> AbstractContextManager[Any]:
        """Inside, work goes to the second stream, after what the first was given until now."""
        if self.stream is None:
            return nullcontext()
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))
        return torch.cuda.stream(self.stream)

    def mark(self) -> Any:
        """What tells that the second stream has come to this point."""
        return None if self.stream is None else self.stream.record_event()

    def main_waits(self, mark: Any) -> None:
        """The first stream goes on once the second has come to the mark."""
        if mark is not None:
            torch.cuda.current_stream(self.stream.device).wait_event(mark)

    def used_here(self, tensor: Tensor) -> None:
        """The memory of a tensor of the first stream is free only once the second is done."""
        if self.stream is not None:
            tensor.record_stream(self.stream)

    def used_there(self, tensor: Tensor) -> None:
        """The memory of a tensor of the second stream is free only once the first is done."""
        if self.stream is not None:
            tensor.record_stream(torch.cuda.current_stream(self.stream.device))


class Offloaded:
    """A tensor in the CPU's memory, on its way there or back.

    Args:
        tensor: on the device.
        side: its second stream.
        before: what was kept before it, which will be asked for after it.
    """

    def __init__(self, tensor: Tensor, side: Side, before: Offloaded | None) -> None:
        self.device, self.side, self.before = tensor.device, side, before
        pinned = side.stream is not None
        self.kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned)
        with side.after_main():
            self.kept.copy_(tensor, non_blocking=True)
            side.used_here(tensor)
        self.there: Tensor | None = None
        self.mark: Any = None

    def fetch(self) -> None:
        """Begin to copy it back, if nobody has."""
        if self.there is None:
            # the second stream does one copy after another, so the way there is over by then
            with self.side.after_main():
                self.there = self.kept.to(self.device, non_blocking=True)
            self.mark = self.side.mark()

    def tensor(self) -> Tensor:
        """The tensor; the one before it is on its way then."""
        self.fetch()
        there, self.there = self.there, None
        assert there is not None
        self.side.main_waits(self.mark)
        self.side.used_there(there)
        before, self.before = self.before, None
        if before is not None:
            before.fetch()
        return there


def to_cpu(least: int) -> tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]:
    """What is kept in the place of a tensor, and the way back, for tensors of ``least`` bytes."""
    sides: dict[torch.device, Side] = {}
    last: dict[torch.device, Offloaded] = {}

    def pack(tensor: Tensor) -> Any:
        if tensor.device.type == "cpu" or tensor.numel() * tensor.element_size() < least:
            return tensor
        device = tensor.device
        if device not in sides:
            sides[device] = Side(device)
        made = last[device] = Offloaded(tensor, sides[device], last.get(device))
        return made

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        assert isinstance(kept, Offloaded)
        if last.get(kept.device) is kept:
            del last[kept.device]
        return kept.tensor()

    return pack, unpack
