"""Items of your own: ``items.parquet`` of a build, or rows of any readable file.

A row has ``prompt`` (text), or ``messages``, or ``definition`` and ``input``; and of these what the
suite's metrics need: ``references`` (a text or a list of accepted answers), ``choices``,
``constraints`` (``{kind, arguments}``). ``demonstrations`` (``{input, output}``), ``follow_ups``,
``task``, ``family``, ``category``, ``language``, ``licence`` and ``cluster`` are kept where given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from regimen.evaluation.published.reading import (
    Found,
    SuiteSpec,
    asked_item,
    suite_files,
    suite_rows,
    text_of,
    wrong_format,
)
from regimen.instances.compression import suffixes
from regimen.instances.readers import RawRow, RowFailure
from regimen.records import Constraint, Example, Message, Role
from regimen.tables import read_table, table_to_items

EXPECTED = "rows with prompt (or messages, or definition and input) and references"
ASKED = ("prompt", "messages", "input", "definition")
VALIDATION = "validation"
"""The suite of a build whose items choose the prompted base's examples; it is not asked."""


def read_own_items(spec: SuiteSpec) -> Iterator[Found]:
    """The items of a file or of all files of a folder; suites of a build become one.

    Raises:
        DataError: as ``suite_files`` and ``suite_rows``, and ``read_table`` for Parquet files.
    """
    for file in suite_files(spec):
        if suffixes(file) == (".parquet", "") and _written_by_build(file):
            for item in table_to_items(read_table(file)):
                if item.suite != VALIDATION:
                    yield replace(item, suite=spec.name)
            continue
        yield from _rows(file, spec)


def _written_by_build(file: Path) -> bool:
    import pyarrow.parquet as pq

    return b"schema_version" in (pq.read_schema(file).metadata or {})


def _rows(file: Path, spec: SuiteSpec) -> Iterator[Found]:
    first = True
    for row in suite_rows(file, spec, (), EXPECTED):
        if isinstance(row, RowFailure):
            yield row
            continue
        if not any(row.values.get(name) for name in ASKED):
            if first:
                raise wrong_format(file, spec, row.values, EXPECTED)
            got = f"a row without {', '.join(ASKED)}"
            yield RowFailure(row.row, "nothing_asked", got, f"Write {EXPECTED}.", row.source)
            continue
        first = False
        try:
            yield _item(spec, row)
        except (TypeError, ValueError) as error:
            yield RowFailure(row.row, "item", str(error), f"Write {EXPECTED}.", row.source)


def _item(spec: SuiteSpec, row: RawRow) -> Found:
    """The item of a row; raises ``TypeError`` or ``ValueError`` for values of another kind."""
    values = row.values
    item = asked_item(
        spec,
        row,
        text_of(values.get("prompt") or values.get("input")),
        _texts(values.get("references"), "references"),
        definition="" if values.get("prompt") else text_of(values.get("definition")),
        demonstrations=[_example(one) for one in _list(values.get("demonstrations"))],
        choices=_texts(values.get("choices"), "choices"),
        constraints=[_constraint(one) for one in _list(values.get("constraints"))],
        follow_ups=_texts(values.get("follow_ups"), "follow_ups"),
        language=text_of(values.get("language")),
        task=text_of(values.get("task")) or spec.name,
        family=text_of(values.get("family")),
        category=text_of(values.get("category")),
        licence=text_of(values.get("licence")),
    )
    messages = tuple(_message(one) for one in _list(values.get("messages")))
    return replace(
        item,
        messages=messages or item.messages,
        input=text_of(values.get("input")) or item.input,
        definition=text_of(values.get("definition")) or item.definition,
        cluster=text_of(values.get("cluster")),
    )


def _list(value: Any) -> Sequence[Any]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}"[:120])
    return value


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    texts = [text_of(one) for one in values]
    if not all(texts):
        raise ValueError(f"{name} hold something that is no text: {value!r}"[:120])
    return texts


def _mapping(value: Any, *names: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(name in value for name in names):
        raise TypeError(f"expected a mapping with {', '.join(names)}, got {value!r}"[:120])
    return value


def _example(value: Any) -> Example:
    found = _mapping(value, "input", "output")
    return Example(input=text_of(found["input"]), output=text_of(found["output"]))


def _constraint(value: Any) -> Constraint:
    found = _mapping(value, "kind")
    return Constraint(kind=text_of(found["kind"]), arguments=dict(found.get("arguments") or {}))


def _message(value: Any) -> Message:
    found = _mapping(value, "role", "content")
    if found["role"] not in get_args(Role):
        raise ValueError(f"role is {found['role']!r}, expected one of {', '.join(get_args(Role))}")
    return Message(role=found["role"], content=text_of(found["content"]))
