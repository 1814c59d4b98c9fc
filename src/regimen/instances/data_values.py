"""Values of tables as texts: of any reader, in any of the spellings that data sets have."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

MOST_LITERAL = 1 << 20
"""Longest text in characters that is read as a list in Python's spelling."""


def plain(value: Any) -> Any:
    """The JSON-compatible form of a value as any reader gives it; bytes are UTF-8 or a note."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int | float):
        return None if isinstance(value, float) and math.isnan(value) else value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return f"{len(value):,} bytes"
    return str(value) if isinstance(value, Decimal | timedelta) else repr(value)


def scalar_text(value: Any) -> str | None:
    """A text, number or truth value as a text; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def label_keys(value: Any) -> tuple[str, ...]:
    """The spellings under which a value may stand in ``labels``, the likeliest first."""
    text = scalar_text(value)
    if text is None:
        return ()
    if isinstance(value, bool):
        return (text, text.capitalize(), str(int(value)))
    whole = isinstance(value, float) and value.is_integer()
    return (text, str(int(value))) if whole else (text, text.strip())


def texts_of(value: Any) -> list[str] | None:
    """The texts of a list, of its JSON or Python text, or of the field ``text`` of what it holds.

    ``{"text": [...], "label": [...]}``, ``[{"text": ..., ...}]`` and ``{"A": ..., "B": ...}`` are
    lists of texts too. None for anything else.
    """
    if isinstance(value, str):
        value = literal(value)
    if isinstance(value, Mapping):
        inner = text_field(value)
        if inner is None and all(scalar_text(entry) is not None for entry in value.values()):
            inner = list(value.values())
        value = [inner] if isinstance(inner, str) else inner
    if not isinstance(value, list):
        return None
    fields = [text_field(one) if isinstance(one, Mapping) else one for one in value]
    texts = [scalar_text(one) for one in fields]
    return None if any(text is None for text in texts) else [text for text in texts if text]


def text_field(value: Mapping[str, Any]) -> Any:
    """The field of a mapping that holds its text, or its texts; None without one."""
    return next((value[name] for name in ("text", "choices", "content") if name in value), None)


def literal(text: str) -> Any:
    """The list or mapping that a text spells in JSON or in Python; None for other texts."""
    if text.strip()[:1] not in ("[", "{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        if len(text) > MOST_LITERAL:
            return None
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
