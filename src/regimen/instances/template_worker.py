"""The process that renders templates: a file that runs alone, away from everything of value.

It imports jinja2 and the standard library only, and is started by path as
``python -I -S template_worker.py '{"paths": [...], "memory": bytes, "row_seconds": s}'``.

It answers JSON lines on standard output. The first says which limits hold here:
``{"memory": bytes or null, "timer": bool}``. Then, for every chunk that it reads, one line
``[kinds, rows]``, it writes lines ``[retires, [result, ...]]`` until every row has its result. A
kind is ``[choices or "", [source, ...], shuffle]``, a row ``[kind, seed, {column: value}]``. A
result is the list of the texts, or ``{"texts", "options", "permutation"}``, or
``{"error", "got", "known"}``. It reads a whole chunk before it renders a row, so the writer never
waits for a row that hangs.

The templates of promptsource are rendered as that library does (Bach et al., 2022): ``choices``
first, parted at ``|||`` into the list ``answer_choices``; a source that writes prompt and answer is
parted there too, and what the row itself has of ``|||`` is masked on the way. Its filter ``choice``
draws by the row's seed here.

A row that runs out of time or memory is the last of its process: the heap it leaves behind may
fail the next row, so the worker says ``retires`` and ends. It also ends when its input does.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import partial
from itertools import islice
from random import Random
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if __name__ == "__main__":
    # `-S` leaves site-packages out; behind the standard library nothing in it can shadow that
    sys.path.extend(json.loads(sys.argv[1])["paths"])

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, UndefinedError, pass_context
from jinja2 import TemplateError as JinjaError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

if TYPE_CHECKING:
    from jinja2 import TemplateRuntimeError

MOST_CHARACTERS = 1_000_000
"""Longest text a row may render, and longest string or list that ``*`` may make."""
MOST_BITS = 100_000
"""Longest whole number that ``*`` and ``**`` may make."""
MOST_TEMPLATES = 1_000
PIECES = 64
FLUSH_SECONDS = 0.05
INTERPRETER = 256 << 20
"""Address space of a bare worker, in bytes, where the system does not tell it."""

SEPARATOR = "|||"
MASK = "\ue000\ue001\ue000"
"""Stands for the separator inside a row's values (characters for private use)."""

_CHANGES = re.compile(r"append|clear|extend|insert|pop|remove|reverse|setdefault|sort|update")
"""Names of methods that change a list or a mapping."""

Result = list[str] | dict[str, Any]
Kind = tuple[str, list[str], bool]

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


CHANCE = "chance of the row"
"""Name under which a row's context holds its seed, then its generator; none can spell it."""


@pass_context
def chosen(context: Context, values: Sequence[Any]) -> Any:
    """Filters ``choice`` and ``random``: one of the values, by the row's seed."""
    chance = context.parent[CHANCE]
    if not isinstance(chance, Random):
        context.parent[CHANCE] = chance = Random(chance)
    return chance.choice(values)


def most_frequent(values: Sequence[Any]) -> list[Any]:
    """Filter ``most_frequent``: the values that occur most often, in the order of appearance."""
    counts = Counter(values)
    most = max(counts.values(), default=0)
    return [value for value, count in counts.items() if count == most]


class Sandbox(SandboxedEnvironment):
    """The sandbox of jinja2 without loaders, unseeded chance, and products beyond any answer.

    The listed operators are intercepted at run time, which also keeps the compiler from
    computing ``'a' * 10**9`` while it folds constants. A template may change the lists and
    mappings of its row, which nobody else sees.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            undefined=NamedUndefined, keep_trailing_newline=True, cache_size=0, auto_reload=False
        )
        # the same row must give the same text in every run
        del self.globals["lipsum"]
        self.filters |= {"choice": chosen, "random": chosen, "most_frequent": most_frequent}
        self.globals["zip"] = zip

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
        self.contexts: dict[str, Context] = {}
        self.end = float("inf")
        if self.timer:
            signal.signal(signal.SIGALRM, self._ring)

    def result(self, kinds: list[Kind], row: list[Any]) -> tuple[bool, Result]:
        """Whether the worker must retire, and the texts or the failure of one row."""
        try:
            try:
                self.end = time.monotonic() + self.row_seconds
                return False, self._render(kinds[row[0]], row[1], row[2])
            finally:
                self.end = float("inf")
        except OutOfTime:
            return True, _failure("template_timeout", f"no end after {self.row_seconds:g} s")
        except MemoryError:
            return True, _failure("template_memory", "more than the memory of the worker")
        except (TooMuch, OverflowError) as error:
            return False, _failure("template_memory", str(error))
        except SecurityError as error:
            return False, _failure("template_attribute", str(error))
        except MissingName as error:
            return False, _failure("template_missing_column", error.name, error.known)
        except TemplateSyntaxError as error:
            return False, _failure("template_syntax", f"line {error.lineno}: {error.message}")
        except _ORDINARY as error:
            return False, _failure("template_error", f"{type(error).__name__}: {error}")

    def _render(self, kind: Kind, seed: int, values: dict[str, Any]) -> Result:
        choices, sources, shuffle = kind
        if not choices:
            return self._texts(sources, seed, values)
        # what a template changes in its row, the second rendering must not find changed
        again = deepcopy(values) if shuffle and _CHANGES.search("".join(sources)) else values
        listed = self._text(choices, self._names(seed, values))
        masked = [option.strip() for option in listed.split(SEPARATOR)]
        options = [unmasked(option) for option in masked]
        texts = self._texts(sources, seed, {**values, "answer_choices": list(masked)})
        order = list(range(len(options)))
        # an answer that is none of the options may be one of their places or letters
        if shuffle and texts[-1].strip() in options:
            Random(f"{seed} options").shuffle(order)
            shown = {**again, "answer_choices": [masked[place] for place in order]}
            texts = [*self._texts(sources, seed, shown)[:-1], texts[-1]]
        return {"texts": texts, "options": options, "permutation": order}

    def _texts(self, sources: list[str], seed: int, values: dict[str, Any]) -> list[str]:
        """The text of each source; a single one writes prompt and answer."""
        names = self._names(seed, values)
        texts = [self._text(source, names) for source in sources]
        if len(texts) > 1:
            return [unmasked(text) for text in texts] if MASK in "".join(texts) else texts
        parts = [unmasked(part.strip()) for part in texts[0].split(SEPARATOR)]
        if len(parts) > 2:
            raise ValueError(
                f"{len(parts)} parts between {SEPARATOR}; a prompt and an answer are 2"
            )
        return parts if len(parts) == 2 else [*parts, ""]

    def _names(self, seed: int, values: dict[str, Any]) -> dict[str, Any]:
        """What the templates of a row can name."""
        return {**self.environment.globals, **values, CHANCE: seed}

    def _text(self, source: str, names: dict[str, Any]) -> str:
        template = self.templates.get(source) or self._compile(source)
        # A context is cleaned and used again: to make one costs more than most renderings. After
        # a failure, which may leave it in the middle of a block, it is not.
        context = self.contexts.pop(source, None) or template.new_context()
        context.parent = names
        context.vars.clear()
        context.exported_vars.clear()
        stream = template.root_render_func(context)
        pieces: list[str] = []
        size = 0
        # blocks of pieces: a loop over single ones costs as much as the rendering
        while block := list(islice(stream, PIECES)):
            size += sum(map(len, block))
            if size > MOST_CHARACTERS:
                # folded constants of this size must not stay in the worker
                del self.templates[source]
                raise TooMuch(f"a text of more than {MOST_CHARACTERS:,} characters")
            pieces += block
        self.contexts[source] = context
        return "".join(pieces)

    def _compile(self, source: str) -> Template:
        if len(self.templates) >= MOST_TEMPLATES:
            oldest = next(iter(self.templates))
            del self.templates[oldest]
            self.contexts.pop(oldest, None)
        self.templates[source] = template = self.environment.from_string(source)
        return template

    def start_clock(self) -> None:
        """Let the alarm ring, once for a chunk: setting it for every row costs more than a row."""
        if self.timer:
            self._arm(self.row_seconds)

    def stop_clock(self) -> None:
        """No alarm while the worker waits for its next chunk."""
        if self.timer:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _arm(self, seconds: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        # SIGPROF ends the process even inside C code, where no handler of Python runs: the
        # last resort when the parent, which would kill it earlier, is gone
        signal.setitimer(signal.ITIMER_PROF, 2 * self.row_seconds + 2)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        """End the row whose time is over, or come again when it would be."""
        left = self.end - time.monotonic()
        if left <= 0:
            self._arm(self.row_seconds)
            raise OutOfTime
        self._arm(min(left, self.row_seconds))


def unmasked(text: str) -> str:
    """The text with what the row had of the separator."""
    return text.replace(MASK, SEPARATOR) if MASK in text else text


def _failure(error: str, got: str, known: list[str] | None = None) -> dict[str, Any]:
    return {"error": error, "got": got[:200], "known": known}


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
    for line in iter(source.readline, b""):
        if not line.endswith(b"\n"):
            return
        kinds, rows = json.loads(line)
        renderer.start_clock()
        for retires, results in _groups(renderer, kinds, rows):
            sink.write(json.dumps([retires, results]).encode() + b"\n")
            sink.flush()
            if retires:
                return
        renderer.stop_clock()


def _groups(
    renderer: Renderer, kinds: list[Kind], rows: list[list[Any]]
) -> Iterator[tuple[bool, list[Result]]]:
    """Results in groups, as many as are quick to make."""
    group: list[Result] = []
    start = time.monotonic()
    for row in rows:
        retires, result = renderer.result(kinds, row)
        group.append(result)
        if retires or time.monotonic() - start > FLUSH_SECONDS:
            yield retires, group
            if retires:
                return
            group, start = [], time.monotonic()
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
    # a chunk in a few reads, not in pieces of 8 KiB
    with suppress(BrokenPipeError), open(0, "rb", buffering=1 << 20, closefd=False) as source:
        serve(source, sink, renderer)


if __name__ == "__main__":
    main()
