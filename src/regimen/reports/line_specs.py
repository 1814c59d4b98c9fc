"""Vega-Lite specifications of training curves and histograms, by width in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regimen.reports.card import Histogram
from regimen.reports.charts import WIDE, Spec
from regimen.reports.specs import EDGE, beside
from regimen.reports.theme import sentinel

AXIS, GAP = 42, 26
FEW = 16


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


def curves(panels: Sequence[Curves], width: int) -> Spec:
    """Panels of lines over steps, two beside each other on wide screens."""
    columns, inner = _columns(width)
    return beside([_curve_panel(panel, inner) for panel in panels], columns, AXIS + GAP, row=66)


def _columns(width: int) -> tuple[int, int]:
    """How many panels stand beside each other, and how wide the data area of each is."""
    columns = 2 if width >= WIDE else 1
    return columns, round((width - EDGE - columns * AXIS - (columns - 1) * GAP - 14) / columns)


def _value_axis(**axis: Any) -> Spec:
    return {"minExtent": AXIS, "maxExtent": AXIS, **axis}


def _curve_panel(panel: Curves, width: int) -> Spec:
    zero = f"datum.value === 0 ? '0' : format(datum.value, '{panel.format}')"
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "title": None,
        "axis": {"grid": False, "tickCount": 5, "format": "~s"},
        "scale": {"nice": False},
    }
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": None,
        "axis": _value_axis(tickCount=4, labelExpr=zero),
        "scale": {"zero": panel.zero, "nice": 4},
    }
    layers = [_curve_line(line) for line in panel.lines]
    layers += [_curve_label(line) for line in panel.lines if line.label and line.points]
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
    # A line of one point has no length, and a few are easily taken for many.
    if line.dots or (len(line.points) <= FEW and not line.faint):
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
    columns, inner = _columns(width)
    return beside([_histogram(panel, inner) for panel in panels], columns, AXIS + GAP, row=84)


def _histogram(panel: Histogram, width: int) -> Spec:
    edges = panel.edges
    bars: list[dict[str, Any]] = [
        {"from": edges[i], "to": edges[i + 1], "n": n} for i, n in enumerate(panel.counts)
    ]
    x: Spec = {
        "type": "quantitative",
        "title": None,
        "scale": {"nice": False},
        "axis": {"grid": False, "tickCount": 5},
    }
    subtitle = f"characters per instance, median {panel.median:,.0f} (dashed)"
    return {
        "title": {"text": panel.name, "subtitle": subtitle},
        "width": width,
        "height": 110,
        "layer": [
            {
                "data": {"values": bars},
                "mark": {"type": "bar", "binSpacing": 1},
                "encoding": {
                    "x": {**x, "field": "from", "bin": {"binned": True}},
                    "x2": {"field": "to"},
                    "y": {
                        "field": "n",
                        "type": "quantitative",
                        "title": None,
                        "axis": _value_axis(tickCount=3, format="~s"),
                    },
                    "color": {"value": sentinel("accent")},
                },
            },
            {
                "data": {"values": [{"at": panel.median}]},
                "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [4, 3]},
                "encoding": {"x": {**x, "field": "at"}, "stroke": {"value": sentinel("fg")}},
            },
        ],
    }
