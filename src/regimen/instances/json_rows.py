"""Rows of JSON files: arrays, objects with a list of rows inside, one value per line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.compression import broken_text, open_text

_PEEKED_LINES = 20
_TURN_KEYS = ({"role", "content"}, {"from", "value"})
_BREAKS = "\r\n"


@dataclass(frozen=True, slots=True)
class Found:
    """A row's number and its columns."""

    row: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Broken:
    """A row's number and why it could not be read."""

    row: int
    error: str
    got: str
    fix: str


def line_rows(file: Path) -> Iterator[Found | Broken]:
    """Rows of a file with one JSON value per line; blank lines are no rows.

    A file that holds one indented document in spite of its name is read as that document.
    """
    with open_text(file) as text:
        lines = enumerate(text, start=1)
        start = list(islice(lines, _PEEKED_LINES))
        if _is_document([line for _, line in start]):
            whole = "".join([*(line for _, line in start), *(line for _, line in lines)])
            yield from _document(whole, file)
            return
        for number, line in chain(start, lines):
            if line.strip():
                yield _line(number, line)


def _is_document(lines: list[str]) -> bool:
    first = next((line.strip() for line in lines if line.strip()), "")
    return first in ("[", "{", "[{")


def json_rows(file: Path) -> Iterator[Found | Broken]:
    """Rows of a JSON file: an array of rows, an object around one, a single row, or JSON lines.

    Raises:
        DataError: ``file-format`` where neither the whole nor its lines are JSON. A broken array
            is not read in part: nobody could tell how many rows were lost.
    """
    with open_text(file) as text:
        whole = text.read()
    if not whole.strip():
        return
    if _mostly_lines(whole):
        numbered = enumerate(_split(whole), start=1)
        yield from (_line(number, line) for number, line in numbered if line.strip())
    else:
        yield from _document(whole, file)


def _split(text: str) -> list[str]:
    """Lines as editors count them; ``str.splitlines`` also cuts at characters inside texts."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _mostly_lines(text: str) -> bool:
    """Whether at least half of the first lines are JSON values each, and there are two or more."""
    lines = [line for line in _split(text[: 1 << 22]) if line.strip()]
    if len(lines) < 2:
        return False
    first = lines[:_PEEKED_LINES]
    return 2 * sum(_is_value(line) for line in first) >= len(first)


def _is_value(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _line(number: int, line: str) -> Found | Broken:
    if broken_text(line):
        return Broken(number, "not_utf8", "bytes that are not UTF-8", "Save the file as UTF-8.")
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        got = f"{_why(error)} at column {error.pos + 1}: {_around(line, error.pos)}"
        return Broken(number, "not_json", got, _fix(line, error))
    except (ValueError, RecursionError):
        got = "a number of too many digits, or lists nested too deeply"
        return Broken(number, "not_json", got, "Check what wrote this line.")
    return _row(number, value, "\\u" in line)


def _why(error: json.JSONDecodeError) -> str:
    """What is wrong, in words of ours."""
    said = error.msg
    table = (
        ("Expecting ',' delimiter", "a comma or a closing bracket is missing"),
        ("Expecting ':' delimiter", "a colon is missing after a name"),
        ("Expecting property name", "a name in double quotes is missing"),
        ("Illegal trailing comma", "a comma stands before a closing bracket"),
        ("Unterminated string", "a text has no closing quote"),
        ("Invalid control character", "a text holds a raw line break or tab"),
        ("Invalid \\", "a backslash starts no known escape"),
        ("Extra data", "something follows the end of the value"),
        ("Expecting value", "a value is missing"),
    )
    return next((ours for theirs, ours in table if said.startswith(theirs)), "no JSON value")


def _around(text: str, position: int) -> str:
    start = max(0, position - 30)
    shown = text[start : position + 30].strip(_BREAKS)
    return ("..." if start else "") + shown + ("..." if position + 30 < len(text) else "")


def _fix(line: str, error: json.JSONDecodeError) -> str:
    text = line.strip()
    if text.endswith(","):
        return "Remove the comma at the end of the line, or name the file .json if it is an array."
    if "'" in text[:3]:
        return "Write names and texts in double quotes: json.dumps, not str, of a dictionary."
    if not text.endswith(("}", "]")):
        return "The line seems cut off; write the whole value on one line."
    if error.msg.startswith("Invalid control"):
        return "Write line breaks inside texts as \\n."
    return "Write each row with a JSON library, one value per line."


def _row(number: int, value: Any, escapes: bool) -> Found | Broken:
    """A value as a row. A bare list of turns becomes a row with the column ``messages``."""
    if isinstance(value, list) and _is_turns(value):
        value = {"messages": value}
    if not isinstance(value, dict):
        kind = type(value).__name__
        names = {"str": "a text", "list": "a list", "NoneType": "null", "bool": "true or false"}
        fix = 'Write a row as an object with named columns: {"prompt": ..., "completion": ...}.'
        return Broken(number, "not_an_object", names.get(kind, "a number"), fix)
    if escapes and broken_text(json.dumps(value, ensure_ascii=False)):
        fix = "Write characters beyond U+FFFF as pairs of escapes, or as they are."
        return Broken(number, "not_unicode", "half of a pair of escapes (\\ud800 to \\udfff)", fix)
    return Found(number, value)


def _is_turns(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) for turn in value)
        and any(keys <= set(value[0]) for keys in _TURN_KEYS)
    )


def _document(text: str, file: Path) -> Iterator[Found | Broken]:
    if broken_text(text):
        line = next(n for n, line in enumerate(_split(text), start=1) if broken_text(line))
        raise DataError(
            "The file is not UTF-8 text.",
            slug="file-encoding",
            fix="Save the file as UTF-8.",
            where=f"{file}:{line}",
        )
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            "The file is not valid JSON.",
            slug="file-format",
            got=f"{_why(error)}: {_around(text, error.pos)}",
            expected="an array of rows, an object with a list of rows, or one row per line",
            fix="Correct this place, or write one row per line (.jsonl).",
            where=f"{file}:{error.lineno}:{error.colno}",
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            "The file holds a number of too many digits, or lists nested too deeply.",
            slug="file-format",
            fix="Check what wrote the file.",
            where=str(file),
        ) from error
    escapes = "\\u" in text
    for number, row in enumerate(_rows_of(value), start=1):
        yield _row(number, row, escapes)


def _rows_of(value: Any) -> list[Any]:
    """The rows of a document."""
    if isinstance(value, list):
        return [value] if _is_turns(value) else value
    if not isinstance(value, dict):
        return [value]
    lists = [x for x in value.values() if isinstance(x, list) and x and isinstance(x[0], dict)]
    whole_row = len(lists) != 1 or _is_turns(lists[0]) or {"Definition", "definition"} & set(value)
    return [value] if whole_row else lists[0]
