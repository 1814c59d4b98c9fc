"""Vega-Lite specifications of the figures, as functions of their width in pixels.

A width is what the finished drawing may take; panels share it beside each other on wide screens
and stand below each other on narrow ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regimen.reports.charts import WIDE, Spec
from regimen.reports.evidence import Estimate
from regimen.reports.theme import ordered, sentinel, system
from regimen.reports.wording import percent

ROW = 26
FAMILY_ROW = 22
EDGE = 8  # the configured padding on both sides
NUMBERS = 46  # room for the numbers at the right of a panel
GLYPH = 7.0  # pixels per character of a label, for the widest of the usual fonts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dots:
    """A panel of values with intervals, one row per system, labelled directly.

    ``percent`` values are shares with a common scale from 0; others get a scale of their own.
    """

    title: str
    subtitle: str
    systems: Mapping[str, Estimate]
    percent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRow:
    """A row of the forest: scores by system, and the gain over the base."""

    label: str
    scores: Mapping[str, float]
    gain: Estimate


def dots(panels: Sequence[Dots], width: int, columns: int = 3) -> Spec:
    """Panels of dots with intervals; the names of the systems stand at the left-most ones."""
    columns = min(columns, len(panels)) if width >= WIDE else 1
    names = ordered(sorted({name for panel in panels for name in panel.systems}))
    label = 14 + GLYPH * max(len(system(name).label) for name in names)
    gap = NUMBERS + 14
    inner = (width - EDGE - label - NUMBERS - (columns - 1) * gap) / columns
    drawn = [
        _dot_panel(panel, names, _top(panels), round(inner), label if i % columns == 0 else None)
        for i, panel in enumerate(panels)
    ]
    return beside(drawn, columns, gap, row=78)


def beside(panels: Sequence[Spec], columns: int, gap: float, row: float) -> Spec:
    """Panels in a grid by the size of their data area alone, so that axes stand in line."""
    spacing = {"row": row, "column": gap}
    return {"concat": list(panels), "columns": columns, "spacing": spacing, "bounds": "flush"}


def _top(panels: Sequence[Dots]) -> float:
    """The end of the common scale of shares."""
    shares = [
        e.value if e.high is None else e.high
        for panel in panels
        if panel.percent
        for e in panel.systems.values()
    ]
    return min(1.0, max([0.1, *shares]) * 1.05)


def _dot_panel(panel: Dots, names: list[str], top: float, width: int, label: float | None) -> Spec:
    rows = [
        {
            "system": system(name).label,
            "value": e.value,
            "low": e.value if e.low is None else e.low,
            "high": e.value if e.high is None else e.high,
            "label": percent(e.value) if panel.percent else f"{e.value:.2f}",
        }
        for name in names
        if (e := panel.systems.get(name)) is not None
    ]
    scale: Spec = {"domain": [0, top]} if panel.percent else {"zero": False, "nice": True}
    axis: Spec = {"format": ".0%" if panel.percent else ".2f", "tickCount": 3}
    number = {"type": "text", "align": "right", "fontWeight": 600, "x": width + NUMBERS}
    return {
        "title": {"text": panel.title, "subtitle": panel.subtitle},
        "width": width,
        "height": {"step": ROW},
        "data": {"values": rows},
        "encoding": {
            "y": {
                "field": "system",
                "type": "nominal",
                "axis": None if label is None else names_axis(label),
                "scale": {"domain": [system(name).label for name in names]},
            },
        },
        "layer": [
            _rule("low", "high", colour=_stroke(names), x=_x(scale, axis)),
            _point("value", names),
            {"mark": number, "encoding": {"text": {"field": "label"}}},
        ],
    }


def _x(scale: Spec, axis: Spec) -> Spec:
    return {"type": "quantitative", "scale": scale, "axis": axis, "title": None}


def names_axis(room: float) -> Spec:
    """A vertical axis of names that takes exactly the room, apart from the data."""
    return {
        "labelColor": sentinel("fg"),
        "labelFontSize": 12.5,
        "labelLimit": room - 8,
        "minExtent": room,
        "maxExtent": room,
        "offset": 6,
        "grid": False,
        "title": None,
    }


def _scale(names: list[str], values: list[str]) -> Spec:
    return {"domain": [system(name).label for name in names], "range": values}


def _stroke(names: list[str]) -> Spec:
    colours = [sentinel(system(name).colour) for name in names]
    return {"field": "system", "type": "nominal", "scale": _scale(names, colours)}


def _point(field: str, names: list[str], size: int = 70) -> Spec:
    looks = [system(name) for name in names]
    fills = [sentinel(look.colour if look.filled else "bg") for look in looks]
    return {
        "mark": {"type": "point", "size": size, "strokeWidth": 1.8, "opacity": 1},
        "encoding": {
            "x": {"field": field, "type": "quantitative"},
            "stroke": _stroke(names),
            "fill": {"field": "system", "type": "nominal", "scale": _scale(names, fills)},
            "shape": {
                "field": "system",
                "type": "nominal",
                "scale": _scale(names, [look.shape for look in looks]),
            },
        },
    }


def _rule(low: str, high: str, *, colour: Spec, x: Spec, width: float = 2.0) -> Spec:
    return {
        "mark": {"type": "rule", "strokeWidth": width, "strokeCap": "round", "opacity": 0.75},
        "encoding": {"x": {"field": low, **x}, "x2": {"field": high}, "stroke": colour},
    }


def forest(rows: Sequence[FamilyRow], width: int, subject: str) -> Spec:
    """Scores by family and the gain with its interval; rows in the order given."""
    wide = width >= WIDE
    most = max(len(row.label) for row in rows)
    label = min(210.0 if wide else 150.0, 14 + GLYPH * most)
    gap = 40
    inner = (width - EDGE - label - 16 - gap) / 2 if wide else width - EDGE - label - 24
    order = [row.label for row in rows]
    panels = [
        _forest_scores(rows, order, round(inner), label),
        _forest_gain(rows, order, round(inner), None if wide else label, subject),
    ]
    return beside(panels, 2 if wide else 1, gap, row=64)


def _families(order: list[str], label: float | None) -> Spec:
    axis = None if label is None else names_axis(label)
    return {"field": "family", "type": "nominal", "axis": axis, "scale": {"domain": order}}


def _forest_scores(rows: Sequence[FamilyRow], order: list[str], width: int, label: float) -> Spec:
    names = ordered(sorted({name for row in rows for name in row.scores}))
    values = [
        {"family": row.label, "system": system(name).label, "score": score}
        for row in rows
        for name, score in row.scores.items()
    ]
    spans = [
        {"family": row.label, "low": min(row.scores.values()), "high": max(row.scores.values())}
        for row in rows
        if row.scores
    ]
    top = min(1.0, max([0.1, *(s for row in rows for s in row.scores.values())]) * 1.05)
    x = _x({"domain": [0, top]}, {"format": ".0%", "tickCount": 4})
    span = _rule("low", "high", colour={"value": sentinel("line")}, x=x, width=2.5)
    return {
        "title": {"text": "Score"},
        "width": width,
        "height": {"step": FAMILY_ROW},
        "encoding": {"y": _families(order, label)},
        "layer": [
            {"data": {"values": spans}, **span},
            {"data": {"values": values}, **_point("score", names, size=55)},
        ],
    }


def _forest_gain(
    rows: Sequence[FamilyRow], order: list[str], width: int, label: float | None, subject: str
) -> Spec:
    values = [
        {
            "family": row.label,
            "gain": 100 * row.gain.value,
            "low": 100 * (row.gain.value if row.gain.low is None else row.gain.low),
            "high": 100 * (row.gain.value if row.gain.high is None else row.gain.high),
        }
        for row in rows
    ]
    colour = {"value": sentinel(system(subject).colour)}
    signed = "datum.value === 0 ? '0' : format(datum.value, '+~r')"
    x = _x(
        {"nice": True, "zero": True}, {"tickCount": 4, "labelExpr": signed, "labelOverlap": True}
    )
    return {
        "title": {"text": "Gain, points"},
        "width": width,
        "height": {"step": FAMILY_ROW},
        "data": {"values": values},
        "layer": [
            _zero(x),
            {
                "encoding": {"y": _families(order, label)},
                "layer": [
                    _rule("low", "high", colour=colour, x=x),
                    {
                        "mark": {"type": "point", "filled": True, "size": 48, "opacity": 1},
                        "encoding": {"x": {"field": "gain", **x}, "color": colour},
                    },
                ],
            },
        ],
    }


def _zero(x: Spec) -> Spec:
    """The line of no gain, over all rows."""
    return {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "strokeWidth": 1.2},
        "encoding": {"x": {"field": "zero", **x}, "stroke": {"value": sentinel("muted")}},
    }
