"""The directory of a run: files written whole or not at all, hashes, the manifest last.

A stage writes into a directory of its own. While it does, ``unfinished.json`` lies there; at the
end every file is flushed to disk and hashed, and ``manifest.json`` is written. So a directory with
a manifest is complete, and anything else is made again from the start. The manifest holds the key
of the stage, one hash for each thing that its result depends on; a stage whose key is unchanged is
not run again (a cache by content, not by time).

Everything but the manifest's ``volatile`` part, and the ``volatile_fields`` of ``metrics.jsonl``,
is the same to the byte in two runs with equal inputs on one machine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import Any

from regimen.errors import RunError
from regimen.files import (
    atomic_write,
    encoded,
    file_hash,
    files_below,
    flush,
    flush_directory,
    hashes_of,
    json_text,
    jsonable,
    publish,
    source_key,
    tree_hash,
)
from regimen.manifests import (
    MANIFEST,
    Manifest,
    environment,
    is_fresh,
    read_manifest,
    why_stale,
)
from regimen.records import SCHEMA_VERSION
from regimen.settings.yaml12 import dump

__all__ = [
    "Manifest",
    "Run",
    "atomic_write",
    "environment",
    "file_hash",
    "is_fresh",
    "jsonable",
    "publish",
    "read_manifest",
    "source_key",
    "tree_hash",
    "why_stale",
]

UNFINISHED = "unfinished.json"
METRICS = "metrics.jsonl"
VOLATILE_FIELDS = ("tokens_per_second", "peak_memory_gib", "seconds")
"""Fields of ``metrics.jsonl`` that two equal runs do not share."""
TRACKING, TENSORBOARD = "tracking.json", "tensorboard"
VOLATILE_FILES = (TRACKING, f"{TENSORBOARD}/*")
"""Files that two equal runs do not share: what trackers keep in a stage's directory."""
PROFILE = "profile.json"
"""What a measurement leaves in a stage's directory: no part of the stage, which leaves it there."""


@dataclass(slots=True, kw_only=True)
class Run:
    """The directory of one stage while it is written. Make it with ``Run.start``.

    Args:
        directory: where the files go.
        stage: the stage's name.
        key: what the result depends on.
        whole: all files of the directory belong to the stage; otherwise only those it names.
        moved_to: where files lie now that were in the way and that no run had written.
    """

    directory: Path
    stage: str
    key: dict[str, str]
    whole: bool = True
    moved_to: Path | None = None
    _started: datetime = field(default_factory=lambda: datetime.now(UTC))
    _clock: float = field(default_factory=time.monotonic)
    _named: set[str] = field(default_factory=set)

    @classmethod
    def start(
        cls,
        directory: Path | str,
        *,
        stage: str,
        key: Mapping[str, str],
        settings: Mapping[str, Any] | None = None,
        clear: bool = True,
        keep: Sequence[str] = (),
    ) -> Run:
        """Begin a stage: old content goes, ``settings.yaml`` is written.

        Where the same stage was begun before with the same key and did not end, the top-level
        names that match a pattern of ``keep`` stay: what it goes on from.

        Files that no run wrote are never removed: they are moved to ``<directory>.old-<n>``. With
        ``clear=False`` the directory keeps its files, and the manifest lists those only that this
        object hands out; so the directory of a whole run is finished without touching its stages.

        Raises:
            RunError: the directory is another stage's, a file, or cannot be written.
        """
        directory = Path(directory)
        try:
            moved_to = _prepare(directory, stage, key, clear=clear, keep=keep)
        except OSError as error:
            raise RunError(
                f"the run directory {directory} cannot be written",
                slug="run-directory",
                got=error.strerror or type(error).__name__,
                fix="Choose another directory with 'run'.",
                where=str(directory),
            ) from None
        run = cls(directory=directory, stage=stage, key=dict(key), whole=clear, moved_to=moved_to)
        if settings is not None:
            run.write_text("settings.yaml", dump(jsonable(settings)))
        return run

    def path(self, name: str) -> Path:
        """The path of a file or directory of the stage; the directories above it are made."""
        relative = PurePath(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ValueError(f"{name!r} is not a name inside the run directory")
        self._named.add(relative.as_posix())
        path = self.directory / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        return atomic_write(self.path(name), text)

    def write_json(self, name: str, value: Any) -> Path:
        """Write a JSON file; keys keep their order."""
        return self.write_text(name, json_text(value))

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to ``metrics.jsonl``."""
        text = json.dumps(jsonable(record), ensure_ascii=False, allow_nan=False)
        with self.path(METRICS).open("ab") as file:
            file.write(encoded(text + "\n"))

    def unlog(self, step: int) -> int:
        """Drop the lines of ``metrics.jsonl`` that lie after a step: they are made again.

        Returns:
            The step of the last line that there was, 0 without one.
        """
        path = self.path(METRICS)
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        kept, last = [], 0
        for line in lines:
            try:
                last = json.loads(line)["step"]
            except ValueError:
                break  # cut off in the middle: the process died while it wrote
            if last <= step:
                kept.append(line + "\n")
        atomic_write(path, "".join(kept))
        return last

    def finish(
        self, volatile: Mapping[str, Any] | None = None, *, volatile_files: Sequence[str] = ()
    ) -> Manifest:
        """Flush and hash every file, then write the manifest: the stage is done.

        Args:
            volatile: further facts that differ between equal runs.
            volatile_files: names of files whose content differs between equal runs.
        """
        names = self._listed()
        for name in names:
            flush(self.directory / name)
        digests = hashes_of(self.directory, names)
        apart = {METRICS, *volatile_files}
        apart |= {name for name in names if any(fnmatch(name, p) for p in VOLATILE_FILES)}
        metrics = [METRICS] if METRICS in names else []
        manifest = Manifest(
            stage=self.stage,
            key=self.key,
            files={name: digest for name, digest in digests.items() if name not in apart},
            without_volatile={name: _stable_lines(self.directory / name) for name in metrics},
            volatile_fields={name: list(VOLATILE_FIELDS) for name in metrics},
            volatile={
                "started": self._started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - self._clock, 3),
                **environment(),
                **(volatile or {}),
                "files": {name: digest for name, digest in digests.items() if name in apart},
            },
        )
        atomic_write(self.directory / MANIFEST, json_text(manifest))
        (self.directory / UNFINISHED).unlink(missing_ok=True)
        return manifest

    def _listed(self) -> list[str]:
        names = set(files_below(self.directory))
        if not self.whole:
            below = tuple(f"{name}/" for name in self._named)
            names = {name for name in names if name in self._named or name.startswith(below)}
        return sorted(names - {MANIFEST, UNFINISHED, PROFILE})


def _stable_lines(path: Path) -> str:
    """SHA-256 of a JSONL file without its volatile fields."""
    digest = hashlib.sha256()
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = {k: v for k, v in json.loads(line).items() if k not in VOLATILE_FIELDS}
            digest.update(json.dumps(record, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()


def _was_begun(directory: Path, key: Mapping[str, str]) -> bool:
    """Whether the directory holds an unfinished run with this key."""
    try:
        marker = json.loads((directory / UNFINISHED).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(marker, dict) and marker.get("key") == dict(key)


def _prepare(
    directory: Path, stage: str, key: Mapping[str, str], *, clear: bool, keep: Sequence[str]
) -> Path | None:
    """Make the directory empty (or leave it, without ``clear``) and mark it unfinished."""
    moved_to = None
    kept = (PROFILE, *(keep if _was_begun(directory, key) else ()))
    if directory.is_dir():
        _refuse_another_stage(directory, stage)
        ours = (directory / MANIFEST).is_file() or (directory / UNFINISHED).is_file()
        others = any(child.name != PROFILE for child in directory.iterdir())
        if clear and not ours and others:
            moved_to = _move_away(directory)
    directory.mkdir(parents=True, exist_ok=True)
    # The order matters when the process dies in between: marked, then not done, then emptied.
    marker = {"schema_version": SCHEMA_VERSION, "stage": stage, "key": dict(key)}
    atomic_write(directory / UNFINISHED, json_text(marker))
    (directory / MANIFEST).unlink(missing_ok=True)
    flush_directory(directory)
    for child in directory.iterdir() if clear else ():
        if any(fnmatch(child.name, pattern) for pattern in kept):
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        elif child.name != UNFINISHED:
            child.unlink()
    return moved_to


def _refuse_another_stage(directory: Path, stage: str) -> None:
    for name in (MANIFEST, UNFINISHED):
        path = directory / name
        try:
            other = json.loads(path.read_text(encoding="utf-8"))["stage"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue
        if isinstance(other, str) and other != stage:
            raise RunError(
                f"{directory} belongs to the stage {other!r}",
                slug="run-other-stage",
                expected=f"a directory of the stage {stage!r}, or a new one",
                fix="Choose another directory with 'run'.",
                where=str(path),
            )


def _move_away(directory: Path) -> Path:
    """Move files that no run wrote to ``<directory>.old-<n>``."""
    if directory.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise RunError(
            f"{directory} is the working directory or above it, and holds files of yours",
            slug="run-directory",
            fix="Choose a directory of its own with 'run', such as runs/first.",
            where=str(directory),
        )
    number = 1
    while (target := directory.with_name(f"{directory.name}.old-{number}")).exists():
        number += 1
    directory.rename(target)
    return target
