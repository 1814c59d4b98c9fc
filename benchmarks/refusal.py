"""How often the rules find refusals that people found, and what they call one that is none.

    python benchmarks/refusal.py --data DIR [--file NAME] [--looks N] [--json]

DIR holds the labelled answers of XSTest (arXiv 2308.01263) as ``xstest_v2_completions_NAME`` and
``..._gpteval`` (.csv or .csv.zst). Only counts are made: no prompt, no answer is printed or kept.
``--file`` measures one file alone and keeps nothing. A full run writes
benchmarks/results/refusal.json and the table of docs/scorers.md; ``--looks`` is how often counts of
the first file were looked at while the rules were written. The second one was kept back until they
were done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from command import carry_out, parser
from refusal_page import write_refusal_table
from regimen import __version__, console
from regimen.evaluation.statistics import clustered_rate, paired_difference
from regimen.judging.agreement import coded, cohen_kappa
from regimen.judging.refusal import is_refusal
from result import machine
from stored import read_whole

NAME = "refusal"
DEVELOPED, KEPT_BACK = "mistralguard", "mistralinstruct"
FILES = (DEVELOPED, KEPT_BACK)
FULL, PARTIAL = "2_full_refusal", "3_partial_refusal"
CALLS = ("rules", "gpt4")


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The rows of a file: type of the prompt, labels of people, of GPT-4 and of the rules."""
    return [
        {
            "file": name,
            "type": row["type"],
            "unsafe": row["type"].startswith("contrast_"),
            "full": row["final_label"] == FULL,
            "partial": row["final_label"] == PARTIAL,
            "people": row["final_label"] in (FULL, PARTIAL),
            "first": row["annotation_1"] in (FULL, PARTIAL),
            "second": row["annotation_2"] in (FULL, PARTIAL),
            # A few labels are sentences in which GPT-4 declines to judge: no refusal found.
            "gpt4": row["gpt4_label"] in (FULL, PARTIAL),
            "rules": is_refusal(row["completion"]),
        }
        for row in read_whole(data / f"xstest_v2_completions_{name}_gpteval.csv")
    ]


def rate(rows: Sequence[dict[str, Any]], hit: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Share of the rows with its 95% interval, clustered by the type of prompt."""
    if not rows:
        return {"n": 0, "rate": None, "low": None, "high": None}
    found = clustered_rate([float(hit(row)) for row in rows], [row["type"] for row in rows])
    return {"n": found.n, "rate": found.estimate, "low": found.low, "high": found.high}


def against_people(rows: Sequence[dict[str, Any]], call: str) -> dict[str, Any]:
    """Precision, recall and agreement of ``rules`` or ``gpt4`` with the label of people.

    ``over_refusal`` is on safe prompts, ``compliance`` on unsafe ones: the rate by people, by the
    call, and the difference that the call makes, with its interval.
    """
    said = [row for row in rows if row[call]]
    sides = {"over_refusal": (False, True), "compliance": (True, False)}
    return {
        "precision": rate(said, lambda row: row["people"]),
        "recall": rate([row for row in rows if row["people"]], lambda row: row[call]),
        "recall_full": rate([row for row in rows if row["full"]], lambda row: row[call]),
        "recall_partial": rate([row for row in rows if row["partial"]], lambda row: row[call]),
        "false_alarms": rate([row for row in rows if not row["people"]], lambda row: row[call]),
        "agreement": rate(rows, lambda row: row[call] == row["people"]),
        "kappa": kappa(rows, call, "people"),
        **{name: error(rows, call, *side) for name, side in sides.items()},
    }


def error(
    rows: Sequence[dict[str, Any]], call: str, unsafe: bool, refused: bool
) -> dict[str, float | None]:
    """A rate by people and by the call, and the difference with its interval."""
    own = [row for row in rows if row["unsafe"] == unsafe]
    marks = {who: [float(row[who] == refused) for row in own] for who in (call, "people")}
    difference = paired_difference(
        marks[call], marks["people"], [row["type"] for row in own], bounds=(-1.0, 1.0)
    )
    return {
        "people": sum(marks["people"]) / len(own),
        "call": sum(marks[call]) / len(own),
        "difference": difference.difference,
        "low": difference.low,
        "high": difference.high,
    }


def kappa(rows: Sequence[dict[str, Any]], one: str, other: str) -> float:
    """Cohen's kappa of two columns of yes and no."""
    first, second = (coded([row[who] for row in rows], (False, True)) for who in (one, other))
    return cohen_kappa(first, second, 2)


def measured(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of one file."""
    return {
        "file": name,
        "answers": len(rows),
        "refusals": {kind: sum(row[kind] for row in rows) for kind in ("full", "partial")},
        **{call: against_people(rows, call) for call in CALLS},
        "people": {
            "agreement": rate(rows, lambda row: row["first"] == row["second"]),
            "kappa": kappa(rows, "first", "second"),
        },
        "by_type": {
            kind: {
                "refusals": sum(row["people"] for row in rows if row["type"] == kind),
                "found": sum(row["people"] and row["rules"] for row in rows if row["type"] == kind),
                "false": sum(
                    row["rules"] and not row["people"] for row in rows if row["type"] == kind
                ),
            }
            for kind in sorted({row["type"] for row in rows})
        },
    }


def bench(data: Path, names: Sequence[str], looks: int) -> dict[str, Any]:
    """Measure the files, and both together."""
    rows = {name: read(data, name) for name in names}
    blocks = [measured(name, own) for name, own in rows.items()]
    if len(names) > 1:
        blocks.append(measured("both", [row for own in rows.values() for row in own]))
    return {
        "name": NAME,
        "versions": {"regimen": __version__},
        "machine": machine(),
        "looks": {DEVELOPED: looks, KEPT_BACK: 1},
        "rows": blocks,
        "ratios": {},
    }


def show(result: dict[str, Any]) -> None:
    """Print the rates as a table."""

    def cell(of: dict[str, Any]) -> str:
        return (
            "-" if of["rate"] is None else f"{of['rate']:.3f} [{of['low']:.3f}, {of['high']:.3f}]"
        )

    keys = ("precision", "recall", "recall_full", "recall_partial", "agreement")
    body = [
        (
            block["file"],
            call,
            *(cell(block[call][key]) for key in keys),
            f"{block[call]['kappa']:.2f}",
        )
        for block in result["rows"]
        for call in CALLS
    ]
    console.table(NAME, ("file", "by", *keys, "kappa"), body)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; the exit status."""
    made = parser(
        "Rules of refusal against people's labels.", data="folder of the labelled answers"
    )
    made.add_argument("--file", choices=FILES, help="one file alone; nothing is kept")
    made.add_argument("--looks", type=int, default=0, help="counts of the first file seen before")
    options = made.parse_args(argv)
    options.quick = options.file is not None
    names = [options.file] if options.file else FILES
    return carry_out(
        options, lambda: bench(options.data, names, options.looks), show, write_refusal_table
    )


if __name__ == "__main__":
    sys.exit(main())
