"""The process that renders templates: a file that runs alone, away from everything of value.

It imports jinja2 and the standard library only, and is started by path as
``python -I -S template_worker.py '{"paths": [...], "memory": bytes, "row_seconds": s}'``.

It answers JSON lines on standard output. The first says which limits hold here:
``{"memory": bytes or null, "timer": bool}``. Then, for every chunk that it reads,
``{"sources": [...], "rows": n, "careful": bool}`` and n lines ``[source, {column: value}]``, it
writes lines ``[retires, [result, ...]]`` until n results are out. A result is the text or
``[slug, got, known names]``. It reads a whole chunk before it renders a row, so the writer never
waits for a row that hangs.

A row that runs out of time or memory is the last of its process: the heap it leaves behind may
fail the next row, so the worker says ``retires`` and ends. It also ends when its input does.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if __name__ == "__main__":
    # `-S` leaves site-packages out; behind the standard library nothing in it can shadow that
    sys.path.extend(json.loads(sys.argv[1])["paths"])

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

if TYPE_CHECKING:
    from jinja2 import TemplateRuntimeError

MOST_CHARACTERS = 1_000_000
"""Longest text a row may render, and longest string or list that ``*`` may make."""
MOST_BITS = 100_000
"""Longest whole number that ``*`` and ``**`` may make."""
MOST_TEMPLATES = 1_000
FLUSH_SECONDS, FLUSH_CHARACTERS = 0.05, 1 << 16
INTERPRETER = 256 << 20
"""Address space of a bare worker, in bytes, where the system does not tell it."""

Result = str | list[Any]

_ORDINARY = (
    *(ArithmeticError, AssertionError, AttributeError, JinjaError, LookupError, NameError),
    *(OSError, RuntimeError, StopIteration, SyntaxError, TypeError, ValueError),
)
"""What a template can raise; anything else ends the worker, and the reader finds the row."""


class OutOfTime(BaseException):
    """The row's time is over. Not an ``Exception``: jinja2 catches those while it compiles."""


class TooMuch(Exception):
    """A row asks for more than any answer could hold; refused before it is allocated."""


class MissingName(UndefinedError):
    """A template uses a name that the row, or a mapping of the row, does not have.

    ``known`` are the keys of the mapping, None for a column of the row itself.
    """

    def __init__(self, name: str, known: list[str] | None, message: str | None = None) -> None:
        super().__init__(message)
        self.name, self.known = name, known


class NamedUndefined(StrictUndefined):
    """A ``StrictUndefined`` whose error carries the missing name, not only a sentence."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if (
            exc is UndefinedError
            and isinstance(name, str)
            and (obj is missing or type(obj) is dict)
        ):
            known = None if obj is missing else [str(key)[:100] for key in list(obj)[:100]]
            # jinja2 only ever calls ``exc`` with the message
            exc = cast("type[TemplateRuntimeError]", partial(MissingName, name, known))
        super().__init__(hint, obj, name, exc)


class Sandbox(ImmutableSandboxedEnvironment):
    """The sandbox of jinja2 without loaders, chance, and products that no answer could hold.

    The listed operators are intercepted at run time, which also keeps the compiler from
    computing ``'a' * 10**9`` while it folds constants.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=NamedUndefined, keep_trailing_newline=True, cache_size=0, auto_reload=False
        )
        # the same row must give the same text in every run
        del self.globals["lipsum"], self.filters["random"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """``left operator right``; raises ``TooMuch`` for a product beyond the limits."""
        if operator == "*":
            _check_product(left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_bits(left.bit_length() * right)
        return super().call_binop(context, operator, left, right)


def _check_product(left: Any, right: Any) -> None:
    """Raise ``TooMuch`` where ``left * right`` would be longer than the limits."""
    if isinstance(left, int) and isinstance(right, int):
        _check_bits(left.bit_length() + right.bit_length())
        return
    for one, other in ((left, right), (right, left)):
        sequence = isinstance(one, str | list | tuple) and isinstance(other, int)
        if sequence and len(one) * other > MOST_CHARACTERS:
            raise TooMuch(f"a {type(one).__name__} of {len(one) * other:,} elements")


def _check_bits(bits: int) -> None:
    if bits > MOST_BITS:
        raise TooMuch(f"a number of more than {MOST_BITS:,} bits")


class Renderer:
    """Compiles each source once and turns rows into results, each within ``row_seconds``."""

    def __init__(self, row_seconds: float) -> None:
        self.row_seconds = row_seconds
        self.timer = hasattr(signal, "setitimer")
        self.environment = Sandbox()
        self.templates: dict[str, Template] = {}
        if self.timer:
            signal.signal(signal.SIGALRM, _ring)

    def result(self, sources: list[str], line: bytes) -> tuple[bool, Result]:
        """Whether the worker must retire, and the text or the failure of one row."""
        try:
            try:
                self._arm(self.row_seconds)
                return False, self._render(sources, line)
            finally:
                self._arm(0)
        except OutOfTime:
            return True, ["template_timeout", f"no end after {self.row_seconds:g} s", []]
        except MemoryError:
            return True, ["template_memory", "more than the memory of the worker", []]
        except (TooMuch, OverflowError) as error:
            return False, ["template_memory", str(error)[:200], []]
        except SecurityError as error:
            return False, ["template_attribute", str(error)[:200], []]
        except MissingName as error:
            return False, ["template_missing_column", error.name[:200], error.known]
        except TemplateSyntaxError as error:
            return False, ["template_syntax", f"line {error.lineno}: {error.message}"[:200], []]
        except _ORDINARY as error:
            return False, ["template_error", f"{type(error).__name__}: {error}"[:200], []]

    def _render(self, sources: list[str], line: bytes) -> str:
        index, values = json.loads(line)
        source = sources[index]
        template = self.templates.get(source) or self._compile(source)
        pieces: list[str] = []
        size = 0
        for piece in template.root_render_func(template.new_context(values)):
            size += len(piece)
            if size > MOST_CHARACTERS:
                # folded constants of this size must not stay in the worker
                self.templates.pop(source, None)
                raise TooMuch(f"a text of more than {MOST_CHARACTERS:,} characters")
            pieces.append(piece)
        return "".join(pieces)

    def _compile(self, source: str) -> Template:
        if len(self.templates) >= MOST_TEMPLATES:
            del self.templates[next(iter(self.templates))]
        self.templates[source] = template = self.environment.from_string(source)
        return template

    def _arm(self, seconds: float) -> None:
        if not self.timer:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds)
        if seconds:
            # SIGPROF ends the process even inside C code, where no handler of Python runs: the
            # last resort when the parent, which would kill it earlier, is gone
            signal.setitimer(signal.ITIMER_PROF, 2 * seconds + 2)


def _ring(number: int, frame: FrameType | None) -> None:
    raise OutOfTime


def limit_memory(memory: int) -> int | None:
    """Cap the address space ``memory`` bytes above today's; None where the system cannot."""
    try:
        import resource
    except ImportError:
        return None
    try:
        with open("/proc/self/statm", "rb") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        used = INTERPRETER
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    except (OSError, ValueError):
        return None
    return memory


def serve(source: BinaryIO, sink: BinaryIO, renderer: Renderer) -> None:
    """Answer chunks until the input ends or a row exhausts the worker."""
    for header in iter(source.readline, b""):
        chunk = json.loads(header)
        lines = [source.readline() for _ in range(chunk["rows"])]
        if not all(lines):
            return
        for retires, results in _groups(renderer, chunk, lines):
            sink.write(json.dumps([retires, results]).encode() + b"\n")
            sink.flush()
            if retires:
                return


def _groups(
    renderer: Renderer, chunk: dict[str, Any], lines: list[bytes]
) -> Iterator[tuple[bool, list[Result]]]:
    """Results in groups: one by one if ``careful``, else as many as are quick to make."""
    careful, sources = chunk["careful"], chunk["sources"]
    group: list[Result] = []
    size, start = 0, time.monotonic()
    for line in lines:
        retires, result = renderer.result(sources, line)
        group.append(result)
        size += len(result)
        full = size > FLUSH_CHARACTERS or time.monotonic() - start > FLUSH_SECONDS
        if retires or careful or full:
            yield retires, group
            if retires:
                return
            group, size, start = [], 0, time.monotonic()
    if group:
        yield False, group


def main() -> None:
    """Take the limits from the command line, say which hold, and serve."""
    settings = json.loads(sys.argv[1])
    # Ctrl-C reaches the whole group; the parent decides when this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    renderer = Renderer(settings["row_seconds"])
    hello = {"memory": limit_memory(settings["memory"]), "timer": renderer.timer}
    sink = sys.stdout.buffer
    sink.write(json.dumps(hello).encode() + b"\n")
    sink.flush()
    with suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sink, renderer)


if __name__ == "__main__":
    main()
