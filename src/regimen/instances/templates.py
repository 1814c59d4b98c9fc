"""Templates: rendered in a sandboxed process (``template_checks`` checks them in this one).

A template is jinja2 over the columns of a row. Parsing it is safe; rendering a stranger's is not,
so ``TemplateWorker`` renders in a process of its own (``template_worker``) with a cap on address
space and a wall clock for each row. A row that hangs, asks for a gigabyte or reaches for
attributes is a counted failure; the other rows of its batch still render.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Any, NamedTuple, Self

from regimen.errors import near
from regimen.instances import template_worker
from regimen.instances.template_checks import (
    FIXES,
    RenderFailure,
    check_template,
    compile_check,
    missing_columns,
    read_columns,
)
from regimen.instances.template_process import End, Exchange, Limits, WorkerProcess
from regimen.records import Template

__all__ = [
    "RenderFailure",
    "RenderJob",
    "Rendering",
    "TemplateWorker",
    "check_template",
    "compile_check",
    "missing_columns",
    "template_job",
]

JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]

CHUNK_ROWS, CHUNK_BYTES = 512, 1 << 20
_ENCODE = json.JSONEncoder().encode
CHUNKS_AHEAD = 3
"""Chunks under way: the worker renders one while this process writes the next."""
_MASK = json.dumps(template_worker.MASK)[1:-1]
MOST_BYTES = 16 << 20
"""Largest row that is sent to the worker, as JSON."""
PATIENCE = 5
"""Rows on which a template may exhaust its worker before it has rendered one."""


class RenderJob(NamedTuple):
    """One row to render by one template.

    ``sources`` are a source for the prompt and one for the answer, or one that writes both with
    ``|||`` between them; ``choices`` is the source of the row's options. ``seed`` is that of the
    filter ``choice`` and, with ``shuffle``, of the order in which the prompt sees the options.
    """

    sources: tuple[str, ...]
    values: Mapping[str, JSON]
    choices: str = ""
    seed: int = 0
    shuffle: bool = False


class Rendering(NamedTuple):
    """What a row was rendered to.

    ``texts`` has a text for each source, or prompt and answer where one source writes both.
    ``options`` are in the order of the template; place p of the prompt shows option
    ``permutation[p]``. Both are empty for a template without choices.
    """

    texts: tuple[str, ...]
    options: tuple[str, ...] = ()
    permutation: tuple[int, ...] = ()


def template_job(
    template: Template, values: Mapping[str, JSON], seed: int = 0, shuffle: bool = False
) -> RenderJob:
    """The job whose texts are the prompt and the answer of a template."""
    both = (template.input, template.output) if template.output else (template.input,)
    return RenderJob(both, values, template.choices, seed, shuffle)


@dataclass(slots=True)
class _Chunk:
    """Jobs on their way to the worker.

    ``sent`` are the places in ``jobs`` of those that were sent, in order; the others have their
    answers already.
    """

    jobs: list[RenderJob] = field(default_factory=list)
    answers: list[Rendering | RenderFailure | None] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    payload: bytes = b""


def _taken(jobs: deque[RenderJob]) -> Iterator[RenderJob]:
    while jobs:
        yield jobs.popleft()


class TemplateWorker:
    """Renders templates in a sandboxed process that lives from ``with`` to its end.

    Args:
        memory: bytes that the worker may take above what it has at its start.
        row_seconds: wall clock for one row.

    A template that exhausts its worker on ``PATIENCE`` rows before it has rendered any is not
    tried again: a template that hangs costs seconds, not seconds for each of a million rows.
    """

    def __init__(self, *, memory: int = 512 << 20, row_seconds: float = 2.0) -> None:
        if memory <= 0 or row_seconds <= 0:
            raise ValueError(f"limits must be positive. Got {memory=}, {row_seconds=}.")
        self._memory, self._row_seconds = memory, row_seconds
        self._entered = self._streaming = False
        self._process: WorkerProcess | None = None
        self._limits: Limits | None = None
        self._exhausted: dict[tuple[str, ...], list[str]] = {}
        self._proven: set[tuple[str, ...]] = set()

    def __enter__(self) -> Self:
        self._exhausted.clear()
        self._proven.clear()
        self._entered = True
        self._running()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entered = False
        process, self._process = self._process, None
        if process is not None:
            process.close(kill=kind is not None)

    @property
    def limits(self) -> Limits:
        """The limits that hold on this machine; ``str`` says them in a sentence."""
        if self._limits is None:
            raise ValueError("a TemplateWorker knows its limits inside its `with` block only")
        return self._limits

    def render(self, jobs: Iterable[RenderJob]) -> list[Rendering | RenderFailure]:
        """The texts of every job, or why it has none, in the order of the jobs.

        Raises:
            TemplateError: the worker cannot be started.
        """
        return list(self.stream(jobs))

    def stream(self, jobs: Iterable[RenderJob]) -> Iterator[Rendering | RenderFailure]:
        """As ``render``, one after the other: the worker renders while the caller goes on.

        Some chunks of jobs are read ahead. A stream has to end, or to be closed, before the next.

        Raises:
            TemplateError: the worker cannot be started.
        """
        if not self._entered:
            raise ValueError("a TemplateWorker renders inside its `with` block only")
        if self._streaming:
            raise ValueError("a TemplateWorker renders one stream at a time")
        self._streaming = True
        under_way: deque[_Chunk] = deque()
        try:
            yield from self._streamed(iter(jobs), under_way)
        finally:
            self._streaming = False
            # answers of a stream that nobody reads to its end must not be those of the next
            process = self._process
            if under_way and process is not None:
                self._process = None
                process.close(kill=True)

    def _streamed(
        self, source: Iterator[RenderJob], under_way: deque[_Chunk]
    ) -> Iterator[Rendering | RenderFailure]:
        careful = False
        again: deque[RenderJob] = deque()
        while True:
            while len(under_way) < (1 if careful else CHUNKS_AHEAD):
                chunk = self._chunk(chain(_taken(again), source), careful)
                if not chunk.jobs:
                    break
                if chunk.sent:
                    self._running().send(chunk.payload)
                under_way.append(chunk)
            if not under_way:
                return
            chunk = under_way[0]
            left, careful = self._collect(chunk, careful) if chunk.sent else ([], careful)
            under_way.popleft()
            if left or self._process is None:
                # what the ended worker was to render comes again
                again.extendleft(reversed([*left, *(j for c in under_way for j in c.jobs)]))
                under_way.clear()
            for answer in chunk.answers[: len(chunk.jobs)]:
                assert answer is not None
                yield answer

    def _collect(self, chunk: _Chunk, careful: bool) -> tuple[list[RenderJob], bool]:
        """Fill in the answers of a chunk, and cut it behind the last that came.

        Returns:
            The jobs that were cut off, and whether to go on one by one: results that a dead worker
            still held are lost, until the row that ends the worker shows itself.
        """
        process, self._process = self._running(), None
        exchange = process.collect(len(chunk.sent))
        results, end = exchange.results, exchange.end
        if end is End.COMPLETE:
            self._process = process
        if careful and end in (End.SILENT, End.DEAD):
            results.append(self._last_words(exchange))
            end = End.RETIRED
        for place, result in zip(chunk.sent, results, strict=False):
            chunk.answers[place] = self._answer(chunk.jobs[place], result)
        if end is End.RETIRED:
            sources = chunk.jobs[chunk.sent[len(results) - 1]].sources
            self._exhausted.setdefault(sources, []).append(results[-1]["error"])
        if len(results) == len(chunk.sent):
            return [], False
        cut = chunk.sent[len(results)]
        left, chunk.jobs = chunk.jobs[cut:], chunk.jobs[:cut]
        return left, careful or end is not End.RETIRED

    def _last_words(self, exchange: Exchange) -> dict[str, Any]:
        """The result of the row that ended a worker without one."""
        if exchange.end is End.SILENT:
            return {"error": "template_timeout", "got": f"no end after {self._row_seconds:g} s"}
        return {"error": "template_memory", "got": f"the worker died with status {exchange.status}"}

    def _chunk(self, source: Iterator[RenderJob], careful: bool) -> _Chunk:
        """The next jobs for the worker; rows that cannot be sent are answered at once."""
        chunk = _Chunk()
        kinds: dict[tuple[Any, ...], int] = {}
        lines: list[str] = []
        size, most = 0, 1 if careful else CHUNK_ROWS
        for job in source:
            key = (job.choices, job.sources, job.shuffle)
            line = self._encode(job, kinds.setdefault(key, len(kinds)))
            if isinstance(line, RenderFailure):
                chunk.answers.append(line)
            else:
                chunk.sent.append(len(chunk.jobs))
                chunk.answers.append(None)
                lines.append(line)
                size += len(line)
            chunk.jobs.append(job)
            if len(chunk.jobs) >= most or size >= CHUNK_BYTES:
                break
        chunk.payload = f"[{json.dumps(list(kinds))},[{','.join(lines)}]]\n".encode()
        return chunk

    def _encode(self, job: RenderJob, kind: int) -> str | RenderFailure:
        """A row for the worker, or why it is not sent."""
        slugs = self._exhausted.get(job.sources)
        if slugs and len(slugs) >= PATIENCE and job.sources not in self._proven:
            got = f"not tried: the template exhausted its worker on {PATIENCE} rows, rendered none"
            return RenderFailure(slugs[-1], got, FIXES[slugs[-1]])
        values = job.values
        names = read_columns((job.choices, *job.sources))
        if names is not None:
            # a row carries columns that no template of it reads, often as long as the others
            values = {name: values[name] for name in names if name in values}
        try:
            line = f"[{kind},{job.seed},{_ENCODE(values)}]"
        except (TypeError, ValueError, RecursionError) as error:
            fix = "Turn the column into text, numbers, lists or mappings."
            return RenderFailure("template_error", f"a value that is not JSON: {error}"[:200], fix)
        if len(line) > MOST_BYTES:
            got = f"a row of {len(line):,} bytes"
            return RenderFailure("template_memory", got, FIXES["template_memory"])
        if "|||" in line and (job.choices or len(job.sources) == 1):
            return line.replace("|||", _MASK)
        return line

    def _answer(self, job: RenderJob, result: Any) -> Rendering | RenderFailure:
        """A result of the worker as the caller sees it."""
        if type(result) is list:
            self._proven.add(job.sources)
            return Rendering(tuple(result))
        if "texts" in result:
            self._proven.add(job.sources)
            options, permutation = tuple(result["options"]), tuple(result["permutation"])
            return Rendering(tuple(result["texts"]), options, permutation)
        slug, got = result["error"], result["got"]
        if slug != "template_missing_column":
            return RenderFailure(slug, got, FIXES[slug])
        known = result["known"]
        names = sorted(job.values) if known is None else known
        kind = "column" if known is None else "key"
        fix = near(got, names) if names else "Give the rows this column."
        return RenderFailure(slug, f"no {kind} {got!r}", fix)

    def _running(self) -> WorkerProcess:
        """The worker process, started if there is none."""
        if self._process is None:
            self._process = WorkerProcess(self._memory, self._row_seconds)
            self._limits = self._process.limits
        return self._process
