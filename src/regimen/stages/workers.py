"""Processes that make products of chunks, in the order of the chunks.

A worker is ``python -m regimen.stages.workers``: it shares nothing with this process but two pipes,
so it neither runs the caller's script again nor inherits its threads. What goes through the pipes
is pickled, with its length before it.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import IO, Any

from regimen.errors import DataError, RegimenError
from regimen.processes import module_command, module_environment
from regimen.stages.producing import Chunk, Plan, Producer, Product

ENOUGH_ROWS = 20_000
"""Fewer rows than this are formatted here: a worker takes half a second to start."""
AHEAD = 3
"""Chunks under way for each worker."""


def worker_count(wanted: int | None, rows: int) -> int:
    """Workers for a build: as wanted, else one for each core if there are enough rows."""
    if wanted is not None:
        return wanted
    if rows < ENOUGH_ROWS:
        return 0
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def products(plan: Plan, chunks: Iterable[Chunk], workers: int) -> Iterator[Product]:
    """The products of the chunks in their order; made in this process where ``workers`` is 0.

    Raises:
        DataError: a worker ended before its work (``worker-ended``), or a chunk cannot be sent to
            one (``worker-rows``).
    """
    if not workers:
        with Producer(plan) as producer:
            for chunk in chunks:
                yield producer.make(chunk)
        return
    with ExitStack() as stack:
        running: list[_Worker] = []
        for _ in range(workers):
            running.append(_Worker(plan))
            stack.callback(running[-1].close)
        yield from _shared(running, chunks)


def _shared(running: list[_Worker], chunks: Iterable[Chunk]) -> Iterator[Product]:
    """Chunks shared out to whoever is free; at most ``AHEAD`` for each worker under way."""
    free: SimpleQueue[_Worker] = SimpleQueue()
    for worker in running:
        free.put(worker)

    def make(chunk: Chunk) -> Product:
        worker = free.get()
        try:
            return worker.make(chunk)
        finally:
            free.put(worker)

    under_way: deque[Future[Product]] = deque()
    with ThreadPoolExecutor(len(running)) as threads:
        try:
            for chunk in chunks:
                under_way.append(threads.submit(make, chunk))
                if len(under_way) >= AHEAD * len(running):
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for one in under_way:
                one.cancel()
            if under_way:
                for worker in running:
                    worker.kill()


class _Worker:
    """A worker process, spoken to by one thread at a time."""

    def __init__(self, plan: Plan) -> None:
        self._popen = subprocess.Popen(
            module_command("regimen.stages.workers"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=module_environment(),
        )
        self._plan: Plan | None = plan

    def make(self, chunk: Chunk) -> Product:
        """The product of a chunk. Raises as ``products``."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        try:
            if self._plan is not None:
                _send(self._popen.stdin, self._plan)
                self._plan = None
            _send(self._popen.stdin, chunk)
            answer = _receive(self._popen.stdout)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise _unsent(error) from error
        except (OSError, EOFError) as error:
            raise DataError(
                "A process that formats instances ended before its work.",
                slug="worker-ended",
                got=f"exit status {self._popen.wait()}",
                fix="Look for a lack of memory; set build.workers to fewer, or to 0.",
            ) from error
        if isinstance(answer, RegimenError):
            raise answer
        assert isinstance(answer, Product)
        return answer

    def kill(self) -> None:
        """End it in the middle of its work."""
        self._popen.kill()

    def close(self) -> None:
        """End it and leave no zombie."""
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.kill()
        self._popen.wait()
        self._popen.stdout.close()
        try:
            self._popen.stdin.close()
        except BrokenPipeError:
            # what was still to be written has no reader
            return


def _send(pipe: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=5)
    pipe.write(len(data).to_bytes(8, "little") + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    size = int.from_bytes(head, "little")
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def _chunk(source: IO[bytes]) -> Chunk:
    """The next chunk; its rows may hold values of a class that this process does not have."""
    try:
        chunk = _receive(source)
    except (AttributeError, ImportError) as error:
        raise _unsent(error) from error
    assert isinstance(chunk, Chunk)
    return chunk


def _unsent(error: Exception) -> DataError:
    return DataError(
        "Rows of a task cannot be sent to another process.",
        slug="worker-rows",
        got=str(error)[:200],
        expected="texts, numbers, lists and mappings",
        fix="Change the values, or set build.workers: 0.",
    )


def main() -> None:
    """Read a plan and chunks, answer products or the error that ends the build."""
    # Ctrl-C reaches the whole group; the parent decides when this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # rows and instances are many small objects without cycles: looking for cycles among them costs
    # a tenth of the time
    gc.freeze()
    gc.set_threshold(50_000, 10, 10)
    # what anything prints must not come between the answers
    os.dup2(2, 1)
    try:
        with Producer(_receive(source)) as producer:
            while True:
                _send(sink, producer.make(_chunk(source)))
    except EOFError:
        return
    except RegimenError as error:
        _send(sink, error)


if __name__ == "__main__":
    main()
