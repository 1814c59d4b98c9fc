"""HTML by construction: text is escaped, only :class:`markupsafe.Markup` passes as it is.

Answers of models, rows of data and names of tasks are untrusted text. Every page part is made with
:func:`el`, which escapes each child and each attribute that is not markup already, so that leaving
something unescaped takes an explicit ``Markup(...)`` around a constant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Child = str | int | Markup | None | Iterable["Child"]
VOID = frozenset({"br", "hr", "input", "meta", "col"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section of the page. ``anchor`` is stable: people share links to it.

    ``label`` is the name in the contents, where the title is too long for that.
    """

    anchor: str
    title: str
    body: Markup
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table; numbers are right-aligned with equal digit widths."""

    label: str
    number: bool = False
    wide: bool = False


def join(children: Child) -> Markup:
    """Children as markup, in order; text is escaped, None is nothing."""
    if children is None:
        return Markup()
    if isinstance(children, (str, int)):
        return escape(str(children)) if not isinstance(children, Markup) else children
    return Markup().join(join(child) for child in children)


def el(tag: str, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """An element. ``class_`` becomes ``class`` and ``data_row`` becomes ``data-row``.

    Attributes that are None or False are left out; True is a bare attribute.
    """
    parts = [Markup(f"<{tag}")]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        parts.append(Markup(f" {key}") if value is True else Markup(f' {key}="{{}}"').format(value))
    parts.append(Markup(">"))
    if tag in VOID:
        return Markup().join(parts)
    return Markup().join([*parts, join(children), Markup(f"</{tag}>")])


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Child]],
    *,
    class_: str = "",
    show_caption: bool = True,
) -> Markup:
    """A table in a region that scrolls sideways by itself, so that the page never does."""
    head = el(
        "tr", (el("th", c.label, scope="col", class_="n" if c.number else None) for c in columns)
    )
    body = (el("tr", (_cell(i, cell, columns[i]) for i, cell in enumerate(row))) for row in rows)
    inner = el(
        "table",
        el("caption", caption, class_=None if show_caption else "quiet"),
        el("thead", head),
        el("tbody", body),
        class_=class_ or None,
    )
    return el("div", inner, class_="scroll", role="region", tabindex="0", aria_label=caption)


def _cell(index: int, cell: Child, column: Column) -> Markup:
    names = [name for name, on in (("n", column.number), ("wide", column.wide)) if on]
    if index == 0:
        return el("th", cell, scope="row", class_=" ".join(names) or None)
    return el("td", cell, class_=" ".join(names) or None)


def paragraph(*children: Child, class_: str | None = None) -> Markup:
    """A paragraph."""
    return el("p", *children, class_=class_)


def bullets(items: Iterable[Child], class_: str | None = None) -> Markup:
    """An unordered list."""
    return el("ul", (el("li", item) for item in items), class_=class_)


def details(summary: Child, *children: Child, open_: bool = False) -> Markup:
    """A part that opens on a click, without JavaScript."""
    return el("details", el("summary", summary), *children, open=open_)


def clipped(text: str, limit: int) -> Markup:
    """Text of any length in little room: the rest opens on a click.

    Line breaks are kept by the style sheet (``pre-wrap``).
    """
    if len(text) <= limit:
        return el("span", text or "(empty)", class_="text" if text else "text none")
    cut = text.rfind(" ", limit // 2, limit)
    head, rest = text[: cut if cut > 0 else limit], text[cut if cut > 0 else limit :]
    return el(
        "details",
        el("summary", el("span", head, class_="text"), el("span", " …", class_="more")),
        el("span", rest, class_="text"),
        class_="clip",
    )
