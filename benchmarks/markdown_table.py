"""Tables of the generated pages."""

from __future__ import annotations

from collections.abc import Sequence


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table; columns of numbers to the right."""
    body = [tuple(cell.replace("|", "/") for cell in row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(columns, *body, strict=True)]
    rule = [
        "-" * widths[0] if i == 0 else "-" * (width - 1) + ":" for i, width in enumerate(widths)
    ]
    lines = [
        [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in (columns, *body)
    ]
    return ["| " + " | ".join(cells) + " |" for cells in (lines[0], rule, *lines[1:])]
