"""User code by file and function name: ``{file: my_rewards.py, function: reward}``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regimen.errors import SettingsError, near
from regimen.records import stable_hash


def load_function(file: str | Path, function: str) -> Callable[..., Any]:
    """The function of that name in a Python file.

    Raises:
        SettingsError: there is no such file or function, or the file cannot be run.
    """
    path = Path(file)
    if not path.is_file():
        siblings = [p.name for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SettingsError(
            "There is no such file of user code.",
            slug="user-code-missing",
            got=str(file),
            fix=near(path.name, siblings or ["my_code.py"]),
        )
    name = f"regimen_user_{stable_hash(str(path.resolve()))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(
            "The file of user code cannot be run.",
            slug="user-code-fails",
            got=f"{type(error).__name__}: {error}",
            fix=f"Run `python {path}` and correct what it says.",
            where=str(file),
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise SettingsError(
            "The file of user code has no function of that name.",
            slug="user-function-missing",
            got=f"{function!r} in {file}",
            fix=near(function, known or [function]),
        )
    result: Callable[..., Any] = found
    return result
