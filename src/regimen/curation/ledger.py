"""The ledger: every step satisfies in = kept + removed(reason) + failed(error).

Files, beside ``summary.json``:

    <NN>-<step>.removed.parquet   one row per removed record: why, and the whole record as JSON
    <NN>-<step>.failed.jsonl      one line per failure: where, error, got, fix

Rows go to disk as they come, so a step holds no second copy of its data. A file is renamed to its
final name when its step ends; a step that raises leaves none.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from regimen.record_columns import versioned
from regimen.records import Instance, Item, Labelled, Preference, Ranked, Stepwise
from regimen.runs import atomic_write

ROWS_PER_GROUP = 2_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_OWN_FILE = re.compile(r"\d\d-.*\.(removed\.parquet|failed\.jsonl)(\.partial)?|summary\.json")

REMOVED_SCHEMA = versioned(
    [
        ("record_id", pa.string()),
        ("content_id", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("row", pa.int64()),
        ("task", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("record", pa.string()),
    ]
)

_HALVES = "backslashreplace"
"""How half of a surrogate pair is written: by its escape, which JSON reads as that half again."""

Record = Instance | Preference | Labelled | Ranked | Stepwise | Item | Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch in one step, to be added to the step's account.

    ``removed`` are records with reason and detail; ``failed`` are where, error, got, fix.
    """

    step: str
    entered: int
    kept: int
    removed: tuple[tuple[Record, str, str], ...] = ()
    failed: tuple[tuple[str, str, str, str], ...] = ()


def record_json(record: object) -> str:
    """A record of any kind as JSON: dataclasses by field, callables by name."""
    return json.dumps(_plain(record), ensure_ascii=False, default=str)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return value


def _written(text: str) -> str:
    """The text as UTF-8 can hold it."""
    return text.encode("utf-8", _HALVES).decode("utf-8")


def _removed_row(record: Record, reason: str, detail: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "record_id": "",
        "content_id": "",
        "kind": type(record).__name__.lower(),
        "source": "",
        "row": -1,
        "task": "",
        "reason": reason,
        "detail": _written(detail),
        "record": _written(record_json(record)),
    }
    if isinstance(record, Instance | Preference | Labelled | Ranked | Stepwise):
        row |= {"record_id": record.instance_id, "content_id": record.content_id}
    elif isinstance(record, Item):
        row |= {"record_id": record.item_id}
    if isinstance(record, Instance | Preference | Labelled | Ranked | Stepwise | Item):
        origin = record.lineage
        row |= {"source": origin.source, "row": origin.row, "task": origin.task}
    return row


class Step:
    """The account of one step. Use as a context manager, or call ``close`` at the end.

    ``enter`` counts what comes in where it comes in; ``keep``, ``remove`` and ``fail`` count what
    became of it. The two sides are counted apart so that a lost row cannot go unseen.
    """

    def __init__(self, directory: Path, number: int, name: str) -> None:
        self.name = name
        self.entered = 0
        self.kept = 0
        self.removed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        stem = f"{number:02d}-{name}"
        self._removed_path = directory / f"{stem}.removed.parquet"
        self._failed_path = directory / f"{stem}.failed.jsonl"
        self._buffer: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        self._failures: IO[str] | None = None
        self._closed = False

    def enter(self, n: int = 1) -> None:
        """``n`` records came in."""
        self.entered += n

    def keep(self, n: int = 1) -> None:
        """``n`` records go on to the next step."""
        self.kept += n

    def change(self, what: str, n: int = 1) -> None:
        """``n`` records were changed but not removed (merged turns, split conversations)."""
        self.changed[what] += n

    def remove(self, record: Record, reason: str, detail: str = "") -> None:
        """A record leaves here. ``reason`` is a short stable slug, ``detail`` the particulars."""
        self._check_open()
        self.removed[reason] += 1
        self._buffer.append(_removed_row(record, reason, detail))
        if len(self._buffer) >= ROWS_PER_GROUP:
            self._flush()

    def fail(self, where: str, error: str, got: str = "", fix: str = "") -> None:
        """Something could not be processed. ``error`` is a short stable slug."""
        self._check_open()
        self.failed[error] += 1
        if self._failures is None:
            self._failures = _partial(self._failed_path).open(
                "w", encoding="utf-8", errors=_HALVES, newline="\n"
            )
        line = {"where": where, "error": error, "got": got, "fix": fix}
        self._failures.write(json.dumps(line, ensure_ascii=False) + "\n")

    def take(self, outcome: Outcome) -> None:
        """Add the account of a batch."""
        self.enter(outcome.entered)
        self.keep(outcome.kept)
        for record, reason, detail in outcome.removed:
            self.remove(record, reason, detail)
        for failure in outcome.failed:
            self.fail(*failure)

    def summary(self) -> dict[str, Any]:
        """The counts of the step, reasons in alphabetical order."""
        counts: dict[str, Any] = {
            "in": self.entered,
            "kept": self.kept,
            "removed": dict(sorted(self.removed.items())),
            "failed": dict(sorted(self.failed.items())),
        }
        if self.changed:
            counts["changed"] = dict(sorted(self.changed.items()))
        return counts

    def check(self) -> None:
        """Raise ``ValueError`` unless in = kept + removed + failed."""
        out = self.kept + self.removed.total() + self.failed.total()
        if out != self.entered:
            raise ValueError(
                f"step {self.name!r} does not reconcile: {self.entered} in, but {self.kept} kept "
                f"+ {self.removed.total()} removed + {self.failed.total()} failed = {out}"
            )

    def close(self) -> None:
        """Check the account and give the files their final names.

        Raises:
            ValueError: the step does not reconcile; its files are dropped.
        """
        if self._closed:
            return
        try:
            self.check()
        except ValueError:
            self.abandon()
            raise
        self._flush()
        self._close_files()
        for path in (self._removed_path, self._failed_path):
            if _partial(path).exists():
                os.replace(_partial(path), path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        self.abandon()

    def abandon(self) -> None:
        """Drop the files of a step that will not be finished."""
        self._close_files()
        for path in (self._removed_path, self._failed_path):
            _partial(path).unlink(missing_ok=True)

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"step {self.name!r} is closed")

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._writer is None:
            target = _partial(self._removed_path)
            self._writer = pq.ParquetWriter(target, REMOVED_SCHEMA, compression="zstd")
        self._writer.write_table(pa.Table.from_pylist(self._buffer, schema=REMOVED_SCHEMA))
        self._buffer.clear()

    def _close_files(self) -> None:
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        if self._failures is not None:
            self._failures.close()


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


class Ledger:
    """The accounts of all steps of one build, in order, in one directory.

    A ledger starts empty: files that an earlier, unfinished build left are removed, or they would
    contradict the new summary.
    """

    def __init__(self, directory: Path | str) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            if _OWN_FILE.fullmatch(path.name):
                path.unlink()
        self._steps: dict[str, Step] = {}

    def step(self, name: str, entered: int = 0) -> Step:
        """Open the account of the next step.

        Args:
            name: lower-case letters, digits, ``-`` and ``_``; unique in the ledger.
            entered: how many records come in, when that is known now; ``enter`` adds to it.
        """
        if not _NAME.fullmatch(name) or name in self._steps:
            raise ValueError(f"step name must be new and match {_NAME.pattern}, got {name!r}")
        step = Step(self.directory, len(self._steps) + 1, name)
        step.enter(entered)
        self._steps[name] = step
        return step

    def check(self) -> None:
        """Raise ``ValueError`` unless every step reconciles."""
        for step in self._steps.values():
            step.check()

    def write(self) -> dict[str, dict[str, Any]]:
        """Close what is open, check every step, write ``summary.json`` and return it.

        Raises:
            ValueError: a step does not reconcile.
        """
        try:
            for step in self._steps.values():
                step.close()
        except ValueError:
            for step in self._steps.values():
                step.abandon()
            raise
        summary = {name: step.summary() for name, step in self._steps.items()}
        text = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
        atomic_write(self.directory / "summary.json", text)
        return summary
