"""Files: hashes of content, writes that happen whole or not at all, JSON of any record."""

from __future__ import annotations

import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from numbers import Integral, Real
from pathlib import Path, PurePath
from typing import Any

from regimen.errors import RunError
from regimen.records import stable_hash


def file_hash(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree_hash(path: Path | str) -> str:
    """Hash of a file, or of all files of a directory with their relative names.

    Raises:
        RunError: there is nothing at the path.
    """
    path = Path(path)
    if path.is_file():
        return file_hash(path)
    if not path.is_dir():
        raise RunError(
            f"there is nothing at {path}",
            slug="run-input-missing",
            fix="Check the path; relative paths count from the working directory.",
            where=str(path),
        )
    return stable_hash(hashes_of(path, files_below(path)), length=64)


def files_below(directory: Path) -> list[str]:
    """Names of all files below a directory, relative, with forward slashes, sorted."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(path.relative_to(directory).as_posix() for path in found)


def hashes_of(directory: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the named files of a directory."""
    return {name: file_hash(directory / name) for name in names}


def source_key(modules: Sequence[str]) -> str:
    """Hash of the source files of modules of regimen; a package stands for all files in it.

    Nothing is imported. Raises ``ValueError`` for a name that is no module of regimen.
    """
    root = Path(__file__).parent
    found: dict[str, str] = {}
    for module in modules:
        parts = module.split(".")
        place = root.joinpath(*parts[1:])
        file = place.with_suffix(".py")
        if parts[0] == "regimen" and len(parts) > 1 and file.is_file():
            found[module] = file_hash(file)
        elif parts[0] == "regimen" and (place / "__init__.py").is_file():
            sources = [name for name in files_below(place) if name.endswith(".py")]
            found[module] = stable_hash(hashes_of(place, sources))
        else:
            raise ValueError(f"{module!r} is not a module of regimen")
    return stable_hash(found)


def encoded(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which data may hold, is written as JSON writes it."""
    return text.encode("utf-8", "backslashreplace")


def atomic_write(path: Path | str, data: bytes | str) -> Path:
    """Write a file whole or not at all; text is UTF-8. Returns the path.

    The bytes go to a temporary file in the same directory, are flushed to disk, and take the name
    in one step; a reader sees the old file or the new one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(encoded(data) if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_directory(path.parent)
    return path


def flush_directory(directory: Path) -> None:
    """Flush a directory's entries to disk, where the system can."""
    if os.name == "posix":  # elsewhere a directory cannot be opened
        flush(directory)


def flush(path: Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def jsonable(value: Any) -> Any:
    """JSON-compatible form of a value: numbers of any library, paths, dataclasses, sets.

    A number that is not finite becomes None, since JSON has none. Raises ``TypeError`` for what has
    no such form.
    """
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(jsonable(entry) for entry in value)
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    if isinstance(value, PurePath):
        return value.as_posix()
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def json_text(value: Any) -> str:
    """Indented JSON with a line break at the end; keys keep their order."""
    return json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def publish(source: Path | str, target: Path | str) -> Path:
    """Copy a file or a directory to where a person looks for it, replacing what is there."""
    source, target = Path(source), Path(target)
    if source.is_file():
        return atomic_write(target, source.read_bytes())
    token = secrets.token_hex(6)
    fresh = target.with_name(f".{target.name}.{token}.tmp")
    old = target.with_name(f".{target.name}.{token}.old")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copytree(source, fresh)
        if target.exists():
            target.replace(old)
        fresh.replace(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return target
