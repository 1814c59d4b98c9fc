"""Plain text for people: tables that fit, rates and durations in words, harmless characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

COLUMNS = 100
"""Widest line of a table."""

Styled = tuple[str, str]
"""A piece of text and its style as rich names it, empty for none."""


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
    if unicodedata.combining(character) or unicodedata.category(character) in ("Cf", "Mn", "Me"):
        return 0
    if "\u1160" <= character <= "\u11ff":
        # vowels and finals of a Hangul syllable join the initial before them
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


# -- panels side by side --------------------------------------------------------------------------

GAP = " │ "
_RULES = "─╌"
NARROWEST = 30
"""Columns of a panel below which one stands alone."""
HEAD, TAIL = 22, 12
"""Lines of a long text that are shown from its start and its end."""
_LONGEST_CLUSTER = 16
_SPACES = (" ", "\t", "\u3000")
# controls that turn the direction of text would reach beyond their panel; halves of surrogate pairs
# cannot be written
_UNFIT = dict.fromkeys(
    (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029, *range(0xD800, 0xE000)),
    "\ufffd",
)


@dataclass(frozen=True, slots=True)
class Panel:
    """Texts under a title. ``sections`` are texts with their styles, a rule above each."""

    title: str
    sections: tuple[Styled, ...]
    remark: str = ""


def panel_lines(panels: Sequence[Panel], columns: int = COLUMNS) -> list[list[Styled]]:
    """Panels in two columns, or in one where they would be too narrow, as styled lines.

    The sections of two neighbours stand level, and panels after each other have an empty line
    between them.

    Args:
        panels: in the order of reading: left, right, next line.
        columns: of the terminal; no line is wider.
    """
    width = (columns - len(GAP)) // 2
    beside = 2 if width >= NARROWEST else 1
    width = width if beside == 2 else columns
    lines: list[list[Styled]] = []
    for start in range(0, len(panels), beside):
        lines += [[("", "")]] if start else []
        some = [_columned(panel, width) for panel in panels[start : start + beside]]
        for parts in zip_longest(*some, fillvalue=[]):
            lines += _level(parts, width)
    return lines


def _columned(panel: Panel, width: int) -> list[list[Styled]]:
    """The parts of a panel that stand level with those of its neighbour, as lines."""
    head = [(line, "bold") for line in _cut(clean(panel.title), width, 2, 1)]
    head += [(line, "dim") for line in _cut(clean(panel.remark), width, 3, 1) if panel.remark]
    parts = [head]
    for number, (text, style) in enumerate(panel.sections):
        rule = _RULES[min(number, 1)] * width
        parts.append([(rule, "dim"), *((line, style) for line in _cut(text, width, HEAD, TAIL))])
    return parts


def _level(parts: Sequence[list[Styled]], width: int) -> Iterator[list[Styled]]:
    """Lines next to each other, each filled up to the width."""
    for cells in zip_longest(*parts, fillvalue=("", "")):
        pieces: list[Styled] = []
        for number, (text, style) in enumerate(cells):
            gap = text[0] + "┼" + text[0] if text[:1] in _RULES and style == "dim" else GAP
            pieces += [(gap, "dim")] if number else []
            pieces += [(text, style)]
            if number + 1 < len(cells):
                pieces.append((" " * (width - width_of(text)), ""))
        yield pieces


def _cut(text: str, width: int, head: int, tail: int) -> list[str]:
    """The lines of ``shortened`` as they are shown, none of which moves its neighbour."""
    return [_one_way(line) for line in shortened(text.translate(_UNFIT), width, head, tail)]


def _one_way(text: str) -> str:
    """A line with text from right to left kept apart, so that it does not move its neighbours."""
    if not any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text):
        return text
    return f"\u2068{text}\u2069"


def shortened(text: str, width: int, head: int, tail: int) -> list[str]:
    """The lines of a text, cut in the middle where it has more than ``head + tail + 1``.

    Args:
        text: any text; its control characters are made visible.
        width: most columns of a line.
        head: lines from the start where the text is cut.
        tail: lines from its end.

    Returns:
        The lines, with one between head and tail that says how many characters are left out.
    """
    # a line holds a few code points for each column, so a megabyte is not looked at as a whole
    window = (head + tail + 2) * width * 4
    if len(text) <= 2 * window:
        lines = list(wrapped(text, width))
        if len(lines) <= head + tail + 1:
            return [_shown(text, span) for span in lines]
        first, last = lines[:head], lines[len(lines) - tail :]
    else:
        first = list(wrapped(text[:window], width))[:head]
        # the window may start within a line or a character, so its first line does not count
        offset = len(text) - window
        last = [(a + offset, b + offset) for a, b in list(wrapped(text[-window:], width))[1:]]
        last = last[len(last) - min(tail, len(last)) :]
    start = last[0][0] if last else len(text)
    note = f"… {start - first[-1][1]:,} characters left out …"
    return [
        *(_shown(text, span) for span in first),
        note[:width],
        *(_shown(text, span) for span in last),
    ]


def _shown(text: str, span: tuple[int, int]) -> str:
    return clean(text[slice(*span)]).replace("\t", "    ").rstrip()


def wrapped(text: str, width: int) -> Iterator[tuple[int, int]]:
    """Where the lines of a text start and end, none wider than ``width`` columns.

    A line ends at a line break, after a space, or between wide characters; else within a word,
    never before a combining mark. Line breaks themselves are in no line; spaces at the end of a
    line may stand beyond its width. A tab is four columns.
    """
    start = 0
    for line in text.split("\n"):
        for a, b in _line_spans(line, width):
            yield start + a, start + b
        start += len(line) + 1


def _line_spans(line: str, width: int) -> Iterator[tuple[int, int]]:
    start = place = used = 0
    may_end = -1
    for cluster in _clusters(line):
        columns = 4 if cluster == "\t" else width_of(cluster)
        space = cluster in _SPACES
        # marks take no room, and a line of nothing else has to end as well
        if place > start and not space and (used + columns > width or place - start > 8 * width):
            end = may_end if may_end > start else place
            yield start, end
            start, used, may_end = end, width_of(line[end:place]), -1
        place += len(cluster)
        used = min(width, used + columns) if space else used + columns
        if space or columns > 1:
            may_end = place
    yield start, len(line)


def _clusters(line: str) -> Iterator[str]:
    """Characters as they are seen: each with its combining marks, unless these are too many."""
    if line.isascii():
        yield from line
        return
    import regex

    for found in regex.finditer(r"\X", line):
        cluster = found.group()
        yield from [cluster] if len(cluster) <= _LONGEST_CLUSTER else cluster


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
