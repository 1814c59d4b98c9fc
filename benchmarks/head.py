"""Memory of the vocabulary projection's loss against the size of the vocabulary.

    python benchmarks/head.py [--quick] [--json]

1,024 supervised rows of width 256 in fp32, two micro-batches of one step. Each measurement is a
process of its own (head_once.py): the peak resident memory above hidden states, head and their
gradients. A full run writes benchmarks/results/head.json and docs/images/head-memory.svg.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from command import carry_out, parser
from head_page import write_figure
from processes import HERE, Failure, Run, run
from regimen import console
from regimen.errors import RunError
from render import write_page
from result import machine

NAME = "head"
VOCABULARIES = tuple(1 << n for n in range(13, 19))
QUICK = (1 << 13, 1 << 16)
WORKS = ("sft", "logp")
SIDES = ("regimen", "plain")
ROWS, WIDTH = 1024, 256
MIB = 1 << 20


def one(side: str, work: str, vocabulary: int) -> Run:
    """One process.

    Raises:
        RunError: it failed, or the kernel does not count its peak anew.
    """
    settings = {
        "side": side,
        "work": work,
        "vocabulary": vocabulary,
        "rows": ROWS,
        "width": WIDTH,
    }
    command = [sys.executable, str(HERE / "head_once.py")]
    done = run(command, HERE, settings, {}, warm=0, limit=600)
    what = f"{side}, {work}, {vocabulary:,}"
    if isinstance(done, Failure):
        raise RunError(f"{what} failed.", slug="benchmark-failed", got=done.reason)
    if not done.raw["peak_was_reset"]:
        raise RunError(
            "The peak of resident memory cannot be counted anew here.",
            slug="benchmark-unmeasurable",
            expected="Linux with a writable /proc/self/clear_refs",
        )
    console.line(f"  {what}: {done.grown_bytes / MIB:,.0f} MiB")
    return done


def check_equal(ours: Run, theirs: Run) -> None:
    """Both sides must have computed the same loss and the same gradient of the head.

    Raises:
        RunError: they have not.
    """
    for name in ("loss", "norm"):
        a, b = ours.raw[name], theirs.raw[name]
        if not abs(a - b) <= 1e-4 * abs(b):
            raise RunError(
                "The two sides did not do the same work.",
                slug="benchmark-unequal",
                got=f"{name} {a:.6g} and {b:.6g}",
            )


def bench(vocabularies: Sequence[int], *, quick: bool) -> dict[str, Any]:
    """Measure, check, and put together the result."""
    found = machine()
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    raw: Mapping[str, Any] = {}
    for vocabulary in vocabularies:
        for work in WORKS:
            runs = {side: one(side, work, vocabulary) for side in SIDES}
            check_equal(runs["regimen"], runs["plain"])
            raw = runs["regimen"].raw
            rows += [row(side, work, vocabulary, done) for side, done in runs.items()]
            ours, theirs = (max(runs[side].grown_bytes, 1) for side in SIDES)
            ratios[f"head_memory_{work}_{vocabulary >> 10}k"] = theirs / ours
    return {
        "name": NAME,
        "versions": raw["versions"],
        "machine": found | {"threads": raw["threads"]},
        "quick": quick,
        "data": {"rows": ROWS, "width": WIDTH},
        "rows": rows,
        "ratios": ratios,
    }


def row(side: str, work: str, vocabulary: int, done: Run) -> dict[str, Any]:
    """One line of the result; memory in MiB."""
    return {
        "side": side,
        "work": work,
        "vocabulary": vocabulary,
        "above_mib": done.grown_bytes / MIB,
        "head_mib": 2 * vocabulary * WIDTH * 4 / MIB,
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the result as a table."""
    body = [
        (r["side"], r["work"], f"{r['vocabulary']:,}", f"{r['above_mib']:,.0f}")
        for r in result["rows"]
    ]
    console.table(NAME, ("side", "work", "vocabulary", "MiB"), body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = parser(
        "Memory of the loss against the vocabulary.", quick="two vocabularies"
    ).parse_args(argv)
    return carry_out(
        options,
        lambda: bench(QUICK if options.quick else VOCABULARIES, quick=options.quick),
        show,
        write_figure,
        lambda _: write_page(),
    )


if __name__ == "__main__":
    sys.exit(main())
