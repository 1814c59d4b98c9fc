"""Colours, marks and the chart configuration: one look for the page and its figures.

Charts are drawn with sentinel colours that no chart would use by itself. The finished SVG has each
sentinel replaced by a CSS variable, so that one drawing serves the light and the dark page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# name -> (light, dark). The system colours stay apart under the common colour deficiencies
# (they differ in lightness too), and every system also has a shape of its own.
PALETTE: dict[str, tuple[str, str]] = {
    "bg": ("#fdfdfb", "#15171a"),
    "raised": ("#f4f4ef", "#1e2125"),
    "fg": ("#1c1e21", "#e7e6e1"),
    "muted": ("#5c6168", "#a2a7ae"),
    "faint": ("#8a8f96", "#7b8188"),
    "line": ("#dcdcd5", "#33373d"),
    "accent": ("#0b5fa5", "#78b7f0"),
    "good": ("#1d7044", "#6fcf97"),
    "bad": ("#b3361c", "#ff927a"),
    "warn": ("#8a5a00", "#e8b657"),
    "good-bg": ("#e3f1e7", "#1c3226"),
    "bad-bg": ("#fae7e1", "#3d231d"),
    "warn-bg": ("#f8eed8", "#38301c"),
    "base": ("#6f757d", "#a9afb7"),
    "base-prompted": ("#b07400", "#efb54a"),
    "tuned": ("#0b5fa5", "#6db3f2"),
    "aligned": ("#00785a", "#45cfa4"),
    "copy-input": ("#8f4a9c", "#d59be0"),
    "copy-demonstration": ("#b04a2e", "#f0926f"),
    "wrong": ("#e0ded8", "#3a3e44"),
    "right": ("#c5d5e4", "#30465a"),
    "band": ("#c9d8e6", "#2f4558"),
    "band-out": ("#e8cbbc", "#7a503e"),
}
SENTINELS: dict[str, str] = {name: f"#fe01{i:02x}" for i, name in enumerate(PALETTE)}


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """How a system is named and drawn, on every figure alike."""

    label: str
    colour: str
    shape: str
    filled: bool = False


SYSTEMS: dict[str, System] = {
    "aligned": System(label="aligned", colour="aligned", shape="square", filled=True),
    "tuned": System(label="tuned", colour="tuned", shape="circle", filled=True),
    "base_prompted": System(label="prompted base", colour="base-prompted", shape="diamond"),
    "base": System(label="base", colour="base", shape="circle"),
    "copy_input": System(label="copy the input", colour="copy-input", shape="triangle-up"),
    "copy_demonstration": System(
        label="copy a demonstration", colour="copy-demonstration", shape="triangle-down"
    ),
}


def system(name: str) -> System:
    """The look of a system; one that is not in the table is drawn as a neutral cross."""
    return SYSTEMS.get(name) or System(
        label=name.replace("_", " "), colour="faint", shape="cross", filled=True
    )


def ordered(names: list[str]) -> list[str]:
    """Systems in the order of the table, others after them by name."""
    known = [name for name in SYSTEMS if name in names]
    return known + sorted(name for name in names if name not in SYSTEMS)


def sentinel(name: str) -> str:
    """The colour to draw with, replaced by ``var(--name)`` in the finished figure."""
    return SENTINELS[name]


def variables(dark: bool) -> str:
    """The palette as CSS declarations."""
    return "".join(f"--{name}:{pair[dark]};" for name, pair in PALETTE.items())


def chart_config() -> dict[str, Any]:
    """The Vega-Lite configuration that every figure shares."""
    fg, muted, line = sentinel("fg"), sentinel("muted"), sentinel("line")
    return {
        "background": None,
        "font": "sans-serif",
        "padding": 4,
        "view": {"stroke": None},
        "concat": {"spacing": 28},
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": fg,
            "fontSize": 13,
            "fontWeight": 600,
            "subtitleColor": muted,
            "subtitleFontSize": 11.5,
            "subtitlePadding": 3,
            "offset": 10,
        },
        "axis": {
            "labelColor": muted,
            "labelFontSize": 11.5,
            "titleColor": muted,
            "titleFontSize": 11.5,
            "titleFontWeight": "normal",
            "gridColor": line,
            "domain": False,
            "tickColor": line,
            "tickSize": 4,
            "labelPadding": 5,
            "labelLimit": 150,
        },
        "axisX": {"labelFlush": False},
        "axisY": {"ticks": False},
        "legend": {"disable": True},
        "text": {"color": fg, "fontSize": 11.5},
        "rule": {"color": line},
    }
