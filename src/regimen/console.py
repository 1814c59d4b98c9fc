"""What a person sees: lines, tables, progress, coloured masks, errors. The only module that prints.

Text goes to standard output, progress and errors to standard error. On a terminal rich draws, and
it is imported only then; elsewhere everything is plain text of at most 100 columns. Control
characters of data are made visible, so that a model's answer cannot steer a terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Protocol, TextIO

from regimen.errors import RegimenError
from regimen.files import jsonable
from regimen.layout import (
    COLUMNS,
    Panel,
    clean,
    duration,
    panel_lines,
    rate,
    shown_fields,
    table_lines,
)

EVERY = 5.0
"""Seconds between lines of progress where there is no terminal."""

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


class Progress(Protocol):
    """What ``progress`` hands out."""

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count ``n`` more; ``fields`` are shown beside the count, such as ``loss=2.31``."""


@contextmanager
def quiet() -> Iterator[None]:
    """Show errors and results only."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


def line(text: str = "") -> None:
    """Print a line."""
    if not _quiet.get():
        _write(sys.stdout, clean(text))


def heading(text: str) -> None:
    """Print a line that begins something, below an empty one."""
    if not _quiet.get():
        _styled(sys.stdout, [("\n", ""), (clean(text), "bold")])


def ask(prompt: str) -> str | None:
    """The next line of standard input without its end; None where there is no more.

    The prompt is shown to a person only, not where the lines come from a file or a pipe.
    """
    if sys.stdin.isatty():
        try:
            return input(prompt)
        except EOFError:
            return None
    text = sys.stdin.readline()
    return text.rstrip("\n") if text else None


def result(value: Mapping[str, Any]) -> None:
    """Print one JSON line: the machine-readable result, last line of a command with ``--json``."""
    _write(sys.stdout, json.dumps(jsonable(value), allow_nan=False))


def error(problem: RegimenError) -> None:
    """Print an error: what, where, got, expected, fix."""
    first, _, rest = clean(problem.render()).partition("\n")
    _styled(sys.stderr, [(f"error: {first}\n", "bold red"), (rest, "")])


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table of at most 100 columns; what does not fit ends in an ellipsis."""
    if _quiet.get():
        return
    head, *body = table_lines(columns, rows)
    pieces = [(f"{clean(title)}\n", "bold")] if title else []
    pieces += [(head + "\n", "underline"), ("\n".join(body), "")]
    _styled(sys.stdout, pieces)


def panels(shown: Sequence[Panel]) -> None:
    """Print panels side by side in at most 100 columns, fewer where the terminal has fewer."""
    if _quiet.get() or not shown:
        return
    columns = COLUMNS
    if sys.stdout.isatty():
        columns = min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)
    pieces: list[tuple[str, str]] = []
    for parts in panel_lines(shown, columns):
        if not sys.stdout.isatty():
            parts = [("".join(text for text, _ in parts).rstrip(" "), "")]
        pieces += [*parts, ("\n", "")]
    _styled(sys.stdout, pieces)


def masked_tokens(
    pieces: Sequence[str], mask: Sequence[bool], weights: Sequence[float] | None = None
) -> None:
    """Print tokens with those that are learned marked: green on a terminal, elsewhere in ⟦ ⟧.

    Args:
        pieces: the text of each token.
        mask: whether each token is learned.
        weights: loss weight of each token; a span whose weight is not 1 says so.
    """
    if _quiet.get():
        return
    weights = [1.0] * len(pieces) if weights is None else weights
    marked = list(zip(pieces, mask, weights, strict=True))
    learned = sum(1 for _, is_learned, weight in marked if is_learned and weight)
    share = learned / len(marked) if marked else 0.0
    line(f"{learned:,} of {len(marked):,} tokens learned ({share:.1%})")
    terminal = sys.stdout.isatty()
    spans: list[tuple[str, str]] = []
    for (on, weight), group in groupby(marked, lambda m: (bool(m[1] and m[2]), m[2])):
        text = clean("".join(piece for piece, _, _ in group))
        note = f"×{weight:g}" if on and weight != 1 else ""
        if terminal:
            shown = text.replace("\n", "⏎\n") if on else text
            spans.append((shown + note, "green" if on else "dim"))
        else:
            spans.append((f"⟦{text}⟧{note}" if on else text, ""))
    _styled(sys.stdout, spans)


def _styled(stream: TextIO, pieces: Sequence[tuple[str, str]]) -> None:
    """Print pieces of text with rich styles, or without where there is no terminal."""
    plain = "".join(text for text, _ in pieces)
    if not stream.isatty():
        _write(stream, plain.rstrip("\n"))
        return
    from rich.console import Console
    from rich.text import Text

    text = Text.assemble(*pieces)
    text.rstrip()
    Console(file=stream, highlight=False).print(text, soft_wrap=True)


def _write(stream: TextIO, text: str) -> None:
    """Print a line; characters that the stream's encoding lacks are replaced, not fatal."""
    encoding = stream.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)


@contextmanager
def progress(
    total: int | None, description: str, unit: str = "steps", *, after: float = 0.0
) -> Iterator[Progress]:
    """Progress of a loop with rate and time left, on standard error.

    Args:
        total: how many there are, None when not known.
        description: what is being done.
        unit: what is counted.
        after: seconds before a bar appears.
    """
    if _quiet.get():
        yield _Silent()
    elif sys.stderr.isatty():
        with _bar(total, description, unit, after) as bar:
            yield bar
    else:
        lines = Lines(total=total, description=description, unit=unit)
        try:
            yield lines
        finally:
            lines.close()


class _Silent:
    def advance(self, n: int = 1, **fields: Any) -> None:
        """Show nothing."""


@dataclass(slots=True)
class _Bar:
    live: Any
    task: Any
    unit: str
    after: float
    done: int = 0
    start: float = field(default_factory=time.monotonic)
    fields: dict[str, Any] = field(default_factory=dict)

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count ``n`` more."""
        self.done += n
        self.fields |= fields
        elapsed = time.monotonic() - self.start
        if elapsed >= self.after:
            self.live.start()
        speed = rate(self.done, elapsed, self.unit)
        text = clean("  ".join([*speed, *shown_fields(self.fields)]))
        self.live.update(self.task, advance=n, note=text)


@dataclass(slots=True, kw_only=True)
class Lines:
    """Progress as lines of text: one about every five seconds, and a last one at the end.

    A loop that is done before the first line is due prints nothing. ``clock`` gives seconds.
    """

    total: int | None
    description: str
    unit: str
    clock: Callable[[], float] = time.monotonic
    write: Callable[[str], None] = lambda text: _write(sys.stderr, text)
    done: int = 0
    _start: float = 0.0
    _shown: float = 0.0
    _fields: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start = self._shown = self.clock()

    def advance(self, n: int = 1, **fields: Any) -> None:
        """Count ``n`` more."""
        self.done += n
        self._fields |= fields
        now = self.clock()
        if now - self._shown >= EVERY:
            self._shown = now
            self._line(now)

    def close(self) -> None:
        """The last line, if there was one before or the loop took that long."""
        now = self.clock()
        if now - self._start >= EVERY:
            self._line(now)

    def _line(self, now: float) -> None:
        count = f"{self.done:,} {self.unit}"
        if self.total:
            count = f"{self.done:,}/{self.total:,} {self.unit} ({self.done / self.total:.0%})"
        parts = [f"{self.description}: {count}", *rate(self.done, now - self._start, self.unit)]
        if self.total and 0 < self.done < self.total:
            left = (now - self._start) * (self.total - self.done) / self.done
            parts.append(f"{duration(left)} left")
        self.write(clean(", ".join([*parts, *shown_fields(self._fields)])))


@contextmanager
def _bar(total: int | None, description: str, unit: str, after: float) -> Iterator[Progress]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(bar_width=24),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.fields[note]}", markup=False),
        rich_progress.TimeRemainingColumn(),
    )
    live = rich_progress.Progress(*columns, console=Console(file=sys.stderr))
    task = live.add_task(description, total=total, note="")
    bar = _Bar(live, task, unit, after)
    try:
        bar.advance(0)
        yield bar
    finally:
        live.stop()
