"""The part of docs/benchmarks.md about the head, and its figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markdown_table import table

IMAGE = Path("images") / "head-memory.svg"
DOCS = Path(__file__).resolve().parents[1] / "docs"
LABELS = {
    ("plain", "sft"): "all logits at once",
    ("regimen", "sft"): "regimen, gradients formed in the forward pass",
    ("regimen", "logp"): "regimen, log-probabilities computed again",
}
COLOURS = {
    ("plain", "sft"): "copy-demonstration",
    ("regimen", "sft"): "tuned",
    ("regimen", "logp"): "aligned",
}
Row = Mapping[str, Any]


def head_section(result: Mapping[str, Any]) -> str:
    """What was measured and on what, the figure, and a line for each vocabulary."""
    machine, data = result["machine"], result["data"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    body = [
        (
            f"{vocabulary:,}",
            f"{of['plain', 'sft']['head_mib']:,.0f}",
            *(
                f"{of[side, work]['above_mib']:,.0f}"
                for side in ("plain", "regimen")
                for work in ("sft", "logp")
            ),
        )
        for vocabulary, of in by_vocabulary(result["rows"]).items()
    ]
    columns = ("vocabulary", "head", "plain", "plain, logp", "regimen", "regimen, logp")
    lines = [
        f"\n## {result['name']}\n",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB,",
        f"{machine['threads']} threads. {versions}.",
        "",
        f"`benchmarks/head.py`: {data['rows']:,} supervised rows of width {data['width']}, fp32, "
        "two micro-batches of one",
        "step, a process for each number. MiB of peak resident memory above hidden states, head",
        'and the gradients of both; "head" is the projection with its gradient, which both sides',
        'have. "logp" is the way of objectives that make something else of log-probabilities.',
        "",
        f"![Peak memory against the vocabulary]({IMAGE.as_posix()})",
        "",
        *table(columns, body),
    ]
    return "\n".join(lines) + "\n"


def by_vocabulary(rows: Sequence[Row]) -> dict[int, dict[tuple[str, str], Row]]:
    """The rows of each vocabulary, by side and work."""
    found: dict[int, dict[tuple[str, str], Row]] = {}
    for row in rows:
        found.setdefault(row["vocabulary"], {})[row["side"], row["work"]] = row
    return found


def specification(rows: Sequence[Row], width: int) -> dict[str, Any]:
    """The figure for Vega-Lite: both axes in powers of two."""
    from regimen.reports.theme import sentinel

    sizes = sorted({row["vocabulary"] for row in rows})
    layers: list[dict[str, Any]] = []
    for key, label in LABELS.items():
        points = [
            {"x": row["vocabulary"], "y": max(row["above_mib"], 1.0)}
            for row in rows
            if (row["side"], row["work"]) == key
        ]
        colour = sentinel(COLOURS[key])
        dot = {"filled": True, "size": 36, "color": colour}
        layers.append(
            {
                "data": {"values": points},
                "mark": {"type": "line", "strokeWidth": 2, "point": dot},
                "encoding": {"stroke": {"value": colour}},
            }
        )
        # the lowest lines have their names where they begin, the highest where it ends
        last = key == ("plain", "sft")
        layers.append(
            {
                "data": {"values": [{**points[-1 if last else 0], "label": label}]},
                "mark": {
                    "type": "text",
                    "align": "right" if last else "left",
                    "dy": 20 if key == ("regimen", "sft") else -12,
                    "fontWeight": 600,
                },
                "encoding": {"text": {"field": "label"}, "color": {"value": colour}},
            }
        )
    scale = {"type": "log", "base": 2, "nice": False}
    x_label = "format(datum.value / 1024, '~g') + 'k'"
    return {
        "title": {"text": "Peak memory above head and gradients, MiB"},
        "width": width - 60,
        "height": 260,
        "encoding": {
            "x": {
                "field": "x",
                "type": "quantitative",
                "title": "vocabulary",
                "scale": scale,
                "axis": {"grid": False, "values": sizes, "labelExpr": x_label},
            },
            "y": {
                "field": "y",
                "type": "quantitative",
                "title": None,
                "scale": {**scale, "domain": [8, 4096]},
                "axis": {"values": [8, 32, 128, 512, 2048], "format": "~g"},
            },
        },
        "layer": layers,
    }


def standalone(svg: str) -> str:
    """A drawing of the reports as a file of its own, with its colours for light and dark."""
    from regimen.reports.theme import variables

    style = (
        f"<style>svg{{{variables(False)}font-family:sans-serif}}"
        f"@media(prefers-color-scheme:dark){{svg{{{variables(True)}}}}}</style>"
        '<rect width="100%" height="100%" fill="var(--bg)"/>'
    )
    end = svg.index(">") + 1
    opening = svg[:end].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return f"{opening}{style}{svg[end:]}\n"


def write_figure(result: Mapping[str, Any], docs: Path = DOCS) -> Path:
    """Draw the figure as a static SVG."""
    from regimen.reports.charts import WIDE, draw

    rows = result["rows"]
    found = by_vocabulary(rows)
    ends = [found[min(found)], found[max(found)]]
    text = (
        f"Peak memory of the loss at vocabularies of {min(found):,} and {max(found):,}: "
        + "; ".join(
            f"{label} " + " and ".join(f"{of[key]['above_mib']:,.0f}" for of in ends) + " MiB"
            for key, label in LABELS.items()
        )
    )
    svg = draw(specification(rows, WIDE), "head-memory", "Memory of the loss", text)
    path = docs / IMAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(standalone(str(svg)), encoding="utf-8")
    return path
