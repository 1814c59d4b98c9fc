"""The gate's checks as rows for the console."""

from __future__ import annotations

from regimen.evaluation.table_cells import (
    Json,
    TableRows,
    counts,
    percent,
    points,
    signed_bits,
    span,
)

SHOW = {"points": points, "share": percent, "bits per byte": signed_bits}


def gate_table(gate: Json) -> TableRows:
    """Every check of a gate: its outcome, the value with its interval, the bound on it."""
    rows = [
        (
            check["outcome"],
            check["what"],
            SHOW[check["unit"]](check["value"]),
            span(check["low"], check["high"], SHOW[check["unit"]]),
            SHOW[check["unit"]](check["bound"]),
            *counts(check),
        )
        for check in gate["checks"]
    ]
    return TableRows(
        title=f"Gate: {gate['verdict']}",
        columns=("outcome", "check", "value", "95% interval", "bound", "n", "clusters", "seeds"),
        rows=tuple(rows),
    )


def check_line(check: Json) -> str:
    """A check in one sentence: what was asked, what the interval says."""
    return f"{check['outcome']}: {check['what']}, {check['requirement']}: {check['reason']}"
