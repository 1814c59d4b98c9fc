"""Vega-Lite specifications of the figures, as functions of their width in pixels.

A width is what the finished drawing may take; panels share it beside each other on wide screens
and stand below each other on narrow ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.reports.card import Histogram
from regimen.reports.charts import WIDE, Spec
from regimen.reports.evidence import Estimate
from regimen.reports.theme import ordered, sentinel, system

ROW = 26
GAP = 28
EDGE = 8  # the configured padding on both sides


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A named line in a colour of the palette; ``faint`` lines are the raw values behind it."""

    label: str
    colour: str
    points: Sequence[tuple[float, float]]
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """A panel of lines over training steps."""

    title: str
    lines: Sequence[Line]
    format: str = "~g"
    zero: bool = False


def dots(panels: Sequence[Dots], width: int, columns: int = 3) -> Spec:
    """Panels of dots with intervals; the names of the systems stand at the left-most ones."""
    columns = min(columns, len(panels)) if width >= WIDE else 1
    names = ordered(sorted({name for panel in panels for name in panel.systems}))
    label = 8 + 6.6 * max(len(system(name).label) for name in names)
    inner = (width - EDGE - label - (columns - 1) * GAP - 30) / columns
    shares = [e.high if e.high is not None else e.value for p in panels if p.percent
              for e in p.systems.values()]
    top = min(1.0, max([0.1, *shares]) * 1.08)
    drawn = [
        _dot_panel(panel, names, top, round(min(inner, 430)), labels=i % columns == 0)
        for i, panel in enumerate(panels)
    ]
    return {"concat": drawn, "columns": columns, "spacing": {"row": 30, "column": GAP}}


def _dot_panel(panel: Dots, names: list[str], top: float, width: int, *, labels: bool) -> Spec:
    rows = [
        {
            "system": system(name).label,
            "value": e.value,
            "low": e.value if e.low is None else e.low,
            "high": e.value if e.high is None else e.high,
            "label": f"{100 * e.value:.0f}%" if panel.percent else f"{e.value:.2f}",
        }
        for name in names
        if (e := panel.systems.get(name)) is not None
    ]
    scale: Spec = {"domain": [0, top]} if panel.percent else {"zero": False, "nice": True}
    axis: Spec = {"format": "%" if panel.percent else ".2f", "tickCount": 4, "labelFlush": False}
    y_axis: Spec | None = (
        {"labelColor": sentinel("fg"), "labelFontSize": 12.5, "grid": False, "title": None}
    )
    if not labels:
        y_axis = None
    return {
        "title": {"text": panel.title, "subtitle": panel.subtitle},
        "width": width,
        "height": {"step": ROW},
        "data": {"values": rows},
        "encoding": {
            "y": {
                "field": "system",
                "type": "nominal",
                "axis": y_axis,
                "scale": {"domain": [system(name).label for name in names]},
            },
            "x": {"type": "quantitative", "scale": scale, "axis": axis, "title": None},
        },
        "layer": [
            _rule("low", "high", colour=_stroke(names)),
            _point("value", names),
            {
                "mark": {"type": "text", "align": "left", "dx": 9, "dy": 0.5, "fontWeight": 600},
                "encoding": {"x": {"field": "high"}, "text": {"field": "label"}},
            },
        ],
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
            "x": {"field": field},
            "stroke": _stroke(names),
            "fill": {"field": "system", "type": "nominal", "scale": _scale(names, fills)},
            "shape": {
                "field": "system",
                "type": "nominal",
                "scale": _scale(names, [look.shape for look in looks]),
            },
        },
    }


def _rule(low: str, high: str, *, colour: Spec, width: float = 2.0) -> Spec:
    return {
        "mark": {"type": "rule", "strokeWidth": width, "strokeCap": "round", "opacity": 0.75},
        "encoding": {"x": {"field": low}, "x2": {"field": high}, "stroke": colour},
    }


def forest(rows: Sequence[FamilyRow], width: int, subject: str) -> Spec:
    """Scores by family and the gain with its interval; rows in the order given."""
    wide = width >= WIDE
    label = min(170.0 if wide else 122.0, 12 + 6.4 * max(len(row.label) for row in rows))
    inner = (width - EDGE - label - GAP - 16) / 2 if wide else width - EDGE - label - 20
    order = [row.label for row in rows]
    panels = [
        _forest_scores(rows, order, round(inner), round(label)),
        _forest_gain(rows, order, round(inner), None if wide else round(label), subject),
    ]
    return {"concat": panels, "columns": 2 if wide else 1, "spacing": {"row": 26, "column": GAP}}


def _family_axis(order: list[str], limit: int | None) -> Spec:
    axis = None if limit is None else {
        "labelColor": sentinel("fg"), "labelLimit": limit, "title": None, "grid": True,
        "gridDash": [1, 3],
    }
    return {"field": "family", "type": "nominal", "axis": axis, "scale": {"domain": order}}


def _forest_scores(rows: Sequence[FamilyRow], order: list[str], width: int, label: int) -> Spec:
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
    span = _rule("low", "high", colour={"value": sentinel("line")}, width=2.5)
    return {
        "title": {"text": "Score"},
        "width": width,
        "height": {"step": 22},
        "encoding": {
            "y": _family_axis(order, label),
            "x": {
                "type": "quantitative",
                "title": None,
                "scale": {"domain": [0, 1]},
                "axis": {"format": "%", "tickCount": 4},
            },
        },
        "layer": [
            {"data": {"values": spans}, **span},
            {"data": {"values": values}, **_point("score", names, size=55)},
        ],
    }


def _forest_gain(
    rows: Sequence[FamilyRow], order: list[str], width: int, label: int | None, subject: str
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
    colour = sentinel(system(subject).colour)
    return {
        "title": {"text": f"Gain of {system(subject).label} over base, points"},
        "width": width,
        "height": {"step": 22},
        "data": {"values": values},
        "encoding": {
            "y": _family_axis(order, label),
            "x": {
                "type": "quantitative",
                "title": None,
                "axis": {"tickCount": 5, "format": "+d"},
                "scale": {"nice": True, "zero": True},
            },
        },
        "layer": [
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "strokeWidth": 1.2},
                "encoding": {
                    "x": {"field": "zero"}, "y": None, "stroke": {"value": sentinel("muted")}
                },
            },
            _rule("low", "high", colour={"value": colour}),
            {
                "mark": {"type": "point", "filled": True, "size": 48, "opacity": 1},
                "encoding": {"x": {"field": "gain"}, "color": {"value": colour}},
            },
        ],
    }


def curves(panels: Sequence[Curves], width: int) -> Spec:
    """Panels of lines over steps, two beside each other on wide screens."""
    columns = 2 if width >= WIDE else 1
    inner = (width - EDGE - columns * 46 - (columns - 1) * 10 - (0 if columns == 2 else 4)) / columns
    drawn = [_curve_panel(panel, round(inner)) for panel in panels]
    return {"concat": drawn, "columns": columns, "spacing": {"row": 26, "column": 20}}


def _curve_panel(panel: Curves, width: int) -> Spec:
    x: Spec = {"field": "x", "type": "quantitative", "title": None,
               "axis": {"grid": False, "tickCount": 5, "format": "~s"}, "scale": {"nice": False}}
    y: Spec = {"field": "y", "type": "quantitative", "title": None,
               "axis": {"tickCount": 4, "format": panel.format}, "scale": {"zero": panel.zero}}
    layers = [_curve_line(line) for line in panel.lines]
    named = [line for line in panel.lines if line.label and line.points]
    layers += [_curve_label(line) for line in named]
    return {
        "title": {"text": panel.title},
        "width": width,
        "height": 130,
        "encoding": {"x": x, "y": y},
        "layer": layers,
    }


def _curve_line(line: Line) -> Spec:
    mark: Spec = {"type": "line", "strokeWidth": 1.0 if line.faint else 2.0, "clip": True}
    mark |= {"opacity": 0.35 if line.faint else 1.0, "interpolate": "linear"}
    if line.dots:
        mark |= {"point": {"filled": True, "size": 30, "color": sentinel(line.colour)}}
    return {
        "data": {"values": [{"x": x, "y": y} for x, y in line.points]},
        "mark": mark,
        "encoding": {"stroke": {"value": sentinel(line.colour)}},
    }


def _curve_label(line: Line) -> Spec:
    x, y = line.points[-1]
    return {
        "data": {"values": [{"x": x, "y": y, "label": line.label}]},
        "mark": {"type": "text", "align": "right", "dy": -9, "fontWeight": 600},
        "encoding": {"text": {"field": "label"}, "color": {"value": sentinel(line.colour)}},
    }


def histograms(panels: Sequence[Histogram], width: int) -> Spec:
    """Histograms beside each other; the median is marked."""
    columns = 2 if width >= WIDE else 1
    inner = (width - EDGE - columns * 46 - (columns - 1) * 10) / columns
    return {
        "concat": [_histogram(panel, round(inner)) for panel in panels],
        "columns": columns,
        "spacing": {"row": 26, "column": 20},
    }


def _histogram(panel: Histogram, width: int) -> Spec:
    edges = panel.edges
    bars: list[dict[str, Any]] = [
        {"from": edges[i], "to": edges[i + 1], "n": n} for i, n in enumerate(panel.counts)
    ]
    median = {"at": panel.median, "label": f"median {panel.median:,.0f}"}
    x: Spec = {"type": "quantitative", "title": None, "scale": {"nice": False},
               "axis": {"grid": False, "tickCount": 5}}
    return {
        "title": {"text": panel.name, "subtitle": "characters per instance"},
        "width": width,
        "height": 110,
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "binSpacing": 1},
                "encoding": {
                    "x": {**x, "field": "from", "bin": {"binned": True}},
                    "x2": {"field": "to"},
                    "y": {"field": "n", "type": "quantitative", "title": None,
                          "axis": {"tickCount": 3, "format": "~s"}},
                    "color": {"value": sentinel("accent")},
                },
            },
            {
                "data": {"values": [median]},
                "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [4, 3]},
                "encoding": {"x": {**x, "field": "at"}, "stroke": {"value": sentinel("fg")}},
            },
            {
                "data": {"values": [median]},
                "mark": {"type": "text", "align": "left", "dx": 6, "baseline": "top"},
                "encoding": {
                    "x": {**x, "field": "at"}, "y": {"value": 2}, "text": {"field": "label"}
                },
            },
        ],
    }
