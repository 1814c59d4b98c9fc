"""Plain text for people: tables that fit, rates and durations in words, harmless characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = 100
"""Widest line of a table."""


def clean(text: str) -> str:
    """The text with control characters made visible, line breaks and tabs excepted."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    code = ord(character)
    if character in "\n\t" or not (code < 0x20 or 0x7F <= code <= 0x9F):
        return character
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """The lines of a table, its head first; columns of numbers are aligned to the right."""
    cells = [[cell(value) for value in row] for row in [columns, *rows]]
    if any(len(row) != len(columns) for row in cells):
        raise ValueError("each row of a table needs one cell for each column")
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]
    widths = [max(width_of(row[i]) for row in cells) for i in range(len(columns))]
    least = max(1, min(8, COLUMNS // max(1, len(columns)) - 2))
    while sum(widths) + 2 * (len(widths) - 1) > COLUMNS and max(widths) > least:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in cells:
        padded = [
            _fit(text, width, right=right)
            for text, width, right in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def cell(value: Any) -> str:
    """A value as the text of a table's cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return clean(str(value)).replace("\n", "⏎").replace("\t", " ")


def width_of(text: str) -> int:
    """Columns that the text takes: wide characters two, combining marks none."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _fit(text: str, width: int, *, right: bool) -> str:
    if width_of(text) > width:
        kept, room = "", width - 1
        for character in text:
            room -= _columns(character)
            if room < 0:
                break
            kept += character
        text = kept + "…"
    space = " " * (width - width_of(text))
    return space + text if right else text + space


def rate(done: int, seconds: float, unit: str) -> list[str]:
    """The rate in words, once there is one."""
    if not done or seconds <= 0:
        return []
    speed = done / seconds
    if speed >= 1:
        return [f"{speed:,.0f} {unit}/s" if speed >= 100 else f"{speed:.1f} {unit}/s"]
    return [f"{seconds / done:.1f} s each"]


def shown_fields(fields: Mapping[str, Any]) -> list[str]:
    """``loss 2.31`` for each field."""
    return [f"{name} {cell(value)}" for name, value in fields.items()]


def duration(seconds: float) -> str:
    """``42 s``, ``2 min 13 s``, ``1 h 5 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
