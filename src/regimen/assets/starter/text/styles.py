"""Ways of writing a result: the output formats, as they occur in plain text.

Every style maps a tuple of items to text. A block stands on lines of its own; the rest continues
the sentence. `fmt_*` keys name the phrases ("in square brackets") that may announce the style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

Items = Sequence[str]


class Style(NamedTuple):
    """One way of writing items; `block` styles begin on a new line and end the line."""

    key: str
    write: Callable[[Items], str]
    block: bool


def _upper(items: Items) -> str:
    return ", ".join(items).upper()


def _title(items: Items) -> str:
    return ", ".join([item[:1].upper() + item[1:] for item in items])


def _numbered(items: Items) -> str:
    return "\n".join([f"{place}. {item}" for place, item in enumerate(items, 1)])


CASED = 4
"""The first styles of each table change the case of letters."""

LIST_STYLES = (
    Style("fmt_caps", _upper, False),
    Style("fmt_caps", _upper, False),
    Style("fmt_title", _title, False),
    Style("fmt_lower", lambda items: ", ".join(items).lower(), False),
    Style("fmt_comma", ", ".join, False),
    Style("fmt_comma", ", ".join, False),
    Style("fmt_semicolon", "; ".join, False),
    Style("fmt_slash", " / ".join, False),
    Style("fmt_slash", "/".join, False),
    Style("fmt_bar", " | ".join, False),
    Style("fmt_space", " ".join, False),
    Style("fmt_hyphen", "-".join, False),
    Style("fmt_quotes", lambda items: '"' + '", "'.join(items) + '"', False),
    Style("fmt_brackets", lambda items: "[" + "] [".join(items) + "]", False),
    Style("fmt_brackets", lambda items: "[" + ", ".join(items) + "]", False),
    Style("fmt_parens", lambda items: "(" + ") (".join(items) + ")", False),
    Style("fmt_stops", lambda items: ". ".join(items) + ".", True),
    Style("fmt_bullets", lambda items: "- " + "\n- ".join(items), True),
    Style("fmt_bullets", lambda items: "- " + "\n- ".join(items), True),
    Style("fmt_lines", "\n".join, True),
    Style("fmt_lines", "\n".join, True),
    Style("fmt_numbered", _numbered, True),
    Style("fmt_array", lambda items: '["' + '", "'.join(items) + '"]', True),
)

SINGLE_STYLES = (
    Style("fmt_caps", lambda items: items[0].upper(), False),
    Style("fmt_caps", lambda items: items[0].upper(), False),
    Style("fmt_title", _title, False),
    Style("fmt_lower", lambda items: items[0].lower(), False),
    Style("fmt_quotes", lambda items: f'"{items[0]}"', False),
    Style("fmt_quotes", lambda items: f'"{items[0]}"', False),
    Style("fmt_brackets", lambda items: f"[{items[0]}]", False),
    Style("fmt_brackets", lambda items: f"[{items[0]}]", False),
    Style("fmt_parens", lambda items: f"({items[0]})", False),
    Style("fmt_stars", lambda items: f"*{items[0]}*", False),
    Style("fmt_bullets", lambda items: f"- {items[0]}", True),
    Style("fmt_line", lambda items: items[0], True),
    Style("fmt_line", lambda items: items[0], True),
    Style("fmt_stops", lambda items: f"{items[0]}.", True),
)
