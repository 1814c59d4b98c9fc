"""The ledger as a flow: one vertical trunk whose width is rows, a band leaving it per reason.

Written by hand because the steps are in a line: no layout algorithm is needed. The trunk runs from
top to bottom; at each step the removed rows bend out to the right and name their reason. A step
that removes nothing takes one line. A step that takes in other rows than the one before it left
(another source, instances made from tasks) begins after a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from regimen.reports.charts import NARROW, WIDE, frame, naming
from regimen.reports.ledger import Step
from regimen.reports.markup import Child, el
from regimen.reports.wording import count, things, title

REASONS = 5
LINE = 20
QUIET = 23
GAP = 12
THIN = 1.5
THICK = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where things stand, in pixels: left edge and full width of the trunk, labels of reasons."""

    width: int
    left: float
    trunk: float
    reasons: float
    beside: bool


GEOMETRIES = {
    "wide": Geometry(width=WIDE, left=205, trunk=180, reasons=450, beside=True),
    "narrow": Geometry(width=NARROW, left=2, trunk=110, reasons=150, beside=False),
}


def flow(steps: Sequence[Step], note: Child) -> Markup:
    """The figure at both widths."""
    name = "From raw rows to training rows"
    lost = sum(n for step in steps for _, n, _ in _losses(step))
    description = (
        f"{things(len(steps), 'step')} with {things(lost, 'row')} removed or failed. "
        "The table below has the numbers."
    )
    drawings = [
        el("div", draw_flow(steps, shape, f"flow-{kind}", name, description), class_=kind)
        for kind, shape in GEOMETRIES.items()
    ]
    return frame("flow", name, drawings, note=note)


def draw_flow(
    steps: Sequence[Step], shape: Geometry, prefix: str, name: str, description: str
) -> Markup:
    """The trunk with its bands as one SVG."""
    most = max(max(step.rows_in, step.kept) for step in steps) or 1
    parts: list[Markup] = []
    y = 4.0
    for i, step in enumerate(steps):
        goes_on = i + 1 < len(steps) and steps[i + 1].rows_in == step.kept
        draw_step = _step if _losses(step) else _quiet_step
        drawn, height = draw_step(step, shape, y, shape.trunk / most, goes_on)
        parts += drawn
        y += height + (0 if goes_on else GAP)
    opening = Markup('<svg width="{0}" height="{1:.0f}" viewBox="0 0 {0} {1:.0f}" class="flow" ')
    head = opening.format(shape.width, y) + Markup(naming(prefix, name, description))
    return head + Markup().join(parts) + Markup("</svg>")


def _losses(step: Step) -> list[tuple[str, int, bool]]:
    """(reason, rows, failed) by size; the tail of small ones is one band."""
    losses = [(reason, n, False) for reason, n in step.removed.items()]
    losses += [(reason, n, True) for reason, n in step.failed.items()]
    losses.sort(key=lambda loss: -loss[1])
    if len(losses) > REASONS:
        rest = losses[REASONS - 1 :]
        more = f"{len(rest)} more reasons"
        return [*losses[: REASONS - 1], (more, sum(n for _, n, _ in rest), False)]
    return losses


def _quiet_step(
    step: Step, shape: Geometry, y: float, scale: float, goes_on: bool
) -> tuple[list[Markup], float]:
    """A step that lost nothing: its name and rows in one line."""
    top = y + (0 if shape.beside else 18)
    height = QUIET if goes_on or shape.beside else QUIET - 10
    trunk = _trunk(shape, top, max(step.kept * scale, THIN), height)
    return [trunk, *_names(step, shape, y, count(step.kept), one_line=True)], height + (top - y)


def _step(
    step: Step, shape: Geometry, y: float, scale: float, goes_on: bool
) -> tuple[list[Markup], float]:
    """A step with its losses from ``y`` on, and its height."""
    losses = _losses(step)
    top = y + (0 if shape.beside else 22)
    after = step.kept * scale
    edge = after + sum(n for _, n, _ in losses) * scale
    parts = []
    down = top + 6.0
    for reason, n, failed in losses:
        wide = max(n * scale, THIN)
        thick = min(wide, THICK)
        line = max(LINE, thick + 6)
        middle = down + line / 2
        parts.append(_leaving(shape, (edge - n * scale, wide), top, (middle, thick), failed))
        words = reason.replace("_", " ")
        parts.append(_reason(shape, middle, f"{words}, failed" if failed else words, n))
        edge -= n * scale
        down += line
    height = max(2.8 * LINE, down - top + 8)
    parts.insert(0, _trunk(shape, top, max(after, THIN), height))
    rows = f"{count(step.rows_in)} in, {count(step.kept)} kept"
    return [*parts, *_names(step, shape, y, rows, one_line=False)], height + (top - y)


def _trunk(shape: Geometry, top: float, wide: float, height: float) -> Markup:
    # Half a pixel longer, so that no seam shows between one step and the next.
    return Markup(
        '<rect fill="var(--band)" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
    ).format(shape.left, top, wide, height + 0.5)


def _leaving(
    shape: Geometry,
    source: tuple[float, float],
    top: float,
    target: tuple[float, float],
    failed: bool,
) -> Markup:
    """A band that leaves the trunk downwards and bends to the right, to end before its label.

    ``source`` is where it begins on the trunk and how wide; ``target`` its height and thickness.
    """
    x0, x1 = shape.left + source[0], shape.left + sum(source)
    upper, lower = target[0] - target[1] / 2, target[0] + target[1] / 2
    end = shape.reasons - 8
    reach = min(26.0, max(end - x1, 0))
    return Markup(
        '<path fill="var(--{})" d="M{:.1f},{:.1f}H{:.1f}Q{:.1f},{:.1f} {:.1f},{:.1f}H{:.1f}V{:.1f}'
        'H{:.1f}Q{:.1f},{:.1f} {:.1f},{:.1f}Z"/>'
    ).format(
        *("bad" if failed else "band-out", x0, top, x1),
        *(x1, upper, x1 + reach, upper, end, lower),
        *(min(x1 + reach, end), x0, lower, x0, top),
    )


def _text(
    x: float, y: float, text: str | Markup, *, class_: str = "", anchor: str = "start"
) -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, class_, text
    )


def _names(step: Step, shape: Geometry, y: float, rows: str, *, one_line: bool) -> list[Markup]:
    """The name of a step and its rows: left of the trunk, or above it where that is narrow."""
    label = shortened(title(step.name), 26 if shape.beside else 24)
    if not shape.beside:
        return [
            _text(shape.left, y + 14, label, class_="strong"),
            _text(shape.width - 4, y + 14, rows, class_="soft", anchor="end"),
        ]
    x = shape.left - 14
    if one_line:
        both = Markup('<tspan class="strong">{}</tspan> <tspan class="soft">{}</tspan>')
        return [_text(x, y + 16, both.format(shortened(label, 22), rows), anchor="end")]
    return [
        _text(x, y + 16, label, class_="strong", anchor="end"),
        _text(x, y + 33, rows, class_="soft", anchor="end"),
    ]


def shortened(text: str, most: int) -> str:
    """Text in at most so many characters; the table beside has all of it."""
    return text if len(text) <= most else text[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _reason(shape: Geometry, y: float, label: str, n: int) -> Markup:
    room = int((shape.width - shape.reasons - 8 * len(count(n))) / 7.2)
    return Markup().join(
        [
            Markup('<text x="{:.1f}" y="{:.1f}">').format(shape.reasons, y + 4),
            Markup('<tspan class="strong">{}</tspan> {}</text>').format(
                count(n), shortened(label, room)
            ),
        ]
    )
