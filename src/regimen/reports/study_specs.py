"""Vega-Lite specifications of a study's other figures, by width in pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from regimen.reports.charts import WIDE, Spec
from regimen.reports.files import Json
from regimen.reports.specs import EDGE, GLYPH
from regimen.reports.study_curves import (
    APART,
    COLOURS,
    LONGEST,
    label_room,
    padding,
    score_ticks,
    spread_apart,
)
from regimen.reports.theme import sentinel

AXIS = 40
SIGNED = "datum.value === 0 ? '0' : format(datum.value, '+~r')"


def matrix(figure: Json, width: int) -> Spec:
    """Scores by row and column; columns have the number of their row, the diagonal is framed.

    A name that is only asked in, because its training failed, has an empty row.
    """
    tests = dict.fromkeys(cell["test"] for cell in figure["cells"])
    names = list(dict.fromkeys([*figure["names"], *tests]))
    numbers = {name: str(number) for number, name in enumerate(names, start=1)}
    labels = {name: f"{numbers[name]}  {name}" for name in names}
    wide = width >= WIDE
    size = 12.5 if wide else 10.5
    room = round(
        min(240 if wide else 150, 12 + GLYPH * size / 12.5 * max(map(len, labels.values())))
    )
    rows = [
        {
            "train": labels[cell["train"]],
            "test": numbers[cell["test"]],
            "score": cell["score"],
            "label": f"{100 * cell['score']:.0f}",
            "same": cell["train"] == cell["test"],
        }
        for cell in figure["cells"]
    ]
    axis: Spec = {"labelColor": sentinel("fg"), "labelFontSize": size, "grid": False}
    side = {**axis, "labelLimit": room - 8, "minExtent": room, "maxExtent": room}
    top = {**axis, "orient": "top", "labelAngle": 0}
    return {
        "width": width - EDGE - room - 4,
        "height": {"step": 32 if wide else 26},
        "data": {"values": rows},
        "encoding": {
            "y": _names("train", list(labels.values()), side, None),
            "x": _names("test", list(numbers.values()), top, "asked in"),
        },
        "layer": _squares(max(0.01, *(row["score"] for row in rows)), size),
    }


def _names(field: str, names: Sequence[str], axis: Spec, title: str | None) -> Spec:
    return {
        "field": field,
        "type": "nominal",
        "title": title,
        "scale": {"domain": list(names)},
        "axis": axis,
    }


def _squares(highest: float, size: float) -> list[Spec]:
    """Colour, frame and number of each score."""
    strength = {"domain": [0, highest], "range": [0.03, 0.5]}
    frame = {"type": "rect", "fillOpacity": 0, "strokeWidth": 1.5, "stroke": sentinel("fg")}
    return [
        {
            "mark": {"type": "rect", "color": sentinel("tuned")},
            "encoding": {
                "fillOpacity": {"field": "score", "type": "quantitative", "scale": strength}
            },
        },
        {"transform": [{"filter": "datum.same"}], "mark": frame},
        {
            "mark": {"type": "text", "fontWeight": 600, "fontSize": size},
            "encoding": {"text": {"field": "label"}},
        },
    ]


def frontier(figure: Json, width: int) -> Spec:
    """Gain against cost with both intervals, the origin named.

    A line for each series; none where the points stand ``apart``, one for each method: their names
    are then pushed apart instead.
    """
    apart = bool(figure.get("apart"))
    height = 320 if width >= WIDE else 260
    places = _name_places([100 * point["y"] for point in figure["points"]], _heights(figure))
    heights = dict(zip(map(_key, figure["points"]), places(height), strict=True))
    labels = {point["label"]: None for point in figure["points"]}
    series = list(dict.fromkeys(point["series"] for point in figure["points"]))
    layers = [_axis_at_zero("x"), _axis_at_zero("y"), *_origin(figure.get("origin", ""))]
    for at, name in enumerate(series):
        colour = sentinel(COLOURS[at % len(COLOURS)])
        rows = [
            {key: 100 * value if isinstance(value, float) else value for key, value in p.items()}
            | ({"name_y": heights[_key(p)]} if apart else {})
            for p in figure["points"]
            if p["series"] == name
        ]
        # points of two series lie close together, so that their names go to opposite sides
        layers += _series(rows, colour, left=at % 2 == 1 and not apart, joined=not apart)
    return {
        "width": width - EDGE - AXIS - label_room(labels) - 20,
        "height": height,
        "padding": padding(labels),
        "encoding": {
            "x": _points_axis("x", figure["x"], {}),
            "y": _points_axis("y", figure["y"], {"minExtent": AXIS}),
        },
        "layer": layers,
    }


def _points_axis(field: str, title: str, axis: Spec) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": {"tickCount": 5, "labelExpr": SIGNED, "labelOverlap": True, **axis},
        "scale": {"zero": True, "nice": True},
    }


def _axis_at_zero(field: str) -> Spec:
    """The line of no change, over the whole drawing."""
    other = "y" if field == "x" else "x"
    return {
        "data": {"values": [{field: 0}]},
        "mark": {"type": "rule", "strokeWidth": 1},
        "encoding": {other: None, "stroke": {"value": sentinel("faint")}},
    }


def _origin(name: str) -> list[Spec]:
    """What everything is compared with."""
    at = {"data": {"values": [{"x": 0, "y": 0, "label": name}]}}
    muted = sentinel("muted")
    point = {"type": "point", "shape": "diamond", "filled": True, "size": 70, "color": muted}
    text = {"type": "text", "align": "left", "dx": 8, "dy": -8, "color": muted}
    return [
        {**at, "mark": {**point, "opacity": 1}},
        {**at, "mark": text, "encoding": {"text": {"field": "label"}}},
    ]


def _series(
    rows: list[dict[str, Any]], colour: str, *, left: bool = False, joined: bool = False
) -> list[Spec]:
    """Points with the intervals that they have, and their names; ``joined`` by a line."""
    side = ("right", -8, 11) if left else ("left", 8, -9)
    if rows and "name_y" in rows[0]:
        side = ("left", 9, -8)
    text = {"type": "text", "color": colour, **dict(zip(("align", "dx", "dy"), side, strict=True))}
    text["limit"] = LONGEST - 36
    named = [{**row, "y": row.get("name_y", row["y"])} for row in rows]
    line: Spec = {
        "data": {"values": rows},
        "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.6, "color": colour},
        "encoding": {"order": {"field": "rows", "type": "quantitative"}},
    }
    return [
        *([line] if joined else []),
        *_interval(rows, "y", colour),
        *_interval(rows, "x", colour),
        {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": colour},
        },
        {"data": {"values": named}, "mark": text, "encoding": {"text": {"field": "label"}}},
    ]


def _interval(rows: list[dict[str, Any]], field: str, colour: str) -> list[Spec]:
    """Rules over the intervals of one axis, of the points that have both bounds."""
    low, high = f"{field}_low", f"{field}_high"
    bounds = [name for name in ("x_low", "y_low") if any(name in row for row in rows)]
    whole = [row for row in rows if all(row[name] is not None for name in bounds)]
    if low not in bounds:
        return []
    ends = {field: {"field": low, "type": "quantitative"}, f"{field}2": {"field": high}}
    rule = {"type": "rule", "color": colour, "opacity": 0.7}
    return [{"data": {"values": whole}, "mark": rule, "encoding": ends}]


def _key(point: Json) -> tuple[Any, ...]:
    return (point["series"], point["label"], point["x"])


def _heights(figure: Json) -> list[float]:
    """Every height of a frontier in points, with that of the origin."""
    fields = ("y", "y_low", "y_high")
    found = [100 * p[name] for p in figure["points"] for name in fields if p[name] is not None]
    return [0.0, *found]


def _name_places(values: Sequence[float], heights: Sequence[float]) -> Callable[[int], list[float]]:
    """Heights of names beside points, pushed apart, for a drawing of some pixels."""
    low, high = min(heights), max(heights)
    return lambda pixels: spread_apart(values, APART * (high - low) / pixels, high)


def price(figure: Json, width: int) -> Spec:
    """Scores with intervals against a cost, a point for each method, coloured by series."""
    points = figure["points"]
    labels = {point["label"]: None for point in points}
    series = list(dict.fromkeys(point["series"] for point in points))
    bounds = [p[name] for p in points for name in ("low", "high") if p[name] is not None]
    ticks = score_ticks([*(point["score"] for point in points), *bounds])
    height = 320 if width >= WIDE else 260
    names = _name_places([p["score"] for p in points], [ticks[0], ticks[-1]])(height)
    rows = [
        {
            "label": point["label"],
            "series": point["series"],
            "x": point["x"],
            "y": point["score"],
            "y_low": point["low"],
            "y_high": point["high"],
            "name_y": name,
        }
        for point, name in zip(points, names, strict=True)
    ]
    layers: list[Spec] = []
    for at, name in enumerate(series):
        own = [row for row in rows if row["series"] == name]
        layers += _series(own, sentinel(COLOURS[at % len(COLOURS)]))
    scale = {"zero": False, "nice": True}
    y_axis = {"format": ".0%", "values": ticks, "minExtent": AXIS}
    y_scale = {"domain": [ticks[0], ticks[-1]], "nice": False}
    return {
        "width": width - EDGE - AXIS - label_room(labels) - 20,
        "height": height,
        "padding": padding(labels),
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": figure["x"],
                "axis": {"tickCount": 5, "format": ",~r", "labelOverlap": True},
                "scale": scale,
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": None,
                "axis": y_axis,
                "scale": y_scale,
            },
        },
        "layer": layers,
    }
