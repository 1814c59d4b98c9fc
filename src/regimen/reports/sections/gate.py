"""The gate at the top of the page: its word, every check, what was not checked."""

from __future__ import annotations

from markupsafe import Markup

from regimen.reports.gate import GateVerdict
from regimen.reports.markup import Child, Column, bullets, el, table
from regimen.reports.wording import BASIS

LOOKS = {"pass": "good", "fail": "bad"}


def gate_panel(gate: GateVerdict | None) -> Markup:
    """The gate's verdict with its checks; nothing where no gate was asked for."""
    if gate is None:
        return Markup()
    columns = [
        Column(label="Outcome"),
        Column(label="Check"),
        Column(label="Required"),
        Column(label="Value [95%]", number=True),
        Column(label=BASIS, number=True),
        Column(label="Why"),
    ]
    rows: list[list[Child]] = [
        [
            el("span", check.outcome, class_=f"pill {LOOKS.get(check.outcome, 'even')}"),
            check.what.replace("_", " "),
            check.requirement,
            check.value,
            check.basis,
            check.reason,
        ]
        for check in gate.checks
    ]
    parts = [
        el("h2", gate.headline),
        table("The gate's checks", columns, rows, show_caption=False),
    ]
    if gate.unchecked:
        parts.append(bullets(f"Not checked: {text}." for text in gate.unchecked))
    return el("section", parts, id="gate")
