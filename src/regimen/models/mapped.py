"""Weights that lie in files: mapped into memory, read where they are used, and let go again.

A page of a mapped file counts as memory of the process once it has been read, and until it is
released. Released, it stays in the system's cache of files for as long as there is room.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor

_RELEASE = getattr(mmap, "MADV_DONTNEED", None)
_FETCH = getattr(mmap, "MADV_WILLNEED", None)


class Mapping:
    """A file as memory.

    What is written to the tensors is not written to the file, and lost with the next release. The
    tensors keep the memory; who releases it keeps this.

    Args:
        descriptor: of an open file, which may be closed afterwards.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = os.dup(descriptor)
        weakref.finalize(self, os.close, self._file)
        self._memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
        whole = torch.frombuffer(self._memory, dtype=torch.uint8)
        self.address, self.size = whole.data_ptr(), len(self._memory)
        _ALL.add(self)

    def tensor(self, start: int, shape: Iterable[int], dtype: torch.dtype) -> Tensor:
        """The tensor at an offset, which is a multiple of its numbers' size."""
        shape = tuple(shape)
        flat = torch.frombuffer(self._memory, dtype=dtype, count=prod(shape), offset=start)
        return flat.view(shape)

    def place(self, tensor: Tensor) -> tuple[int, int] | None:
        """Where a tensor's bytes begin and end in the file; None if it does not lie here."""
        start = tensor.data_ptr() - self.address
        if tensor.device.type != "cpu" or not 0 <= start < self.size:
            return None
        return start, min(start + tensor.numel() * tensor.element_size(), self.size)

    def release(self, start: int, end: int) -> None:
        """The pages of these bytes are memory of the process no longer."""
        self._advise(_RELEASE, start, end)

    def fetch(self, start: int, end: int) -> None:
        """The system may read these bytes from the disk meanwhile."""
        self._advise(_FETCH, start, end)

    def unaligned(self, start: int, shape: Iterable[int], dtype: torch.dtype) -> Tensor:
        """A copy of the tensor at any offset."""
        shape = tuple(shape)
        length = prod(shape) * dtype.itemsize
        flat = torch.frombuffer(self._memory, dtype=torch.uint8, count=length, offset=start)
        return flat.clone().view(dtype).view(shape)

    def is_as_in_file(self, start: int, end: int) -> bool:
        """Whether nothing was written to these bytes."""
        return os.pread(self._file, end - start, start) == self._memory[start:end]

    def _advise(self, what: int | None, start: int, end: int) -> None:
        start -= start % mmap.PAGESIZE
        if what is not None and end > start:
            self._memory.madvise(what, start, end - start)


_ALL: weakref.WeakSet[Mapping] = weakref.WeakSet()


def mapping_of(tensor: Tensor) -> Mapping | None:
    """What a tensor lies in, if that is a mapped file."""
    return next((one for one in _ALL if one.place(tensor) is not None), None)


def release(tensor: Tensor) -> None:
    """Let the pages of a tensor go that lies in a mapped file; nothing happens to another."""
    mapping = mapping_of(tensor)
    place = mapping.place(tensor) if mapping is not None else None
    if mapping is not None and place is not None:
        mapping.release(*place)
