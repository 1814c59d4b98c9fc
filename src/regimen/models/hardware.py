"""Allocator, threads and number formats of the machine at hand.

Page faults cost more than arithmetic in naive CPU training: glibc gives large blocks back to the
kernel and asks for them again, zeroed, at every step. Raising two thresholds keeps them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regimen.models.native.ops import why_not
from regimen.models.native.pool import let_go, returns, use
from regimen.models.native.products import bf16_on_cpu
from regimen.models.quantised import has_bitsandbytes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # glibc's malloc.h
_MADV_HUGEPAGE, _LARGE_PAGE = 14, 2 << 20  # Linux's mman.h; x86-64 and most of arm64


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a run computes on."""

    device: str
    threads: int
    bf16: bool
    allocator: str
    kernels: str


def set_up(threads: int | None = None, *, kernels: int = 64) -> Hardware:
    """Prepare the process once, before the model is loaded. Safe on every platform.

    Args:
        threads: of torch's CPU operators; the cores that this process may use, if None.
        kernels: that oneDNN keeps, compiled for a shape each. A ragged batch has a shape of its
            own, whose kernels serve all its layers and hardly ever a later batch: 1,024 of them
            are up to 0.7 GiB.
    """
    allocator = tune_allocator()
    # read once, at the first matrix product
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(kernels))
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = int(os.environ.get("OMP_NUM_THREADS", 0)) or threads or usable or 1
    if torch.get_num_threads() != wanted:
        torch.set_num_threads(wanted)
    reason = why_not()
    said = f"torch's own: {reason}" if reason else "compiled"
    return Hardware(device(), wanted, bf16_is_fast(), allocator, said)


def tune_allocator(*, keep: bool = True) -> str:
    """Keep freed blocks in the process, or give large ones back at once; says what was done.

    Kept blocks of many sizes, with small ones that stay between them, take several times the memory
    that is in use at once, unless most come from a pool (`native.pool`); given back, each costs its
    page faults again. (glibc only.)
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "left alone: not glibc"
    use(returns=not keep)
    libc = ctypes.CDLL(None)
    large, top = (1 << 30, 64 << 20) if keep else (1 << 20, 1 << 17)
    settings = {_M_MMAP_THRESHOLD: large, _M_TRIM_THRESHOLD: large, _M_TOP_PAD: top}
    done = all(libc.mallopt(option, value) == 1 for option, value in settings.items())
    said = "kept" if keep else "given back"
    return f"glibc: large blocks {said}" if done else "glibc refused mallopt"


def trim() -> None:
    """Give blocks that are free now back to the system (glibc only)."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def give_back() -> None:
    """Give free blocks back where the allocator returns them, before the most memory is needed."""
    if returns():
        let_go()
        trim()


def on_large_pages(block: Tensor) -> Tensor:
    """The same block; Linux is asked to back a new one with pages of 2 MiB.

    What streams through the processor, as cached keys and copied weights do, then looks up fewer
    addresses. Where the kernel does not know the request, pages stay small: nothing is checked.
    """
    if sys.platform == "linux" and block.device.type == "cpu":
        start = -(-block.data_ptr() // _LARGE_PAGE) * _LARGE_PAGE
        end = (block.data_ptr() + block.nbytes) // _LARGE_PAGE * _LARGE_PAGE
        if end > start:
            length = ctypes.c_size_t(end - start)
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), length, _MADV_HUGEPAGE)
    return block


def device() -> str:
    """``cuda``, ``mps`` or ``cpu``."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def placed(model: Any) -> Any:
    """The model on the CUDA device, where there is one.

    bitsandbytes' layers are there already, with everything around them, and refuse to be moved;
    torchao's weights are quantised where they were read, on the CPU.
    """
    if not torch.cuda.is_available() or has_bitsandbytes(model):
        return model
    return model.to("cuda")


def bf16_is_fast() -> bool:
    """Whether matrix products in bf16 beat fp32 here: by instruction set on CPUs."""
    if torch.cuda.is_available():
        # older devices take bf16, and compute it bit by bit
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.mps.is_available():
        return False
    return bf16_on_cpu()
