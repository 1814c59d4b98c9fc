"""Where the right option stands: a model learns positions if they are not balanced.

A multiple-choice mixture whose answer is mostly the first option teaches to say the first option.
The engine draws the order of the options; this counts what came out, after every filter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy.stats import chisquare

MARK = "answer_at:"


class PositionBalance:
    """Counts of the answer's position by task and number of options."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, int, int]] = Counter()

    def add(self, tasks: Sequence[str], verdicts: Sequence[Sequence[str]]) -> None:
        """Count a batch by the verdicts of its lineages, such as ``answer_at:2/4``."""
        for task, said in zip(tasks, verdicts, strict=True):
            for verdict in said:
                if verdict.startswith(MARK):
                    position, _, options = verdict[len(MARK) :].partition("/")
                    self._counts[task, int(options), int(position)] += 1

    def report(self) -> dict[str, Any]:
        """Counts over all tasks and by task; empty where no answer is one of listed options.

        Returns:
            ``{"all": {options: row}, "tasks": {task: {options: row}}}``, where ``row`` has
            ``counts`` (a list, position 1 first) and ``p``: the probability that a uniform draw is
            at least as uneven (chi-squared test), None for fewer than five expected in a position.
            ``uneven`` names the tasks with a p below 0.05 / number of tests (Bonferroni).
        """
        if not self._counts:
            return {}
        total: Counter[tuple[str, int, int]] = Counter()
        for (_, options, position), count in self._counts.items():
            total["", options, position] += count
        tasks = {task: _rows(self._counts, task) for task in sorted({k[0] for k in self._counts})}
        tested = [
            (task, row["p"])
            for task, rows in tasks.items()
            for row in rows.values()
            if row["p"] is not None
        ]
        return {
            "all": _rows(total, ""),
            "tasks": tasks,
            "uneven": sorted({task for task, p in tested if p < 0.05 / len(tested)}),
        }


def _rows(counts: Counter[tuple[str, int, int]], task: str) -> dict[str, dict[str, Any]]:
    sizes = sorted({options for name, options, _ in counts if name == task})
    rows = {}
    for size in sizes:
        found = [counts[task, size, position] for position in range(1, size + 1)]
        enough = size > 1 and sum(found) >= 5 * size
        p = float(chisquare(found).pvalue) if enough else None
        rows[str(size)] = {"counts": found, "p": p}
    return rows
