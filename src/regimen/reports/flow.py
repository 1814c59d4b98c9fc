"""The ledger as a flow: one vertical trunk whose width is rows, a band leaving it per reason.

Written by hand because the steps are in a line: no layout algorithm is needed. The trunk runs from
top to bottom; at each step the removed rows bend out to the right and name their reason.
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
HEAD = 34
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
    "wide": Geometry(width=WIDE, left=150, trunk=210, reasons=430, beside=True),
    "narrow": Geometry(width=NARROW, left=2, trunk=110, reasons=150, beside=False),
}


def flow(steps: Sequence[Step], note: Child) -> Markup:
    """The figure at both widths."""
    name = "From raw rows to training rows"
    description = (
        f"{things(steps[0].rows_in, 'row')} enter, {count(steps[-1].kept)} are kept after "
        f"{things(len(steps), 'step')}. The table below has the numbers."
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
    scale = shape.trunk / most
    parts: list[Markup] = []
    y = 8.0
    previous: int | None = None
    for step in steps:
        if previous is not None and previous != step.rows_in:
            parts.append(_junction(shape, y, previous * scale, step.rows_in * scale))
            y += 22
        drawn, height = _step(step, shape, y, scale)
        parts += drawn
        y += height
        previous = step.kept
    parts += _end(steps[-1], shape, y, scale)
    height = y + 40
    opening = Markup('<svg width="{0}" height="{1:.0f}" viewBox="0 0 {0} {1:.0f}" class="flow" ')
    head = opening.format(shape.width, height) + Markup(naming(prefix, name, description))
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


def _step(step: Step, shape: Geometry, y: float, scale: float) -> tuple[list[Markup], float]:
    """The drawing of a step from ``y`` on, and its height."""
    losses = _losses(step)
    top = y + (0 if shape.beside else 24)
    after = step.kept * scale
    edge = after + sum(n for _, n, _ in losses) * scale
    parts = []
    down = top + 8.0
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
    height = max(HEAD + LINE, down - top + 12)
    parts.insert(0, _trunk(shape, top, max(after, THIN), height))
    return [*parts, *_names(step, shape, y, top)], height + (top - y)


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


def _text(x: float, y: float, text: str, *, class_: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" class="{}">{}</text>').format(
        x, y, anchor, class_, text
    )


def _names(step: Step, shape: Geometry, y: float, top: float) -> list[Markup]:
    label, rows = title(step.name), f"{count(step.rows_in)} in"
    if shape.beside:
        x = shape.left - 14
        return [
            _text(x, top + 16, label, class_="strong", anchor="end"),
            _text(x, top + 33, rows, class_="soft", anchor="end"),
        ]
    return [
        _text(shape.left, y + 17, label, class_="strong"),
        _text(shape.width - 4, y + 17, rows, class_="soft", anchor="end"),
    ]


def _reason(shape: Geometry, y: float, label: str, n: int) -> Markup:
    room = int((shape.width - shape.reasons - 8 * len(count(n))) / 7.2)
    short = label if len(label) <= room else label[: room - 1] + "…"
    return Markup().join(
        [
            Markup('<text x="{:.1f}" y="{:.1f}">').format(shape.reasons, y + 4),
            Markup('<tspan class="strong">{}</tspan> {}</text>').format(count(n), short),
        ]
    )


def _junction(shape: Geometry, y: float, before: float, after: float) -> Markup:
    """Where the unit changes (tasks become instances, sources are joined): a dashed seam."""
    return Markup(
        '<path fill="none" stroke="var(--faint)" stroke-dasharray="2 3" '
        'd="M{:.1f},{:.1f}L{:.1f},{:.1f}M{:.1f},{:.1f}V{:.1f}"/>'
    ).format(shape.left + before, y + 2, shape.left + after, y + 20, shape.left, y + 2, y + 20)


def _end(step: Step, shape: Geometry, y: float, scale: float) -> list[Markup]:
    rows = things(step.kept, "row")
    width = max(step.kept * scale, THIN)
    arrow = Markup('<path fill="var(--band)" d="M{:.1f},{:.1f}h{:.1f}l{:.1f},12Z"/>').format(
        shape.left, y, width, -width / 2
    )
    x = shape.left - 14 if shape.beside else shape.left
    anchor = "end" if shape.beside else "start"
    down = 8 if shape.beside else 30
    return [arrow, _text(x, y + down, f"Kept: {rows}", class_="strong", anchor=anchor)]
