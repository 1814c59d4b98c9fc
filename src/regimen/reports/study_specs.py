"""Vega-Lite specifications of a study's other figures, by width in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regimen.reports.charts import WIDE, Spec
from regimen.reports.files import Json
from regimen.reports.specs import EDGE, GLYPH
from regimen.reports.study_curves import COLOURS, label_room, padding
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
    """Gain against cost with both intervals, a line for each series, the origin named."""
    labels = {point["label"]: None for point in figure["points"]}
    series = list(dict.fromkeys(point["series"] for point in figure["points"]))
    layers = [_axis_at_zero("x"), _axis_at_zero("y"), *_origin(figure.get("origin", ""))]
    for at, name in enumerate(series):
        colour = sentinel(COLOURS[at % len(COLOURS)])
        rows = [
            {key: 100 * value if isinstance(value, float) else value for key, value in p.items()}
            for p in figure["points"]
            if p["series"] == name
        ]
        # points of two series lie close together, so that their names go to opposite sides
        layers += _series(rows, colour, left=at % 2 == 1)
    return {
        "width": width - EDGE - AXIS - label_room(labels) - 20,
        "height": 320 if width >= WIDE else 260,
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


def _series(rows: list[dict[str, Any]], colour: str, *, left: bool) -> list[Spec]:
    whole = [row for row in rows if row["x_low"] is not None and row["y_low"] is not None]
    side = ("right", -8, 11) if left else ("left", 8, -9)
    text = {"type": "text", "color": colour, **dict(zip(("align", "dx", "dy"), side, strict=True))}
    rule: Spec = {"type": "rule", "color": colour, "opacity": 0.7}
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.6, "color": colour},
            "encoding": {"order": {"field": "rows", "type": "quantitative"}},
        },
        {
            "data": {"values": whole},
            "mark": rule,
            "encoding": {
                "y": {"field": "y_low", "type": "quantitative"},
                "y2": {"field": "y_high"},
            },
        },
        {
            "data": {"values": whole},
            "mark": rule,
            "encoding": {
                "x": {"field": "x_low", "type": "quantitative"},
                "x2": {"field": "x_high"},
            },
        },
        {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "color": colour},
        },
        {"data": {"values": rows}, "mark": text, "encoding": {"text": {"field": "label"}}},
    ]
