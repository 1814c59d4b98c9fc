"""Rendered data of T0: rows of prompts and answers, one JSON lines file per template.

The rows are those of the Public Pool of Prompts after rendering (Sanh et al., 2022, arXiv
2110.08207), as they are published with several names of the two columns.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regimen.instances.collections.files import FileText, check_filled, read_collection
from regimen.instances.compression import broken_text
from regimen.instances.natural_tasks import NO_ANSWER_FIX
from regimen.instances.readers import RowFailure
from regimen.instances.turns import Unusable
from regimen.records import Row, Task

SUFFIXES = (".jsonl",)
SOURCE = "t0"
PAIRS = (
    ("prompt", "completion"),
    ("prompt", "output"),
    ("inputs_pretokenized", "targets_pretokenized"),
    ("inputs", "targets"),
    ("input", "target"),
    ("input", "output"),
)
"""Names of the columns of prompt and answer; the first pair that a row has holds."""
END_MARKS = ("<|endoftext|>", "</s>")
_OPTIONS = "answer_choices"


def read_t0(path: Path | str) -> Iterator[Task | RowFailure]:
    """A task for every file, after a failure for each row that it cannot use.

    A row becomes ``input``, ``output`` and, from ``answer_choices``, ``options``. Prompts stay as
    they are. Answers lose marks of the end (``END_MARKS``) and outer white space; the tags
    ``end_marks`` and ``white_space`` count the answers that did, and ``left_out`` names columns
    that were not read. A failure's row is its line.

    Args:
        path: a .jsonl file, a directory tree of them, or a bundle: JSON lines with ``path`` and
            ``text``. Each may be compressed.

    Raises:
        DataError: as ``read_collection``; an empty file is ``file-empty``.
    """
    return read_collection(path, SUFFIXES, parse_t0)


def parse_t0(file: FileText) -> Iterator[Task | RowFailure]:
    """The task of one file.

    Raises:
        DataError: the file is empty (``file-empty``).
    """
    check_filled(file)
    rows: list[Row] = []
    changed: Counter[str] = Counter()
    left_out: set[str] = set()
    for number, line in enumerate(file.text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row, changes, others = _row(line)
        except Unusable as problem:
            yield RowFailure(number, problem.error, problem.got, problem.fix)
            continue
        rows.append(row)
        changed.update(changes)
        left_out.update(others)
    if rows:
        counts = {kind: str(count) for kind, count in sorted(changed.items())}
        others_tag = {"left_out": ", ".join(sorted(left_out))} if left_out else {}
        yield Task(
            name=file.stem,
            source=SOURCE,
            instances=tuple(rows),
            tags={"template": file.stem, **counts, **others_tag},
        )


def _row(line: str) -> tuple[Row, list[str], set[str]]:
    """A row, which changes its answer underwent, and the columns that were not read."""
    values = _values(line)
    pair = next((pair for pair in PAIRS if values.keys() >= set(pair)), None)
    if pair is None:
        got = f"columns {', '.join(map(str, values))}"[:200]
        expected = "; ".join(" and ".join(names) for names in PAIRS)
        raise Unusable("unknown_columns", got, f"Name the columns {expected}.")
    prompt, answer = (values[name] for name in pair)
    if not isinstance(prompt, str) or not prompt.strip():
        raise Unusable(
            "no_question", f"{pair[0]} is {prompt!r}"[:80], "Write the prompt as a text."
        )
    if not isinstance(answer, str):
        raise Unusable("no_answer", f"{pair[1]} is {answer!r}"[:80], NO_ANSWER_FIX)
    cleaned, changes = clean_answer(answer)
    if not cleaned:
        raise Unusable("no_answer", f"{pair[1]} is {answer!r}"[:80], NO_ANSWER_FIX)
    row = {"input": prompt, "output": cleaned, **_options(values.get(_OPTIONS))}
    return row, changes, set(values) - {*pair, _OPTIONS}


def clean_answer(answer: str) -> tuple[str, list[str]]:
    """An answer without marks of its end and outer white space, and which of the two it had.

    The changes are ``end_marks`` and ``white_space``; white space before a mark counts too.
    """
    text = answer.strip()
    spaced, end = text != answer, len(text)
    while mark := next((mark for mark in END_MARKS if text.endswith(mark, 0, end)), ""):
        end -= len(mark)
        while end and text[end - 1].isspace():
            end, spaced = end - 1, True
    found = {"end_marks": end < len(text), "white_space": spaced}
    return text[:end], [kind for kind, was in found.items() if was]


def _options(value: Any) -> dict[str, list[str]]:
    """The options of a row; none where the column is empty or left out."""
    if value is None or value == []:
        return {}
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        got = f"{_OPTIONS} is {value!r}"[:80]
        raise Unusable("no_options", got, "Write the options as a list of texts.")
    return {"options": value}


def _values(line: str) -> Mapping[str, Any]:
    if broken_text(line):
        raise Unusable("not_utf8", "bytes that are not UTF-8", "Save the file as UTF-8.")
    fix = "Write each row as a JSON object on one line."
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Unusable("not_json", f"{error}: {line[:60]}"[:160], fix) from error
    if not isinstance(values, dict):
        raise Unusable("not_an_object", type(values).__name__, fix)
    if "\\u" in line and broken_text(json.dumps(values, ensure_ascii=False)):
        raise Unusable("not_unicode", "half of a pair of escapes", "Write whole characters.")
    return values
