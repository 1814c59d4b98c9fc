"""Rows and ready instances to curated tables, one chunk at a time: the part that workers do.

A ``Producer`` is made of a ``Plan`` once in each process. What it makes of a chunk depends on the
chunk and the plan alone, so the tables are the same for any number of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from regimen.curation.card import sizes
from regimen.curation.filters import Filter, chained, conversation_shape, length, no_answer
from regimen.curation.leaks import LeakRule, leak_filter
from regimen.curation.ledger import Outcome
from regimen.errors import DataError
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import base_suite
from regimen.instances.formatting import FormattingFailure, TaskRows, formatted
from regimen.instances.templates import TemplateWorker
from regimen.records import Instance, Item
from regimen.settings.build import CurationSettings
from regimen.tables import instances_to_table

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 2048
"""Rows of a chunk: enough to render together, few enough to share out."""
_WHOLE = "Write characters beyond U+FFFF whole."


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a worker has to know. ``items`` are what the training data must not give away."""

    spec: FormattingSpec
    seed: int
    curation: CurationSettings
    tokenizer: str = ""
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows to format, or instances that are ready."""

    rows: tuple[TaskRows, ...] = ()
    instances: tuple[Instance, ...] = ()

    def __len__(self) -> int:
        return sum(len(piece.rows) for piece in self.rows) + len(self.instances)


@dataclass(frozen=True, slots=True)
class Product:
    """What a chunk became: a table, characters of prompts and answers, the accounts of the steps.

    ``rows`` is the size of the chunk.
    """

    table: pa.Table
    prompts: list[int]
    answers: list[int]
    outcomes: list[Outcome]
    rows: int


def chunks(pieces: Iterable[TaskRows], instances: Sequence[Instance] = ()) -> Iterator[Chunk]:
    """Ready instances, then the rows of tasks, in chunks of about ``ROWS_AT_ONCE``."""
    for start in range(0, len(instances), ROWS_AT_ONCE):
        yield Chunk(instances=tuple(instances[start : start + ROWS_AT_ONCE]))
    waiting: list[TaskRows] = []
    held = 0
    for piece in pieces:
        waiting.append(piece)
        held += len(piece.rows)
        if held >= ROWS_AT_ONCE:
            yield Chunk(tuple(waiting))
            waiting, held = [], 0
    if waiting:
        yield Chunk(tuple(waiting))


def clean_filters(rules: CurationSettings) -> dict[str, Filter]:
    """The filters that need nothing but the instance, by the name of their step."""
    limits = partial(length, min_answer=rules.min_characters, max_conversation=rules.max_characters)
    return {"no-answer": no_answer, "shape": conversation_shape, "length": limits}


def leak_filters(rules: CurationSettings, items: Sequence[Item]) -> dict[str, Filter]:
    """The filter for instances that give an evaluated item away, if there is one to give away.

    It indexes the items: make it once.
    """
    if not _checks_leaks(rules, items):
        return {}
    held_out = [item for item in items if item.suite != "validation"]
    tasks = {item.lineage.task for item in held_out if base_suite(item.suite) != "unseen_rows"}
    # Tasks ask different things of the same small words: an equal input alone is no leak.
    rule = LeakRule(input_alone=False)
    return {"leaks": leak_filter(items, held_out_tasks=tasks, rule=rule)}


def _checks_leaks(rules: CurationSettings, items: Sequence[Item]) -> bool:
    return rules.leak_check and bool(items)


def step_names(plan: Plan) -> tuple[str, ...]:
    """Names of the steps whose accounts a product carries, in order."""
    leaks = ("leaks",) if _checks_leaks(plan.curation, plan.items) else ()
    return ("format", *clean_filters(plan.curation), *leaks)


def is_unicode(instance: Instance) -> bool:
    """Whether all texts can be written; half of a surrogate pair, which no file can hold, is none.

    A template or a function can make one, and a reader refuses it.
    """
    texts = (text for one in instance.messages for text in (one.text, one.reasoning))
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return False
    return True


class Producer:
    """Makes products of chunks; a context manager, for its template worker."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._filters = clean_filters(plan.curation) | leak_filters(plan.curation, plan.items)
        self._tokens = token_counter(plan.tokenizer) if plan.tokenizer else None
        self._stack = ExitStack()
        self._worker: TemplateWorker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._worker = None
        self._stack.__exit__(kind, error, traceback)

    def make(self, chunk: Chunk) -> Product:
        """Format, filter, and lay out as columns."""
        found: list[Instance] = []
        failed: list[tuple[str, str, str, str]] = []
        for made in (*chunk.instances, *self._formatted(chunk.rows)):
            if isinstance(made, FormattingFailure):
                failed.append((f"{made.task} row {made.row}", made.error, made.got, made.fix))
            elif is_unicode(made):
                found.append(made)
            else:
                where = f"{made.lineage.task or made.lineage.source} row {made.lineage.row}"
                failed.append((where, "not_unicode", "half of a surrogate pair", _WHOLE))
        account = Outcome("format", len(found) + len(failed), len(found), failed=tuple(failed))
        kept, outcomes = chained(found, self._filters)
        return Product(
            instances_to_table(kept), *sizes(kept), [account, *outcomes], rows=len(chunk)
        )

    def _formatted(self, rows: Sequence[TaskRows]) -> Iterator[Instance | FormattingFailure]:
        if not rows:
            return iter(())
        if self._worker is None:
            self._worker = self._stack.enter_context(TemplateWorker())
        plan = self.plan
        return formatted(rows, plan.spec, plan.seed, self._worker.stream, self._tokens)


def token_counter(place: str) -> Callable[[str], int]:
    """Counts the tokens of a text by a ``tokenizer.json``, or by that of a model's folder.

    Raises:
        DataError: there is no such file, or it is no tokenizer (``tokenizer-missing``).
    """
    from tokenizers import Tokenizer

    path = Path(place)
    path = path / "tokenizer.json" if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
        whole = "model" in json.loads(text)
    except OSError as error:
        raise _no_tokenizer(path, str(error)) from error
    except ValueError as error:
        raise _no_tokenizer(path, f"no JSON: {error}") from error
    if not whole:
        raise _no_tokenizer(path, "JSON without a model")
    tokenizer = Tokenizer.from_str(text)
    return lambda prompt: len(tokenizer.encode(prompt, add_special_tokens=False).ids)


def _no_tokenizer(path: Path, got: str) -> DataError:
    return DataError(
        "There is no tokenizer to count the tokens of prompts with.",
        slug="tokenizer-missing",
        got=got,
        expected="a tokenizer.json, or a folder that has one",
        fix="Set build.formatting.tokenizer to a local one, or bound max_characters instead.",
        where=str(path),
    )
