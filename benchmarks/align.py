"""Speed and memory of learning from pairs against TRL, and of prompts that answers share.

    python benchmarks/align.py [--work NAME ...] [--quick] [--json]

Works: `dpo`, `reward` (align_works.py) and `dpo_shared_prefix`, which has no peer. Tokens are those
of the rows, a prompt counted with each of its answers, so that both sides have the same number. A
full run replaces the works' parts of benchmarks/results/align.json and docs/benchmarks.md; without
`--work` it runs all works. A quick run takes `dpo`, if no work is named, and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import align_prefix
import train
from align_works import PREFIX, WORKS
from works import Size, Work

NAME = "align"


def bench(
    work: Work, pythons: Mapping[str, Path], files: Path, size: Size, *, quick: bool
) -> dict[str, Any]:
    """Measure one work, beside TRL or beside itself."""
    if work is PREFIX.work:
        return align_prefix.bench(PREFIX, files, turns=size.repeats, quick=quick)
    return train.bench(work, pythons, files, size, quick=quick)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    works = {**WORKS, PREFIX.name: PREFIX.work}
    what = "Speed and memory of alignment against TRL."
    return train.Command(NAME, what, works, "dpo", bench).run(argv)


if __name__ == "__main__":
    sys.exit(main())
