"""One worker process of the templates: started, spoken to with a clock, ended without a trace."""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO, Any

import jinja2
import markupsafe

from regimen.errors import TemplateError

GRACE_SECONDS = 1.0
"""Silence beyond a row's time before the worker is killed."""
START_SECONDS = 60.0
PIPE_BYTES = 1 << 20
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""What the worker sees of this process's environment: enough to start, no secrets."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits that hold on this machine.

    ``memory`` is the cap in bytes above the worker's start, None where the system has none;
    ``timer`` says whether the worker stops itself, which is quicker than being killed.
    """

    memory: int | None
    row_seconds: float
    timer: bool

    def __str__(self) -> str:
        clock = f"{self.row_seconds:g} s of wall clock for each row"
        if self.memory is None:
            return f"{clock}; this system has no cap on address space, so memory is not limited"
        return f"{clock} and {self.memory / (1 << 20):,.0f} MiB for the worker"


def widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold a chunk, where the system can: neither side waits for the other to read."""
    try:
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        # the pipe stays as narrow as it is: slower, not wrong
        return


class End(Enum):
    """How the answer to a chunk ended."""

    COMPLETE = "every row has its result"
    RETIRED = "the last result exhausted the worker, which has ended"
    SILENT = "the worker said nothing for too long and was killed"
    DEAD = "the worker ended without a word"


@dataclass(frozen=True, slots=True)
class Exchange:
    """The results that came for a chunk, in order, and how it ended."""

    results: list[Any]
    end: End
    status: int = 0


class WorkerProcess:
    """A running worker, with threads: one reads its lines, so that waiting can time out.

    Raises:
        TemplateError: the process does not start.
    """

    def __init__(self, memory: int, row_seconds: float) -> None:
        paths = {str(Path(str(module.__file__)).parents[1]) for module in (jinja2, markupsafe)}
        settings = {"paths": sorted(paths), "memory": memory, "row_seconds": row_seconds}
        worker = str(Path(__file__).with_name("template_worker.py"))
        command = [sys.executable, "-I", "-S", worker, json.dumps(settings)]
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=PIPE_BYTES,
            env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
        )
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        widen(self._popen.stdin)
        widen(self._popen.stdout)
        # a SimpleQueue of lines; an empty one says that the worker's output has ended
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._payloads: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._reader.start()
        self._writer.start()
        try:
            hello = self._receive(START_SECONDS)
        except queue.Empty:
            hello = None
        if hello is None:
            raise TemplateError(
                "The process that renders templates does not start.",
                slug="template-worker",
                got=f"exit status {self.close(kill=True)}",
                fix=f"Run it by hand to see why: {shlex.join(command)}",
            )
        self.limits = Limits(hello["memory"], row_seconds, hello["timer"])

    def send(self, payload: bytes) -> None:
        """Send a chunk. Its results are to be collected before those of the next are.

        A thread writes: the worker reads a chunk only when it is done with the one before.
        """
        self._payloads.put(payload)

    def collect(self, rows: int) -> Exchange:
        """Wait for the results of the oldest chunk sent, of ``rows`` rows.

        Any end but ``COMPLETE``, and any exception, leaves the process ended and closed: a later
        chunk must never read the answers of this one.
        """
        results: list[Any] = []
        end, status = End.SILENT, 0
        try:
            end = self._collect(rows, results)
        finally:
            if end is not End.COMPLETE:
                status = self.close(kill=end is End.SILENT)
        return Exchange(results, end, status)

    def _collect(self, rows: int, results: list[Any]) -> End:
        """Append the results of a chunk to ``results`` until something ends it."""
        while len(results) < rows:
            try:
                answer = self._receive(self.limits.row_seconds + GRACE_SECONDS)
            except queue.Empty:
                return End.SILENT
            if answer is None:
                return End.DEAD
            retires, group = answer
            results += group
            if retires:
                return End.RETIRED
        return End.COMPLETE

    def close(self, *, kill: bool) -> int:
        """End the process, leave no zombie and no open pipe; its exit status."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        if kill:
            self._popen.kill()
        self._payloads.put(b"")
        # a worker that ended on its own leaves the writer waiting for nobody: its pipe is broken
        self._writer.join(GRACE_SECONDS)
        if self._writer.is_alive():
            self._popen.kill()
            self._writer.join()
        with suppress(OSError):
            self._popen.stdin.close()
        try:
            status = self._popen.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            status = self._popen.wait()
        self._reader.join()
        self._popen.stdout.close()
        return status

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _write(self) -> None:
        """Write what is sent, until an empty payload; to a worker that is gone, nothing."""
        assert self._popen.stdin is not None
        for payload in iter(self._payloads.get, b""):
            # that the worker is gone shows when its answer is read
            with suppress(OSError):
                self._popen.stdin.write(payload)
                self._popen.stdin.flush()

    def _receive(self, seconds: float) -> Any:
        """The next answer; None if the worker has ended. Raises ``queue.Empty`` on silence."""
        line = self._lines.get(timeout=seconds)
        # a worker that dies while it writes leaves a line without its end
        return json.loads(line) if line.endswith(b"\n") else None
