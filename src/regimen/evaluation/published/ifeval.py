"""IFEval (Zhou et al. 2023, 2311.07911) and its sets in other languages: prompts with constraints.

JSON lines of ``key``, ``prompt``, ``instruction_id_list`` and ``kwargs``, one mapping for each
instruction; nulls among these say nothing and are left out. The language is that of the instruction
ids (``fr:punctuation:no_comma``), else that of the file's name (``fr_input_data.jsonl``), else
English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from regimen.evaluation.published.reading import (
    SIGNATURES,
    Found,
    SuiteSpec,
    asked_item,
    not_text,
    suite_files,
    suite_rows,
    text_of,
)
from regimen.instances.readers import RawRow, RowFailure
from regimen.records import Constraint

EXPECTED = "JSON lines with prompt, instruction_id_list and kwargs"
COLUMNS = SIGNATURES["ifeval"]

_LANGUAGE = re.compile(r"([a-z]{2,3})[_-]")


def read_ifeval(spec: SuiteSpec) -> Iterator[Found]:
    """The prompts of a file, or of all files of a folder.

    Raises:
        DataError: as ``suite_files`` and ``suite_rows``.
    """
    for file in suite_files(spec):
        for row in suite_rows(file, spec, COLUMNS, EXPECTED):
            yield row if isinstance(row, RowFailure) else _item(spec, row)


def _item(spec: SuiteSpec, row: RawRow) -> Found:
    prompt = text_of(row.values["prompt"])
    if not prompt.strip():
        return not_text(row, "prompt")
    constraints = _constraints(row)
    if isinstance(constraints, RowFailure):
        return constraints
    kinds = [one.kind for one in constraints]
    return asked_item(
        spec,
        row,
        prompt,
        (),
        task="ifeval",
        constraints=constraints,
        category=_group(kinds[0]),
        family="constraints",
        language=_language(kinds, row.source),
    )


def _constraints(row: RawRow) -> tuple[Constraint, ...] | RowFailure:
    """Kind and arguments of every instruction of a row."""
    kinds, arguments = row.values["instruction_id_list"], row.values["kwargs"]
    well = isinstance(kinds, list) and isinstance(arguments, list) and len(kinds) == len(arguments)
    if not well or not kinds or not all(isinstance(kind, str) and kind for kind in kinds):
        got = f"instruction_id_list {kinds!r}, kwargs {arguments!r}"[:160]
        fix = "Write as many kwargs, each a mapping, as instruction ids, at least one."
        return RowFailure(row.row, "constraints", got, fix, row.source)
    return tuple(
        Constraint(kind=kind, arguments=_given(given))
        for kind, given in zip(kinds, arguments, strict=True)
    )


def _given(arguments: Any) -> dict[str, Any]:
    if not isinstance(arguments, Mapping):
        return {}
    return {str(name): value for name, value in arguments.items() if value is not None}


def _group(kind: str) -> str:
    """``length_constraints`` of ``en:length_constraints:number_words``."""
    parts = kind.split(":")
    return parts[-2] if len(parts) > 1 else kind


def _language(kinds: list[str], source: str) -> str:
    prefixes = [kind.split(":")[0] for kind in kinds if kind.count(":") > 1]
    if prefixes:
        return prefixes[0]
    named = _LANGUAGE.match(source.rpartition("/")[2])
    return named[1] if named else "en"
