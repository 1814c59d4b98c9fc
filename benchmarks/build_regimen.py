"""regimen's side of build.py, one process: `build_regimen.py FOLDER OUT SETTINGS`.

`render` calls `TemplateWorker.render` on jobs that are there; `columns` goes from rows as tasks
hold them to texts in Arrow memory, `table` from rows in Arrow memory; `line` makes the tables of a
build with two workers.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from build_bare import pin
from build_works import KINDS, Kind, digest, read_rows
from regimen import __version__
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formatting import task_rows
from regimen.instances.templates import Rendering, RenderJob, TemplateWorker, template_job
from regimen.records import Task, Template
from regimen.settings.build import CurationSettings
from regimen.stages.producing import ROWS_AT_ONCE, Plan, chunks
from regimen.stages.workers import products

Rows = Sequence[Mapping[str, Any]]
AT_ONCE = 1024
"""Rows of a piece; `datasets` writes 1,000 at a time."""


def templates_of(kind: Kind) -> tuple[Template, ...]:
    """The templates of a kind as regimen has them."""
    return tuple(
        Template(name=str(i), input=s.prompt, output=s.answer, choices=s.choices)
        for i, s in enumerate(kind.sources)
    )


def jobs_of(kind: Kind, rows: Rows) -> list[RenderJob]:
    """A job for each row."""
    templates = templates_of(kind)
    return [template_job(templates[row["template"]], row) for row in rows]


def processor_seconds() -> float:
    """Seconds that this process and its children have computed."""
    here = psutil.Process()
    used = [one.cpu_times() for one in (here, *here.children(recursive=True))]
    return sum(times.user + times.system for times in used)


def timed(rounds: int, work: Callable[[], Any]) -> dict[str, Any]:
    """Seconds of the clock and of the processors for each round, and what the last made."""
    seconds, cpu, made = [], [], None
    for _ in range(rounds):
        made = None
        start, used = time.perf_counter(), processor_seconds()
        made = work()
        seconds.append(time.perf_counter() - start)
        cpu.append(processor_seconds() - used)
    return {"seconds": seconds, "cpu": cpu, "made": made}


def rendered(folder: Path, rounds: int) -> dict[str, Any]:
    """Texts of jobs that are there; the seconds of making these stand apart."""
    found: dict[str, Any] = {}
    with TemplateWorker() as worker:
        for kind in KINDS:
            rows = read_rows(folder, kind)
            start = time.perf_counter()
            jobs = jobs_of(kind, rows)
            making = time.perf_counter() - start
            worker.render(jobs[:100])
            one = timed(rounds, lambda jobs=jobs: worker.render(jobs))  # type: ignore[misc]
            texts = [made.texts for made in one.pop("made")]
            found[kind.name] = {**one, "jobs": making, "digest": digest(texts)}
    return found


def to_table(worker: TemplateWorker, kind: Kind, rows: Rows | pa.Table) -> pa.Table:
    """Texts of rows as columns, in pieces while the worker renders."""
    templates = templates_of(kind)
    held = rows_of(rows) if isinstance(rows, pa.Table) else rows
    made = worker.stream(template_job(templates[row["template"]], row) for row in held)
    pieces = []
    while some := [one.texts for one in islice(made, AT_ONCE) if isinstance(one, Rendering)]:
        prompts, answers = zip(*some, strict=True)
        pieces.append(pa.table({"prompt": pa.array(prompts), "answer": pa.array(answers)}))
    return pa.concat_tables(pieces)


def rows_of(table: pa.Table) -> Iterator[Mapping[str, Any]]:
    """The rows of a table, a piece at a time."""
    for start in range(0, len(table), AT_ONCE):
        yield from table.slice(start, AT_ONCE).to_pylist()


def tables(folder: Path, rounds: int, *, arrow: bool) -> dict[str, Any]:
    """From rows to columns, as `datasets.map` does; with ``arrow`` the rows are in columns too."""
    found: dict[str, Any] = {}
    with TemplateWorker() as worker:
        for kind in KINDS:
            rows = read_rows(folder, kind)
            to_table(worker, kind, rows[:100])
            held = pa.Table.from_pylist(rows) if arrow else rows

            def work(kind: Kind = kind, held: Any = held) -> pa.Table:
                return to_table(worker, kind, held)

            one = timed(rounds, work)
            made = one.pop("made").to_pydict()
            texts = list(zip(made["prompt"], made["answer"], strict=True))
            found[kind.name] = {**one, "digest": digest(texts)}
    return found


def lines(folder: Path, rounds: int) -> dict[str, Any]:
    """Instances with lineage, filtered, as tables, by two workers; their start is in it."""
    found: dict[str, Any] = {}
    spec = FormattingSpec(encoding="template", demonstrations="examples")
    plan = Plan(spec, 0, CurationSettings())
    for kind in KINDS:
        rows = read_rows(folder, kind)
        task = Task(name=kind.name, templates=templates_of(kind), instances=rows)

        def work(task: Task = task, count: int = len(rows)) -> int:
            pieces = task_rows([task], spec, count, 0, at_once=ROWS_AT_ONCE)
            return sum(one.table.num_rows for one in products(plan, chunks(pieces), 2))

        # ten times as long as a rendering: one round is enough
        one = timed(min(rounds, 1), work)
        found[kind.name] = {**one, "rows": one.pop("made")}
    return found


WORKS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "render": rendered,
    "columns": partial(tables, arrow=False),
    "table": partial(tables, arrow=True),
    "line": lines,
}


def main() -> None:
    """Measure one work and write it."""
    folder, out, told = sys.argv[1:]
    settings = json.loads(told)
    pin(settings["cores"])
    kinds = WORKS[settings["work"]](Path(folder), settings["rounds"])
    found = {"kinds": kinds, "versions": {"regimen": __version__, "pyarrow": pa.__version__}}
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
