"""Vega-Lite drawn to static SVG at two widths, with the page's colours as CSS variables.

Each figure is drawn for wide and for narrow screens; a media query shows one of the two. Ids are
renumbered per figure (several drawings share a page), and colours become ``var(--name)``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup

from regimen.reports.markup import Child, el
from regimen.reports.theme import SENTINELS, chart_config

WIDE, NARROW = 720, 340
VEGA_LITE = "5.21"

Spec = dict[str, Any]


def figure(
    id_: str,
    name: str,
    description: str,
    spec: Callable[[int], Spec],
    *,
    note: Child = None,
    legend: Child = None,
) -> Markup:
    """A figure at both widths.

    Args:
        id_: unique on the page; the ids inside the drawings begin with it.
        name: the title, also for screen readers.
        description: what the drawing shows, for those who do not see it.
        spec: the Vega-Lite specification for a width in pixels, without ``config``.
        note: the caption, beside the drawing where there is room.
        legend: shown between title and drawing.
    """
    drawings = [
        el("div", draw(spec(width), f"{id_}-{kind}", name, description), class_=kind)
        for kind, width in (("wide", WIDE), ("narrow", NARROW))
    ]
    return frame(id_, name, drawings, note=note, legend=legend)


def anchor(text: str) -> str:
    """Text as an id: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "figure"


def frame(
    id_: str, name: str, drawings: Child, *, note: Child = None, legend: Child = None
) -> Markup:
    """The frame around drawings: title, legend, drawing, caption."""
    head = el("div", el("h3", name), legend, class_="head")
    caption = el("figcaption", note) if note is not None else None
    return el("figure", head, el("div", drawings, class_="drawing"), caption, id=f"fig-{id_}")


def draw(spec: Spec, prefix: str, name: str, description: str) -> Markup:
    """One drawing as inline SVG.

    Vega escapes the text of the data; nothing else of the data reaches the SVG, because the
    labels that it adds to every mark are taken out (the table beside has the numbers).
    """
    import vl_convert as vlc

    if anchor(prefix) != prefix:
        raise ValueError(f"ids of a drawing begin with a plain word, got {prefix!r}")
    svg = vlc.vegalite_to_svg({**spec, "config": chart_config()}, vl_version=VEGA_LITE)
    return Markup(finish(svg, prefix, name, description))


def finish(svg: str, prefix: str, name: str, description: str) -> str:
    """A drawing of Vega's made fit for the page: colours, ids, accessible name, size.

    Only tags are rewritten; the text of the data between them stays as Vega escaped it.
    """
    ids = {old: f"{prefix}-{i}" for i, old in enumerate(re.findall(r'<[^>]* id="([^"]+)"', svg))}
    svg = re.sub(r"<[^>]+>", lambda tag: _finish_tag(tag[0], ids), svg)
    svg = re.sub(r'<path d="(?:M0,0h0v0h0Z)?"(?: display="none")?/>', "", svg)
    size = re.match(r'<svg[^>]*?(width="[\d.]+" height="[\d.]+" viewBox="[^"]*")[^>]*>', svg)
    if size is None:
        raise ValueError(f"the drawing does not begin with its size: {svg[:80]!r}")
    return f"<svg {size[1]} {naming(prefix, name, description)}{svg[size.end() :]}"


def _finish_tag(tag: str, ids: Mapping[str, str]) -> str:
    tag = re.sub(r' (?:aria-[a-z]+|role|pointer-events|font-family|xmlns:?\w*)="[^"]*"', "", tag)
    tag = re.sub(r' opacity="1"| class="(?:foreground|background|mark-[^"]*)"', "", tag)
    tag = re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)
    for colour, sentinel in SENTINELS.items():
        tag = tag.replace(sentinel, f"var(--{colour})")
    for old, new in ids.items():
        tag = tag.replace(f'id="{old}"', f'id="{new}"').replace(f"url(#{old})", f"url(#{new})")
    return tag


def naming(prefix: str, name: str, description: str) -> str:
    """The rest of an opening ``<svg`` tag with role and label, and its title and description."""
    label = Markup('role="img" aria-labelledby="{0}-t {0}-d"><title id="{0}-t">{1}</title>').format(
        prefix, name
    )
    return str(label + Markup('<desc id="{}-d">{}</desc>').format(prefix, description))
