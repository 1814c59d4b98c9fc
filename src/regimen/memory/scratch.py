"""Files that nobody sees: space for what need not stay in memory, gone when the process is gone."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regimen.errors import TrainingError

PAGE = 1 << 16
"""Everything begins at a multiple of this many bytes: of the page size of every system."""

SPARE = 1 << 26
"""Bytes of a disk that are left free for everything else."""


def check_space(directory: Path, needed: int, what: str) -> None:
    """A disk must have room for what will be written to it.

    Args:
        directory: where; it exists.
        needed: bytes.
        what: is written, for the error.

    Raises:
        TrainingError: there is less.
    """
    free = shutil.disk_usage(directory).free
    if needed + SPARE > free:
        raise _too_small(directory, needed + SPARE, free, what)


def _too_small(directory: Path, needed: int, free: int, what: str) -> TrainingError:
    return TrainingError(
        f"The disk has no room for {what}.",
        slug="disk-too-small",
        got=f"{free / 2**30:.2f} GiB free",
        expected=f"{needed / 2**30:.2f} GiB",
        fix="Name a directory on a larger disk with memory.offload_directory, lower "
        "tokens_per_batch, or free space.",
        where=str(directory),
    )


class Scratch:
    """A file without a name, from which tensors are read back.

    It is removed by the system as soon as nobody has it open, also where the process is killed.
    What is written does not count as memory of the process.

    Args:
        directory: where; made if it is not there.
        expected: bytes that will be written, for which there must be room.
        what: is written, for errors.

    Raises:
        TrainingError: the disk is too small.
    """

    def __init__(self, directory: Path, expected: int, what: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        check_space(directory, expected, what)
        self.directory, self.what, self.size = directory, what, 0
        # without a name from the beginning where the system can, or else as soon as it is open
        self.file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115
        weakref.finalize(self, self.file.close)
        self._free: dict[int, list[int]] = {}

    def take(self, length: int) -> int:
        """The offset of ``length`` bytes that nobody has."""
        length = -(-length // PAGE) * PAGE
        free = self._free.get(length)
        if free:
            return free.pop()
        start, self.size = self.size, self.size + length
        return start

    def put_back(self, start: int, length: int) -> None:
        """Bytes that are no longer needed."""
        self._free.setdefault(-(-length // PAGE) * PAGE, []).append(start)

    def write(self, start: int, tensor: Tensor) -> None:
        """The bytes of a tensor of the CPU.

        Raises:
            TrainingError: the disk is full.
        """
        view, done = _bytes(tensor.detach().contiguous()), 0
        try:
            while done < len(view):
                done += os.pwrite(self.file.fileno(), view[done:], start + done)
        except OSError as error:
            free = shutil.disk_usage(self.directory).free
            raise _too_small(self.directory, len(view), free, self.what) from error

    def pad(self) -> None:
        """Make the file as long as what was taken of it."""
        self.file.truncate(self.size)

    def read(self, start: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """A tensor that was written there.

        Raises:
            OSError: the file does not have it.
        """
        out = torch.empty(shape, dtype=dtype)
        view, done = _bytes(out), 0
        while done < len(view):
            count = os.preadv(self.file.fileno(), [view[done:]], start + done)
            if not count:
                raise OSError("a scratch file is shorter than what was written to it")
            done += count
        return out


def _bytes(tensor: Tensor) -> Any:
    """The memory of a contiguous tensor of the CPU."""
    array: Any = tensor.flatten().view(torch.uint8).numpy()
    return memoryview(array)


class Kept:
    """A tensor in a scratch file, for as long as this exists."""

    def __init__(self, scratch: Scratch, tensor: Tensor) -> None:
        self.scratch, self.shape, self.dtype = scratch, tensor.shape, tensor.dtype
        self.length = tensor.numel() * tensor.element_size()
        self.start = scratch.take(self.length)
        scratch.write(self.start, tensor)

    def tensor(self) -> Tensor:
        """The tensor again."""
        return self.scratch.read(self.start, self.shape, self.dtype)

    def __del__(self) -> None:
        self.scratch.put_back(self.start, self.length)
