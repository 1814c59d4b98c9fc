"""Lints of the tasks of a build: what is doubtful in them, with counts; nothing is removed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from typing import Any

from regimen import console
from regimen.instances.lints.findings import Finding
from regimen.instances.lints.tasks import lint_tasks
from regimen.instances.templates import TemplateWorker
from regimen.records import Task
from regimen.runs import Run

MOST_ROWS = 10_000
"""Rows of a task that are looked at, from its first."""
RENDERED_ROWS = 64
"""Rows of a task on which its templates are tried."""
_ORDER = ("error", "warning", "note")


def lint_build(tasks: Sequence[Task], seed: int, run: Run) -> dict[str, Any]:
    """Write ``lints.json``, print a table by lint, and return the counts for the data card.

    Tasks whose rows a function makes are left out: their rows are right by that function.

    Returns:
        ``tasks`` looked at, ``findings`` ({severity: {lint: tasks}}); empty without such tasks.
    """
    given = [task for task in tasks if task.generator is None]
    if not given:
        return {}
    found: list[Finding] = []
    with console.progress(len(given), "lints", "tasks") as bar, TemplateWorker() as worker:
        for task in given:
            # many lints read the rows: packed ones would be unpacked for each
            some = replace(task, instances=tuple(islice(task.instances, MOST_ROWS)))
            found += lint_tasks([some], worker.render, drawn=RENDERED_ROWS, seed=seed)
            bar.advance()
    run.write_json("lints.json", [asdict(one) for one in found])
    rows = Counter[tuple[str, str]]()
    members = defaultdict[tuple[str, str], set[str]](set)
    for one in found:
        rows[one.severity, one.lint] += one.count
        members[one.severity, one.lint].add(one.task)
    order = sorted(members, key=lambda key: (_ORDER.index(key[0]), -len(members[key]), key[1]))
    if order:
        console.table(
            f"lints of {len(given):,} tasks (each with its rows in lints.json)",
            ["severity", "lint", "tasks", "rows"],
            [[severity, lint, len(members[severity, lint]), rows[severity, lint]]
             for severity, lint in order],
        )  # fmt: skip
    counts = {
        severity: {lint: len(members[kind, lint]) for kind, lint in order if kind == severity}
        for severity in _ORDER
    }
    return {"tasks": len(given), "findings": {name: some for name, some in counts.items() if some}}
