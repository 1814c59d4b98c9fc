"""A reliability diagram as an SVG file of its own: predicted probability against what was observed.

It is drawn without Vega, so that a training that has no report has its picture as well. On the page
of a report it takes the page's colours, light or dark; alone it has those of the light page.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from regimen.reports.theme import PALETTE

SIDE, EDGE = 220, 46
"""A panel's square and the room for its labels, in pixels."""

COLOURS = ("bg", "fg", "muted", "faint", "aligned")

LOW = 0.5
"""The likelier of two sides is never less likely than this."""


def reliability_svg(panels: Mapping[str, Mapping[str, Any]], *, themed: bool = False) -> str:
    """One panel for each name.

    Args:
        panels: ``ece`` and ``bins`` of each, as :func:`regimen.evaluation.rewards.calibrated` has
            them.
        themed: for a report's page, in whose colours it is drawn.
    """
    width, height = len(panels) * (SIDE + 2 * EDGE), SIDE + 2 * EDGE
    drawn = [
        _panel(name, one, place * (SIDE + 2 * EDGE))
        for place, (name, one) in enumerate(panels.items())
    ]
    whole = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="sans-serif" font-size="11" '
        f'aria-label="Calibration" preserveAspectRatio="xMinYMin" {_fill("fg")}>\n'
        "<title>Calibration of the reward model on held-out prompts</title>\n"
        f'<rect width="{width}" height="{height}" {_fill("bg")}/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )
    return _themed(whole) if themed else whole


def _panel(name: str, one: Mapping[str, Any], left: float) -> str:
    """Axes, the diagonal of perfect calibration, and a point with its interval for each bin."""
    bins: Sequence[Mapping[str, Any]] = one["bins"]
    floor = min([LOW, *(float(_or(b["low"], b["accuracy"])) for b in bins)])

    def x(value: float) -> float:
        return left + EDGE + SIDE * (value - LOW) / (1 - LOW)

    def y(value: float) -> float:
        return EDGE + SIDE * (1 - (value - floor) / (1 - floor))

    parts = [
        f'<text x="{left + EDGE}" y="18" font-size="13" font-weight="bold">'
        f"{html.escape(name)}</text>",
        f'<text x="{left + EDGE}" y="34" {_fill("muted")}>ECE {one["ece"]:.3f}, '
        f"{sum(int(b['items']) for b in bins):,} predictions</text>",
        f'<rect x="{left + EDGE}" y="{EDGE}" width="{SIDE}" height="{SIDE}" '
        f'fill="none" {_stroke("faint")}/>',
        f'<line x1="{x(LOW):.1f}" y1="{y(LOW):.1f}" x2="{x(1):.1f}" y2="{y(1):.1f}" '
        f'{_stroke("faint")} stroke-dasharray="4 3"/>',
    ]
    for tick in (0.5, 0.75, 1.0):
        parts.append(
            f'<text x="{x(tick):.1f}" y="{EDGE + SIDE + 15}" text-anchor="middle">{tick:g}</text>'
        )
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        if tick >= floor:
            place = f'x="{left + EDGE - 5}" y="{y(tick) + 4:.1f}"'
            parts.append(f'<text {place} text-anchor="end">{tick:g}</text>')
    parts.append(
        f'<text x="{left + EDGE + SIDE / 2}" y="{EDGE + SIDE + 32}" text-anchor="middle">'
        "predicted probability</text>"
    )
    parts.append(
        f'<text transform="translate({left + 12} {EDGE + SIDE / 2}) rotate(-90)" '
        'text-anchor="middle">observed share</text>'
    )
    for b in bins:
        at, seen = x(float(b["confidence"])), y(float(b["accuracy"]))
        if b["low"] is not None:
            parts.append(
                f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y(float(b["low"])):.1f}" '
                f'y2="{y(float(b["high"])):.1f}" stroke-opacity="0.6" '
                f"{_stroke('aligned')}/>"
            )
        told = f"{b['confidence']:.3f} predicted, {b['accuracy']:.3f} observed, {b['items']} items"
        parts.append(
            f'<circle cx="{at:.1f}" cy="{seen:.1f}" r="4" {_fill("aligned")}>'
            f"<title>{told}</title></circle>"
        )
    return "\n".join(parts)


def _fill(name: str) -> str:
    return f'fill="{PALETTE[name][0]}"'


def _stroke(name: str) -> str:
    return f'stroke="{PALETTE[name][0]}"'


def _themed(drawn: str) -> str:
    """The colours as variables of the page, which not every program that reads SVG knows."""
    for name in COLOURS:
        for what, plain in (("fill", _fill(name)), ("stroke", _stroke(name))):
            drawn = drawn.replace(plain, f'style="{what}:var(--{name})"')
    return drawn


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value
