"""Vega-Lite specifications of a study's figures, by width in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.reports.charts import WIDE, Spec
from regimen.reports.theme import sentinel

COLOURS = ("tuned", "base-prompted", "aligned", "copy-input", "copy-demonstration", "base")
"""Colours of lines, in order; they stay apart under the common colour deficiencies."""

EDGE, AXIS, LABELS = 8, 46, 120
Json = Mapping[str, Any]


def curve(figure: Json, width: int) -> Spec:
    """Means with intervals over levels, seeds as small dots, the fit's ribbon, knee or mark."""
    inner = width - EDGE - AXIS - (LABELS if width >= WIDE else 20)
    scale: Spec = {"nice": False, "zero": False}
    if not figure.get("linear"):
        scale |= {"type": "log"}
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "title": figure["x"],
        "scale": scale,
        "axis": {"grid": False, "values": levels(figure), "format": "~g"},
    }
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": None,
        "scale": {"zero": False, "nice": True},
        "axis": {"format": ".0%", "minExtent": AXIS, "maxExtent": AXIS, "tickCount": 5},
    }
    layers: list[Spec] = []
    if figure.get("ribbon"):
        layers.append(_ribbon(figure["ribbon"]))
    for at, (name, points) in enumerate(figure["lines"].items()):
        colour = sentinel(COLOURS[at % len(COLOURS)])
        layers += _line(name, points, colour, labelled=width >= WIDE)
    layers += _marks(figure)
    return {"width": inner, "height": 260, "encoding": {"x": x, "y": y}, "layer": layers}


def levels(figure: Json) -> list[float]:
    """The levels of all lines, in order: the only ticks."""
    return sorted({point["x"] for points in figure["lines"].values() for point in points})


def _ribbon(points: Sequence[Sequence[float]]) -> Spec:
    rows = [{"x": x, "y": low, "y2": high} for x, _, low, high in points]
    return {
        "data": {"values": rows},
        "mark": {"type": "area", "opacity": 0.35, "color": sentinel("band")},
        "encoding": {"y2": {"field": "y2"}},
    }


def _line(name: str, points: Sequence[Json], colour: str, *, labelled: bool) -> list[Spec]:
    rows = [{"x": p["x"], "y": p["score"], "low": p["low"], "high": p["high"]} for p in points]
    seeds = [{"x": p["x"], "y": seed} for p in points for seed in p.get("per_seed", ())]
    whole = [row for row in rows if row["low"] is not None]
    layers: list[Spec] = [
        {
            "data": {"values": rows},
            "mark": {"type": "line", "strokeWidth": 2, "color": colour},
        },
        {
            "data": {"values": whole},
            "mark": {"type": "rule", "strokeWidth": 1.5, "color": colour},
            "encoding": {
                "y": {"field": "low", "type": "quantitative"},
                "y2": {"field": "high"},
            },
        },
        {
            "data": {"values": seeds},
            "mark": {"type": "point", "size": 14, "filled": True, "opacity": 0.45, "color": colour},
        },
        {
            "data": {"values": rows},
            "mark": {"type": "point", "size": 46, "filled": True, "opacity": 1, "color": colour},
        },
    ]
    if labelled and rows:
        layers.append(
            {
                "data": {"values": [{**rows[-1], "label": name}]},
                "mark": {"type": "text", "align": "left", "dx": 9, "color": colour},
                "encoding": {"text": {"field": "label"}},
            }
        )
    return layers


def _marks(figure: Json) -> list[Spec]:
    """The knee, or where a line passes one half: a rule and the band of its interval."""
    found = figure.get("knee") or figure.get("mark")
    if not found or found.get("reached", 1.0) <= 0.5:
        return []
    band = {"x": found["low"], "x2": found["high"]}
    return [
        {
            "data": {"values": [band]},
            "mark": {"type": "rect", "opacity": 0.25, "color": sentinel("warn")},
            "encoding": {"x2": {"field": "x2"}, "y": {"value": 0}, "y2": {"value": 260}},
        },
        {
            "data": {"values": [{"x": found["at"]}]},
            "mark": {"type": "rule", "strokeWidth": 1.5, "strokeDash": [5, 4]},
            "encoding": {"stroke": {"value": sentinel("warn")}, "y": {"value": 0}},
        },
    ]


def matrix(figure: Json, width: int) -> Spec:
    """Scores by row and column; the diagonal is framed."""
    names = list(figure["names"])
    room = min(190, 7 * max(map(len, names)) + 14)
    inner = width - EDGE - room
    rows = [
        {
            "train": cell["train"],
            "test": cell["test"],
            "score": cell["score"],
            "label": f"{100 * cell['score']:.0f}",
            "same": cell["train"] == cell["test"],
        }
        for cell in figure["cells"]
    ]
    highest = max(row["score"] for row in rows)
    axis: Spec = {"labelLimit": room, "labelColor": sentinel("fg"), "grid": False}
    return {
        "width": inner,
        "height": {"step": 34},
        "data": {"values": rows},
        "encoding": {
            "y": {
                "field": "train",
                "type": "nominal",
                "title": None,
                "sort": names,
                "axis": {**axis, "minExtent": room, "maxExtent": room},
            },
            "x": {
                "field": "test",
                "type": "nominal",
                "title": None,
                "sort": names,
                "axis": {**axis, "orient": "top", "labelAngle": -35},
            },
        },
        "layer": [
            {
                "mark": {"type": "rect", "color": sentinel("tuned")},
                "encoding": {
                    "fillOpacity": {
                        "field": "score",
                        "type": "quantitative",
                        "scale": {"domain": [0, highest], "range": [0.02, 0.5]},
                    }
                },
            },
            {
                "transform": [{"filter": "datum.same"}],
                "mark": {
                    "type": "rect",
                    "fillOpacity": 0,
                    "strokeWidth": 1.5,
                    "stroke": sentinel("fg"),
                },
            },
            {
                "mark": {"type": "text", "fontWeight": 600},
                "encoding": {"text": {"field": "label"}},
            },
        ],
    }


def frontier(figure: Json, width: int) -> Spec:
    """Gain against cost with both intervals, a line for each series."""
    inner = width - EDGE - AXIS - (70 if width >= WIDE else 50)
    series = list(dict.fromkeys(point["series"] for point in figure["points"]))
    x: Spec = {
        "field": "x",
        "type": "quantitative",
        "title": figure["x"],
        "axis": {"format": "+.0f", "tickCount": 5},
        "scale": {"zero": False, "nice": True},
    }
    y: Spec = {
        "field": "y",
        "type": "quantitative",
        "title": figure["y"],
        "axis": {"format": "+.0f", "tickCount": 5},
        "scale": {"zero": False, "nice": True},
    }
    layers: list[Spec] = []
    for at, name in enumerate(series):
        colour = sentinel(COLOURS[at % len(COLOURS)])
        rows = [
            {key: 100 * value if isinstance(value, float) else value for key, value in p.items()}
            for p in figure["points"]
            if p["series"] == name
        ]
        layers += _series(rows, colour)
    return {"width": inner, "height": 300, "encoding": {"x": x, "y": y}, "layer": layers}


def _series(rows: list[dict[str, Any]], colour: str) -> list[Spec]:
    whole = [row for row in rows if row["x_low"] is not None and row["y_low"] is not None]
    text: Spec = {"type": "text", "align": "left", "dx": 8, "dy": -8, "color": colour}
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "line", "strokeWidth": 1.5, "opacity": 0.6, "color": colour},
            "encoding": {"order": {"field": "rows", "type": "quantitative"}},
        },
        {
            "data": {"values": whole},
            "mark": {"type": "rule", "color": colour},
            "encoding": {
                "y": {"field": "y_low", "type": "quantitative"},
                "y2": {"field": "y_high"},
            },
        },
        {
            "data": {"values": whole},
            "mark": {"type": "rule", "color": colour},
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
