"""The Vega-Lite specification of a curve over levels, by width in pixels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from regimen.reports.charts import WIDE, Spec
from regimen.reports.files import Json
from regimen.reports.specs import EDGE, GLYPH
from regimen.reports.theme import sentinel

COLOURS = ("tuned", "base-prompted", "aligned", "copy-input", "copy-demonstration", "base")
"""Colours of lines, in order; they stay apart under the common colour deficiencies."""

AXIS, HEIGHT, NARROW_EDGE = 46, 260, 20
LONGEST = 200
"""Pixels of a name beyond which it is cut; the legend has all of it."""

APART = 15
"""Pixels between the names of two lines."""

BESIDE = 4
"""Pixels between the intervals of two lines at one level."""

STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares between two ticks, the first that needs at most five."""


def curve(figure: Json, width: int) -> Spec:
    """Means with intervals over levels, seeds as small dots, the fit's ribbon, knee or mark."""
    lines = {name: points for name, points in figure["lines"].items() if points}
    room = label_room(lines) if width >= WIDE else NARROW_EDGE
    ticks = score_ticks(_heights(figure, lines))
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "title": figure["x"],
        "scale": {"nice": False, "zero": False} | ({} if figure.get("linear") else {"type": "log"}),
        "axis": {"grid": False, **_level_axis(levels(figure), figure.get("x_format"))},
    }
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": None,
        "scale": {"domain": [ticks[0], ticks[-1]], "nice": False},
        "axis": {"format": ".0%", "values": ticks, "minExtent": AXIS, "maxExtent": AXIS},
    }
    layers: list[Spec] = []
    if figure.get("ribbon"):
        layers.append(_ribbon(figure["ribbon"]))
    layers += _marks(figure)
    for at, points in enumerate(lines.values()):
        beside = round(BESIDE * (at - (len(lines) - 1) / 2))
        layers += _line(points, sentinel(COLOURS[at % len(COLOURS)]), beside)
    if width >= WIDE:
        layers += _names(lines, ticks[0], ticks[-1])
    return {
        "width": width - EDGE - AXIS - room,
        "height": HEIGHT,
        "padding": padding(lines if width >= WIDE else {}),
        "encoding": {"x": x, "y": y},
        "layer": layers,
    }


def label_room(names: Mapping[str, Any]) -> int:
    """Pixels for the longest of some names on the right of the drawing."""
    return min(LONGEST, round(14 + 1.1 * GLYPH * max(map(len, names), default=0)))


def padding(names: Mapping[str, Any]) -> Spec:
    """The configured padding, with more on the right.

    The width of a drawing is measured with another font than the reader's; where that one is wider,
    the ends of the names would be cut.
    """
    return {"left": 4, "top": 4, "bottom": 4, "right": 4 + label_room(names) // 11}


def levels(figure: Json) -> list[float]:
    """The levels of all lines, in order: the only ticks."""
    return sorted({point["x"] for points in figure["lines"].values() for point in points})


def _level_axis(found: Sequence[float], wanted: str | None = None) -> Spec:
    shares = all(0 <= level <= 1 for level in found) and len(found) > 1
    usual = ".0%" if shares else ",~r"
    return {"values": list(found), "format": wanted or usual, "labelOverlap": True}


def _heights(figure: Json, lines: Mapping[str, Sequence[Json]]) -> list[float]:
    """Every height that is drawn."""
    found = [value for _, *row in figure.get("ribbon") or () for value in row]
    for point in (point for points in lines.values() for point in points):
        found += [point["score"], *point.get("per_seed", ())]
        found += [point[name] for name in ("low", "high") if point[name] is not None]
    return [min(1.0, max(0.0, value)) for value in found]


def score_ticks(heights: Sequence[float]) -> list[float]:
    """Ticks of an axis of shares that holds all heights, at most six, in whole percents.

    The axis begins and ends with a tick and never leaves 0 to 100%.
    """
    low, high = min(heights, default=0.0), max(heights, default=1.0)
    for step in STEPS:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= len(STEPS):
            break
    if last == first:
        first, last = max(0, first - 1), max(0, first - 1) + 2
    return [round(number * step, 4) for number in range(first, last + 1) if number * step <= 1]


def _ribbon(points: Sequence[Sequence[float]]) -> Spec:
    rows = [{"x": x, "y": max(0.0, low), "y2": min(1.0, high)} for x, _, low, high in points]
    return {
        "data": {"values": rows},
        "mark": {"type": "area", "opacity": 0.35, "color": sentinel("band")},
        "encoding": {"y2": {"field": "y2"}},
    }


def _line(points: Sequence[Json], colour: str, beside: int) -> list[Spec]:
    """A line in a colour, so many pixels beside its levels that intervals do not cover others."""
    rows = [{"x": p["x"], "y": p["score"], "low": p["low"], "high": p["high"]} for p in points]
    seeds = [{"x": p["x"], "y": seed} for p in points for seed in p.get("per_seed", ())]
    whole = [row for row in rows if row["low"] is not None and row["high"] is not None]
    dot = {"type": "point", "filled": True, "color": colour, "xOffset": beside}
    ends = {"y": {"field": "low", "type": "quantitative"}, "y2": {"field": "high"}}
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "line", "strokeWidth": 2, "color": colour, "xOffset": beside},
        },
        {
            "data": {"values": whole},
            "mark": {"type": "rule", "strokeWidth": 1.5, "color": colour, "xOffset": beside},
            "encoding": ends,
        },
        {"data": {"values": seeds}, "mark": {**dot, "size": 14, "opacity": 0.45}},
        {"data": {"values": rows}, "mark": {**dot, "size": 46, "opacity": 1}},
    ]


def _names(lines: Mapping[str, Sequence[Json]], low: float, high: float) -> list[Spec]:
    """The name of each line at its right end, pushed apart where ends are close."""
    ends = [points[-1] for points in lines.values()]
    heights = spread_apart([end["score"] for end in ends], APART * (high - low) / HEIGHT, high)
    return [
        {
            "data": {"values": [{"x": end["x"], "y": height, "label": name}]},
            "mark": {
                "type": "text",
                "align": "left",
                "dx": 9,
                "limit": LONGEST - 36,
                "color": sentinel(COLOURS[at % len(COLOURS)]),
            },
            "encoding": {"text": {"field": "label"}},
        }
        for at, (name, end, height) in enumerate(zip(lines, ends, heights, strict=True))
    ]


def spread_apart(values: Sequence[float], gap: float, highest: float) -> list[float]:
    """Values in their order moved as little as needed to lie ``gap`` apart, none above ``highest``.

    They are stacked from the lowest up, and what then stands too high is pushed down again.
    """
    order = sorted(range(len(values)), key=lambda place: (values[place], -place))
    moved: list[float] = []
    for place in order:
        moved.append(max(values[place], moved[-1] + gap) if moved else values[place])
    over = max(0.0, moved[-1] - highest) if moved else 0.0
    ceiling = highest
    for number in range(len(moved) - 1, -1, -1):
        if not over or moved[number] <= ceiling:
            break
        moved[number] = ceiling
        ceiling -= gap
    places = dict(zip(order, moved, strict=True))
    return [places[place] for place in range(len(values))]


def _marks(figure: Json) -> list[Spec]:
    """The knee, or where a line passes one half: a rule and the band of its interval."""
    found = figure.get("knee") or figure.get("mark")
    if not found or found.get("reached", 1.0) <= 0.5:
        return []
    whole = {"y": {"value": 0}, "y2": {"value": HEIGHT}}
    return [
        {
            "data": {"values": [{"x": found["low"], "x2": found["high"]}]},
            "mark": {"type": "rect", "opacity": 0.18, "color": sentinel("warn")},
            "encoding": {"x2": {"field": "x2"}, **whole},
        },
        {
            "data": {"values": [{"x": found["at"]}]},
            "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [5, 4]},
            "encoding": {"stroke": {"value": sentinel("warn")}, **whole},
        },
    ]
