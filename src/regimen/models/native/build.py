"""Compiling the loops with the machine's own compiler, once, and loading the result.

The library must share torch's OpenMP threads: two sets of them on the same cores would take turns
waiting for each other. So it is linked against the very runtime that torch has loaded, and without
one of these, or without a compiler, there are no kernels and torch's own operators are used.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

SWITCH = "REGIMEN_KERNELS"
"""Set to ``off``, nothing is compiled or loaded."""
SOURCES = tuple(
    Path(__file__).with_name(name) for name in ("rows.c", "attention.c", "products.c", "masks.c")
)
HEADER = Path(__file__).with_name("vectors.h")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-ffp-contract=fast", "-fPIC", "-fopenmp")
COMPILERS = ("gcc", "cc", "clang")
"""GCC first: what Clang makes of OpenMP asks for another runtime than torch mostly has."""
LIMIT = 120.0
"""Seconds for the compiler."""


@dataclass(frozen=True, slots=True)
class Built:
    """The library, or why there is none."""

    library: ctypes.CDLL | None
    reason: str = ""
    path: Path | None = None

    def agreed(self) -> Path | None:
        """The file that says that this library agreed with this torch, asked by this code."""
        if self.path is None:
            return None
        asked = b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
        name = hashlib.sha256(asked + torch.__version__.encode()).hexdigest()[:20]
        return self.path.with_suffix(f".agrees-{name}")


@cache
def built() -> Built:
    """Compile if this machine has not done so before, and load; the same answer in a process."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "no", "false"):
        return Built(None, f"switched off by {SWITCH}")
    if sys.platform != "linux":
        return Built(None, "only on Linux")
    compiler = next((found for name in COMPILERS if (found := shutil.which(name))), None)
    if compiler is None:
        return Built(None, f"no compiler ({', '.join(COMPILERS)})")
    runtime = openmp_runtime()
    if runtime is None:
        return Built(None, "torch has not loaded an OpenMP runtime")
    try:
        path = _library(compiler, runtime)
        return Built(ctypes.CDLL(str(path)), path=path)
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        first = (told.decode(errors="replace") if isinstance(told, bytes) else told).strip()
        return Built(None, f"{compiler}: {(first.splitlines() or ['failed'])[0]}")


def openmp_runtime() -> Path | None:
    """The OpenMP library that torch computes with in this process."""
    torch.ones(2).sum()  # the runtime comes with the first operator at the latest
    maps = Path("/proc/self/maps")
    lines = maps.read_text().splitlines() if maps.is_file() else []
    loaded = {parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6}
    return of_torch([Path(name) for name in loaded], Path(torch.__file__).parent)


def of_torch(loaded: Sequence[Path], torch_folder: Path) -> Path | None:
    """Among loaded files the one OpenMP runtime that is torch's; None where that cannot be told.

    Other packages bring a runtime of their own, such as scikit-learn; torch's lies in its folder.
    """
    names = ("libgomp", "libiomp", "libomp")
    found = [path for path in loaded if path.name.startswith(names) and path.is_file()]
    own = [path for path in found if torch_folder in path.parents] or found
    return own[0] if len(own) == 1 else None


def _library(compiler: str, runtime: Path) -> Path:
    """The compiled file: made now, or kept from an earlier process with the same ingredients."""
    text = b"".join(path.read_bytes() for path in (HEADER, *SOURCES))
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, check=True, timeout=LIMIT
    )
    ingredients = (text, version.stdout, " ".join(FLAGS).encode(), str(runtime).encode(), _cpu())
    name = hashlib.sha256(b"\0".join(ingredients)).hexdigest()[:20]
    folder = _folder()
    path = folder / f"kernels-{name}.so"
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as work:
        parts = [str(Path(work) / source.with_suffix(".o").name) for source in SOURCES]
        whole = Path(work) / "kernels.so"
        for source, part in zip(SOURCES, parts, strict=True):
            _run(compiler, *FLAGS, "-c", str(source), "-o", part)
        # without -fopenmp, which would bring a second runtime along
        _run(compiler, "-shared", *parts, "-o", str(whole), str(runtime), "-lm")
        os.replace(whole, path)  # two processes may get here at once; both files are the same
    return path


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, check=True, timeout=LIMIT)


def _cpu() -> bytes:
    """What ``-march=native`` depends on: a home directory may be shared by several machines."""
    kinds = {line for line in _cpu_lines() if line.startswith(("model name", "flags", "Features"))}
    return "\n".join([platform.machine(), *sorted(kinds)]).encode()


def cpu_facts() -> tuple[str, frozenset[str]]:
    """The processor's vendor and the names of what it can do, as Linux tells them."""
    told = dict(line.split(":", 1) for line in _cpu_lines() if ":" in line)
    found = {key.strip(): value.strip() for key, value in told.items()}
    return found.get("vendor_id", ""), frozenset(found.get("flags", "").split())


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.is_file() else []


def _folder() -> Path:
    """Where compiled files are kept: the user's cache, or else a fresh temporary folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = base / "regimen"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    except OSError:
        pass  # no home, or one that cannot be written: the file is made again by each process
    return Path(tempfile.mkdtemp(prefix="regimen-"))
