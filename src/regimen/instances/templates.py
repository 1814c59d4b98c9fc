"""Templates: checked in this process without running them, rendered in a sandboxed one.

A template is jinja2 over the columns of a row. Parsing it is safe; rendering a stranger's is not,
so ``TemplateWorker`` renders in a process of its own (``template_worker``) with a cap on address
space and a wall clock for each row. A row that hangs, asks for a gigabyte or reaches for
attributes is a counted failure; the other rows of its batch still render.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Self

import jinja2
from jinja2 import meta, nodes, pass_context
from jinja2.runtime import Context

from regimen.errors import TemplateError, near
from regimen.instances import template_worker
from regimen.instances.template_process import End, Exchange, Limits, WorkerProcess
from regimen.records import Template

JSON = str | int | float | bool | None | Sequence["JSON"] | Mapping[str, "JSON"]

CHUNK_ROWS, CHUNK_BYTES = 512, 1 << 20
CHUNKS_AHEAD = 2
"""Chunks under way: the worker renders one while this process writes the next."""
_MASK = json.dumps(template_worker.MASK)[1:-1]
MOST_BYTES = 16 << 20
"""Largest row that is sent to the worker, as JSON."""
PATIENCE = 5
"""Rows on which a template may exhaust its worker before it has rendered one."""

FIXES = {
    "template_timeout": "Shorten the template's loops, or drop the row.",
    "template_memory": "Shorten the loops and repetitions of the template, or the row's values.",
    "template_attribute": "Read columns only; put anything else into a column of its own.",
    "template_syntax": "Correct the template on that line.",
    "template_error": "Correct the expression, or guard it with an {% if %}.",
}


@dataclass(frozen=True, slots=True)
class RenderJob:
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


@dataclass(frozen=True, slots=True)
class RenderFailure:
    """Why a row has no text. ``error`` is the slug that the ledger counts."""

    error: str
    got: str
    fix: str


# -- checks in this process: nothing is executed ----------------------------------------------


@pass_context
def _never_called(context: Context, *values: Any, **named: Any) -> str:
    """Stands for every filter here: jinja2 does not fold a filter that wants the context."""
    raise AssertionError("a filter was called while a template was checked")


def _checker() -> jinja2.Environment:
    """The worker's environment, made unable to compute anything while it compiles."""
    environment = template_worker.Sandbox()
    environment.filters = dict.fromkeys(environment.filters, _never_called)
    return environment


_CHECKER = _checker()
_READS_FILES = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)
_OPTIONAL = {"default", "d", "defined", "undefined"}


def _names(source: str) -> set[str] | RenderFailure:
    """Names that the template takes from the row and needs, or why it cannot be compiled."""
    try:
        tree = _CHECKER.parse(source)
        if other := next(tree.find_all(_READS_FILES), None):
            got = f"line {other.lineno}: {{% {type(other).__name__.lower()} %}}"
            return RenderFailure("template_syntax", got, "Write the text of the other file here.")
        names = meta.find_undeclared_variables(tree)
        guarded = {
            node.node.name
            for node in tree.find_all((nodes.Filter, nodes.Test))
            if node.name in _OPTIONAL and isinstance(node.node, nodes.Name)
        }
    except jinja2.TemplateSyntaxError as error:
        got = f"line {error.lineno}: {error.message}"
        return RenderFailure("template_syntax", got[:200], FIXES["template_syntax"])
    except RecursionError:
        return RenderFailure("template_syntax", "too deep a nesting", "Nest less deeply.")
    return names - guarded - set(_CHECKER.globals)


@lru_cache(maxsize=4096)
def _read_columns(sources: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names that the sources may look up, needed or not; None where one cannot be compiled."""
    names: set[str] = set()
    for source in sources:
        try:
            names |= meta.find_undeclared_variables(_CHECKER.parse(source))
        except (jinja2.TemplateSyntaxError, RecursionError):
            return None
    return tuple(sorted(names))


def compile_check(source: str) -> RenderFailure | None:
    """Why a template cannot be compiled, with the line; None if it can. Runs nothing of it."""
    names = _names(source)
    return names if isinstance(names, RenderFailure) else None


def missing_columns(source: str, columns: Iterable[str]) -> tuple[str, ...]:
    """Names that the template needs and ``columns`` lacks, sorted.

    A name that the template guards itself (``is defined``, ``default``) is not needed.

    Raises:
        TemplateError: the template cannot be compiled.
    """
    names = _names(source)
    if isinstance(names, RenderFailure):
        raise _syntax_error(names, "")
    return tuple(sorted(names - set(columns)))


def check_template(source: str, columns: Iterable[str], where: str = "") -> None:
    """Raise ``TemplateError`` unless the template compiles and finds its columns.

    Args:
        source: the template.
        columns: names of the columns that every row has.
        where: file and line of the template, for the error.
    """
    failure = compile_check(source)
    if failure is not None:
        raise _syntax_error(failure, where)
    known = sorted(set(columns))
    absent = missing_columns(source, known)
    if absent:
        raise TemplateError(
            f"The template names {', '.join(map(repr, absent))}, which the rows do not have.",
            slug="template-missing-column",
            got=", ".join(absent),
            expected=", ".join(known) or "a source with columns",
            fix=" ".join(near(name, known) for name in absent) if known else "",
            where=where,
        )


def _syntax_error(failure: RenderFailure, where: str) -> TemplateError:
    return TemplateError(
        "The template cannot be compiled.",
        slug="template-syntax",
        got=failure.got,
        expected="a jinja2 template that stands alone",
        fix=failure.fix,
        where=where,
    )


# -- rendering in the worker ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Rows on their way to the worker: their positions in the batch, the bytes, what follows."""

    rows: list[int]
    payload: bytes
    stop: int


_NOTHING = RenderFailure("template_error", "no answer", "")


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
        self._entered = False
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

    def render(self, jobs: Sequence[RenderJob]) -> list[Rendering | RenderFailure]:
        """The texts of every job, or why it has none, in the order of the jobs.

        Raises:
            TemplateError: the worker cannot be started.
        """
        if not self._entered:
            raise ValueError("a TemplateWorker renders inside its `with` block only")
        answers: list[Rendering | RenderFailure] = [_NOTHING] * len(jobs)
        under_way: deque[_Chunk] = deque()
        start, careful = 0, False
        while start < len(jobs) or under_way:
            while start < len(jobs) and len(under_way) < (1 if careful else CHUNKS_AHEAD):
                chunk = self._chunk(jobs, start, careful, answers)
                start = chunk.stop
                if chunk.rows:
                    self._running().send(chunk.payload)
                    under_way.append(chunk)
            if under_way:
                again = self._collect(jobs, under_way.popleft(), careful, answers)
                if again is not None:
                    under_way.clear()
                    start, careful = again
                else:
                    careful = False
        return answers

    def _collect(
        self,
        jobs: Sequence[RenderJob],
        chunk: _Chunk,
        careful: bool,
        answers: list[Rendering | RenderFailure],
    ) -> tuple[int, bool] | None:
        """Fill in the answers of a chunk. After an end of the worker: the row to go on with, and
        whether one by one."""
        process, self._process = self._running(), None
        exchange = process.collect(len(chunk.rows))
        results, end = exchange.results, exchange.end
        if end is End.COMPLETE:
            self._process = process
        if careful and end in (End.SILENT, End.DEAD):
            results.append(self._last_words(exchange))
            end = End.RETIRED
        for row, result in zip(chunk.rows, results, strict=False):
            answers[row] = self._answer(jobs[row], result)
        if end is End.COMPLETE:
            return None
        if end is End.RETIRED:
            sources = jobs[chunk.rows[len(results) - 1]].sources
            self._exhausted.setdefault(sources, []).append(results[-1]["error"])
        if len(results) == len(chunk.rows):
            return chunk.stop, False
        # results that a dead worker still held are lost: go on behind those that came, one by
        # one, until the row that ends the worker shows itself
        return chunk.rows[len(results)], careful or end is not End.RETIRED

    def _last_words(self, exchange: Exchange) -> dict[str, Any]:
        """The result of the row that ended a worker without one."""
        if exchange.end is End.SILENT:
            return {"error": "template_timeout", "got": f"no end after {self._row_seconds:g} s"}
        return {"error": "template_memory", "got": f"the worker died with status {exchange.status}"}

    def _chunk(
        self,
        jobs: Sequence[RenderJob],
        start: int,
        careful: bool,
        answers: list[Rendering | RenderFailure],
    ) -> _Chunk:
        """The next rows for the worker; rows that cannot be sent are answered at once."""
        kinds: dict[tuple[Any, ...], int] = {}
        rows: list[int] = []
        lines: list[str] = []
        size, stop, most = 0, start, 1 if careful else CHUNK_ROWS
        while stop < len(jobs) and len(rows) < most and size < CHUNK_BYTES:
            job = jobs[stop]
            key = (job.choices, job.sources, job.shuffle)
            line = self._encode(job, kinds.setdefault(key, len(kinds)))
            if isinstance(line, RenderFailure):
                answers[stop] = line
            else:
                rows.append(stop)
                lines.append(line)
                size += len(line)
            stop += 1
        payload = f"[{json.dumps(list(kinds))},[{','.join(lines)}]]\n"
        return _Chunk(rows, payload.encode(), stop)

    def _encode(self, job: RenderJob, kind: int) -> str | RenderFailure:
        """A row for the worker, or why it is not sent."""
        slugs = self._exhausted.get(job.sources)
        if slugs and len(slugs) >= PATIENCE and job.sources not in self._proven:
            got = f"not tried: the template exhausted its worker on {PATIENCE} rows, rendered none"
            return RenderFailure(slugs[-1], got, FIXES[slugs[-1]])
        values = job.values
        names = _read_columns((job.choices, *job.sources))
        if names is not None:
            # a row carries columns that no template of it reads, often as long as the others
            values = {name: values[name] for name in names if name in values}
        try:
            line = f"[{kind},{job.seed},{json.dumps(values)}]"
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
