"""The formats of published suites: how each is read, scored and asked by default."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regimen.errors import DataError, near
from regimen.evaluation.published.bbh import prompt_file, read_bbh
from regimen.evaluation.published.choosing import chosen
from regimen.evaluation.published.gsm8k import read_gsm8k, training_file
from regimen.evaluation.published.ifeval import read_ifeval
from regimen.evaluation.published.mt_bench import read_mt_bench
from regimen.evaluation.published.own_items import read_own_items
from regimen.evaluation.published.reading import Found, SuiteSpec
from regimen.evaluation.published.super_ni import PER_TASK, read_super_ni
from regimen.instances.readers import RowFailure
from regimen.records import Item

Lines = Literal["one", "several", "open"]

STEP_TOKENS = 512
"""Longest answer that comes after its steps, where a format has no length of its own for it."""

KEPT_FAILURES = 20
"""Failures of a suite that are kept with what was found; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How a published suite is read, scored and asked where the settings do not say.

    Args:
        read: file or folder to items and failures; None where a stage makes the items.
        metric: name of the primary metric; "" where only a judge can score.
        metrics: names of the others.
        right_at: score from which an answer is right in the four buckets.
        shots: worked examples in the prompt of every system.
        base_shots: worked examples of the prompted base.
        chain_of_thought: whether an answer comes after its steps.
        max_new_tokens: longest answer.
        lines: what ends an answer of the prompted base: a line's end, a blank line, or neither.
        per_task: most items of a task.
        beside: the file with worked examples that belongs to a file of the suite.
    """

    read: Callable[[SuiteSpec], Iterator[Found]] | None
    metric: str
    metrics: tuple[str, ...] = ()
    right_at: float = 1.0
    shots: int = 0
    base_shots: int = 0
    chain_of_thought: bool = False
    max_new_tokens: int = 64
    lines: Lines = "one"
    per_task: int | None = None
    beside: Callable[[Path], Path | None] | None = None


FORMATS: Mapping[str, Format] = {
    "gsm8k": Format(
        read=read_gsm8k,
        metric="final_numeric",
        base_shots=8,
        chain_of_thought=True,
        max_new_tokens=400,
        lines="several",
        beside=training_file,
    ),
    "bbh": Format(
        read=read_bbh, metric="final_exact", base_shots=3, max_new_tokens=64, beside=prompt_file
    ),
    "ifeval": Format(
        read=read_ifeval,
        metric="ifeval_strict",
        metrics=("ifeval_loose", "ifeval_instructions"),
        max_new_tokens=1024,
        lines="open",
    ),
    "mt_bench": Format(read=read_mt_bench, metric="", max_new_tokens=1024, lines="open"),
    "super_ni": Format(
        read=read_super_ni,
        metric="rouge_l_sni",
        metrics=("exact_sni",),
        right_at=0.5,
        shots=2,
        base_shots=2,
        max_new_tokens=128,
        per_task=PER_TASK,
    ),
    "items": Format(read=read_own_items, metric="exact", metrics=("rouge_l",), base_shots=2),
    "starter": Format(read=None, metric="exact", metrics=("rouge_l",), base_shots=2, per_task=2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSuite:
    """The items of a suite, and the rows that it could not use.

    ``rows`` is how many items and failures were read before any was chosen, ``failed`` counts the
    failures by error, ``failures`` are the first of them.
    """

    name: str
    items: tuple[Item, ...]
    rows: int
    failed: Mapping[str, int]
    failures: tuple[RowFailure, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The ``read`` block of the suite: ``rows``, ``asked``, ``failed`` by error."""
        return {"rows": self.rows, "asked": len(self.items), "failed": dict(self.failed)}


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        DataError: ``unknown-suite-format``.
    """
    if name not in FORMATS:
        raise DataError(
            f"There is no suite format {name!r}.",
            slug="unknown-suite-format",
            got=name,
            expected="one of " + ", ".join(FORMATS),
            fix=near(name, FORMATS),
        )
    return FORMATS[name]


def suite_inputs(path: Path, form: Format) -> tuple[Path, ...]:
    """The files that a suite's items depend on: its own, and what stands beside a single file."""
    beside = form.beside(path) if form.beside is not None and path.is_file() else None
    return (path,) if beside is None else (path, beside)


def read_suite(spec: SuiteSpec, form: Format) -> ReadSuite:
    """The items of a suite; every row that cannot be used is counted.

    Raises:
        DataError: a file that is missing, damaged or of another format; ``suite-empty`` where
            nothing is left to ask.
    """
    assert form.read is not None
    return collected(spec, form.read(spec))


def collected(spec: SuiteSpec, records: Iterator[Found]) -> ReadSuite:
    """Items and failures of a reader, and which of the items are asked.

    Raises:
        DataError: ``suite-empty``.
    """
    items: list[Item] = []
    failures: list[RowFailure] = []
    for found in records:
        if isinstance(found, Item):
            items.append(found)
        else:
            failures.append(found)
    if not items:
        first = failures[0] if failures else None
        place = f"{first.source or spec.path.name}:{first.row}: " if first else ""
        raise DataError(
            f"The suite {spec.name!r} holds no item that can be asked.",
            slug="suite-empty",
            got=f"{place}{first.error}: {first.got}" if first else "no rows",
            expected="at least one item",
            fix=first.fix if first else "Name another file, or fewer conditions.",
            where=str(spec.path),
        )
    return ReadSuite(
        name=spec.name,
        items=chosen(items, spec),
        rows=len(items) + len(failures),
        failed=dict(Counter(failure.error for failure in failures)),
        failures=tuple(failures[:KEPT_FAILURES]),
    )
