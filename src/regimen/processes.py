"""Modules of this package as processes of their own."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module with this interpreter."""
    # -P: files of the working directory must not stand in for modules
    return [sys.executable, "-P", "-m", module, *arguments]


def module_environment(**more: str) -> dict[str, str]:
    """This process's environment, in which a process finds the package where this one found it."""
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **more}
