"""What the lints find in published collections of tasks, and how long they take.

    python benchmarks/lints.py --data DIR [--quick] [--json]

DIR holds the collections as `lint_sources.py` names them. A full run writes
benchmarks/results/lints.json and docs/lints.md.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

from command import carry_out, parser
from lint_page import write_lints_page
from lint_sources import COLLECTIONS
from regimen import __version__, console
from regimen.instances.lints.findings import SEVERITIES, Finding
from regimen.instances.lints.spaces import stated_space
from regimen.instances.lints.tasks import lint_task, lint_tasks
from regimen.instances.lints.templates import lint_templates
from regimen.instances.templates import TemplateWorker
from regimen.records import Row, Task, Template
from result import machine

NAME = "lints"
QUICK_TASKS = 20
ROWS, TEMPLATES = 10_000, 10
QUICK_ROWS = 500
ANIMALS = ("heron", "otter", "badger", "lizard")


def collection(name: str, data: Path, most: int | None, worker: TemplateWorker) -> dict[str, Any]:
    """The findings of one collection, counted."""
    what, read = COLLECTIONS[name]
    records = list(islice(read(data), most))
    tasks = [record for record in records if isinstance(record, Task)]
    start = time.perf_counter()
    findings = list(lint_tasks(tasks, worker.render))
    seconds = time.perf_counter() - start
    return {
        "collection": name,
        "what": what,
        "tasks": len(tasks),
        "rows": sum(len(task.instances) for task in tasks),
        "templates": sum(len(task.templates) for task in tasks),
        "unread": len(records) - len(tasks),
        "seconds": seconds,
        "lints": counted(findings),
        "stated_space": stated(tasks),
    }


def counted(findings: Sequence[Finding]) -> dict[str, dict[str, int]]:
    """For each lint: findings, tasks, what they count together, and findings by severity."""
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.lint, []).append(finding)
    return {
        lint: {
            "findings": len(some),
            "tasks": len({finding.task for finding in some}),
            "count": sum(finding.count for finding in some),
            **{level: Counter(f.severity for f in some)[level] for level in SEVERITIES},
        }
        for lint, some in sorted(found.items())
    }


def stated(tasks: Sequence[Task]) -> dict[str, int]:
    """How many definitions name their answers, and how many of those allow their first example."""
    spaces = [(task, stated_space(task.definition)) for task in tasks if task.definition]
    named = [(task, space) for task, space in spaces if space is not None]
    shown = [(task.positive[0].output, space) for task, space in named if task.positive]
    return {
        "definitions": len(spaces),
        "named": len(named),
        "with_example": len(shown),
        "example_allowed": sum(space.allows(output) for output, space in shown),
    }


def speed(rows: int, worker: TemplateWorker) -> dict[str, Any]:
    """Seconds for one task of ``rows`` rows and ten templates."""
    made: list[Row] = [
        {"input": f"It lives near place {i} and hunts at night.", "output": ANIMALS[i % 4]}
        for i in range(rows)
    ]
    templates = tuple(
        Template(
            name=f"wording {k}",
            input=f"{k}. {{{{ input }}}} Is it a {{{{ answer_choices | join(', a ') }}}}?",
            choices=" ||| ".join(ANIMALS),
        )
        for k in range(TEMPLATES)
    )
    task = Task(name="animals", templates=templates, instances=tuple(made))
    start = time.perf_counter()
    lint_task(task)
    between = time.perf_counter()
    lint_templates(task, worker.render, made)
    end = time.perf_counter()
    return {
        "rows": rows,
        "templates": TEMPLATES,
        "task_seconds": between - start,
        "templates_seconds": end - between,
    }


def bench(data: Path, *, quick: bool) -> dict[str, Any]:
    """Lint everything and put together the result."""
    where = machine()
    with TemplateWorker() as worker:
        rows = []
        for name in COLLECTIONS:
            rows.append(collection(name, data, QUICK_TASKS if quick else None, worker))
            console.line(f"  {name}: {rows[-1]['seconds']:.1f} s")
        measured = speed(QUICK_ROWS if quick else ROWS, worker)
    return {
        "name": NAME,
        "versions": {"regimen": __version__, "jinja2": version("jinja2")},
        "machine": where,
        "quick": quick,
        "rows": rows,
        "speed": measured,
        "ratios": {},
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the counts as a table."""
    body = [
        (row["collection"], lint, str(of["findings"]), str(of["tasks"]), str(of["count"]))
        for row in result["rows"]
        for lint, of in row["lints"].items()
    ]
    console.table(NAME, ("collection", "lint", "findings", "tasks", "count"), body)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the lints; the exit status."""
    options = parser(
        "Lints on published collections of tasks.",
        data="folder of the collections",
        quick=f"{QUICK_TASKS} tasks of each",
    ).parse_args(argv)
    return carry_out(
        options, lambda: bench(options.data, quick=options.quick), show, write_lints_page
    )


if __name__ == "__main__":
    sys.exit(main())
