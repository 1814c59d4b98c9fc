"""The manifest of a finished stage: what it depends on, what it wrote, why it is stale."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from regimen.errors import RunError
from regimen.records import SCHEMA_VERSION, stable_hash

MANIFEST = "manifest.json"

PACKAGES = ("regimen", "torch", "transformers", "tokenizers", "peft", "bitsandbytes", "pyarrow")
"""Packages whose versions a manifest notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished stage says of itself.

    Args:
        stage: the stage's name.
        key: one hash for each thing that the result depends on.
        files: SHA-256 of every file that is the same in two equal runs.
        without_volatile: SHA-256 of files with volatile fields, computed without these fields.
        volatile_fields: the volatile fields of those files.
        volatile: times, machine, versions, and the SHA-256 of the files left out of ``files``.
    """

    schema_version: int = SCHEMA_VERSION
    stage: str
    key: dict[str, str]
    files: dict[str, str]
    without_volatile: dict[str, str] = field(default_factory=dict)
    volatile_fields: dict[str, list[str]] = field(default_factory=dict)
    volatile: dict[str, Any] = field(default_factory=dict)

    @property
    def content_key(self) -> str:
        """Hash of what the stage produced; a later stage's key depends on it, not on times."""
        return stable_hash([self.stage, self.files, self.without_volatile])


def read_manifest(directory: Path | str) -> Manifest:
    """The manifest of a finished stage or run.

    Raises:
        RunError: there is none, so the directory is missing or unfinished, or it is not readable.
    """
    path = Path(directory) / MANIFEST
    try:
        manifest = Manifest(**json.loads(path.read_text(encoding="utf-8")))
        if not isinstance(manifest.key, dict) or not isinstance(manifest.files, dict):
            raise TypeError
        return manifest
    except (FileNotFoundError, NotADirectoryError):
        what = "is not finished" if path.parent.is_dir() else "does not exist"
        raise RunError(
            f"the run directory {path.parent} {what}",
            slug="run-unfinished",
            expected=f"a {MANIFEST}, which is written last",
            fix="Run the stage that makes it.",
            where=str(path.parent),
        ) from None
    except (ValueError, TypeError):
        raise RunError(
            f"{path} is not a manifest of this version",
            slug="run-manifest",
            expected=f"JSON with schema_version {SCHEMA_VERSION}",
            fix="Delete the directory and run the stage again.",
            where=str(path),
        ) from None


def why_stale(directory: Path | str, key: Mapping[str, str]) -> list[str]:
    """Why the stage has to run (again); empty where its result is there and up to date."""
    directory = Path(directory)
    if not directory.is_dir():
        return ["never run"]
    if not (directory / MANIFEST).is_file():
        return ["not finished"]
    try:
        manifest = read_manifest(directory)
    except RunError:
        return ["made by another version"]
    if manifest.schema_version != SCHEMA_VERSION:
        return ["made by another version"]
    before, now = manifest.key, dict(key)
    reasons = [f"{part} changed" for part in now if part in before and before[part] != now[part]]
    reasons += [f"{part} is new" for part in now if part not in before]
    reasons += [f"{part} is gone" for part in before if part not in now]
    listed = [*manifest.files, *manifest.without_volatile]
    reasons += [f"{name} is missing" for name in listed if not (directory / name).is_file()]
    return reasons


def is_fresh(directory: Path | str, key: Mapping[str, str]) -> bool:
    """Whether the stage's result is there and was made from the same things."""
    return not why_stale(directory, key)


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Packages that are installed with their versions; reading one takes milliseconds."""
    found = []
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    return tuple(found)


def environment() -> dict[str, Any]:
    """Machine and versions, for the volatile part of a manifest; names no host and no user."""
    machine = {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count() or 1,
        "python": platform.python_version(),
    }
    return {"machine": machine, "versions": dict(_versions())}
