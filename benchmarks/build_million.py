"""A build of many task instances by `regimen run`, watched from outside.

Twenty task files with a table of rows each, options, and three templates. Memory is the
proportional resident memory (PSS) of the command and of all processes that it starts, every half
second; the build proper begins when its first worker starts.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from build_works import SEED, vocabulary
from regimen.errors import RunError

TASKS = 20
EVERY_SECONDS = 0.5
LIMIT_SECONDS, LIMIT_BYTES = 360.0, 3 << 30
WORKER = "regimen.stages.workers"

_TASK = """\
name: made_{number}
definition: Read the passage and answer the question with one of the options.
family: family_{family}
licence: MIT
data:
  path: rows_{number}.jsonl
  columns: {{input: passage, output: label, options: choices}}
  answer: index
templates:
  - name: passage first
    input: "{{{{ passage }}}}\\n\\n{{{{ question }}}}\\n{{{{ options_block }}}}"
  - name: question first
    input: "Q: {{{{ question }}}}\\nText: {{{{ passage }}}}\\n{{{{ options_block }}}}\\nAnswer:"
  - name: with conditions
    input: "{{% if title %}}{{{{ title | upper }}}}\\n{{% endif %}}{{{{ passage }}}}\\n\\
      {{{{ question | capitalize }}}} {{{{ options | join(', ') }}}}"
"""


def write_work(folder: Path, rows: int) -> Path:
    """Tasks of ``rows`` rows together and a recipe that builds them; the recipe's path."""
    rng = random.Random(SEED)
    words = vocabulary(rng)
    tasks = folder / "tasks"
    tasks.mkdir()
    for number in range(TASKS):
        task = _TASK.format(number=number, family=number % 5)
        (tasks / f"made_{number}.yaml").write_text(task, encoding="utf-8")
        with (tasks / f"rows_{number}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(rows // TASKS):
                row = {
                    "title": " ".join(rng.choices(words, k=3)),
                    "passage": " ".join(rng.choices(words, k=rng.randint(20, 80))),
                    "question": " ".join(rng.choices(words, k=10)) + "?",
                    "label": rng.randint(0, 3),
                    "choices": rng.sample(words, 4),
                }
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    recipe = folder / "recipe.yaml"
    build: dict[str, Any] = {"sources": [{"path": str(tasks)}]}
    build |= {"instances_per_task": rows // TASKS, "formatting": {"encoding": "template"}}
    recipe.write_text(json.dumps({"run": str(folder / "run"), "build": build}))
    return recipe


@dataclass(slots=True)
class Watched:
    """Seconds since the start and bytes of a command and its processes."""

    began: float
    build_began: float | None = None
    tree_peak: int = 0
    parent_peak: int = 0
    processes: int = 0
    samples: int = 0
    cpu: dict[int, float] = field(default_factory=dict)

    def look(self, pid: int) -> None:
        """Take a sample."""
        try:
            parent = psutil.Process(pid)
            tree = [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        sizes = [self._one(one) for one in tree]
        self.samples += 1
        self.processes = max(self.processes, len(tree))
        self.parent_peak = max(self.parent_peak, sizes[0])
        self.tree_peak = max(self.tree_peak, sum(sizes))

    def _one(self, process: psutil.Process) -> int:
        """Proportional resident bytes of a process, 0 once it is gone; its time is noted."""
        try:
            times = process.cpu_times()
            self.cpu[process.pid] = times.user + times.system
            if self.build_began is None and WORKER in process.cmdline():
                self.build_began = process.create_time()
            return int(process.memory_full_info().pss)
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            return 0


def watched(recipe: Path, log: Path) -> dict[str, Any]:
    """Run the command; its seconds and peaks.

    Raises:
        RunError: the command failed.
    """
    call = "import sys; from regimen.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", call, "run", str(recipe)]
    with log.open("wb") as out:
        watch = Watched(time.time())
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        while process.poll() is None:
            watch.look(process.pid)
            try:
                process.wait(EVERY_SECONDS)
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - start
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-300:]
        raise RunError("The build failed.", slug="benchmark-failed", got=tail)
    reading = 0.0 if watch.build_began is None else watch.build_began - watch.began
    return {
        "seconds": seconds,
        "reading_seconds": reading,
        "building_seconds": seconds - reading,
        "cpu_seconds": sum(watch.cpu.values()),
        "tree_peak_mib": watch.tree_peak / 2**20,
        "parent_peak_mib": watch.parent_peak / 2**20,
        "processes": watch.processes,
        "samples": watch.samples,
    }


def checked(folder: Path, rows: int) -> dict[str, int]:
    """Instances and bytes that the build wrote.

    Raises:
        RunError: a row is not accounted for, or more than one in a hundred is no instance.
    """
    import pyarrow.parquet as pq

    build = folder / "run" / "build"
    table = build / "instances.parquet"
    written = pq.read_metadata(table).num_rows
    ledger = json.loads((build / "ledger" / "summary.json").read_text())
    entered = ledger["format"]["in"]
    lost = sum(
        sum(step[how].values())
        for name, step in ledger.items()
        for how in ("removed", "failed")
        if not name.startswith("read-")
    )
    if entered != rows or written + lost != rows or written < 0.99 * rows:
        raise RunError(
            "The build did not make an instance of every row.",
            slug="benchmark-unequal",
            got=f"{written:,} written and {lost:,} lost of {entered:,} that were formatted",
            expected=f"{rows:,}",
        )
    return {"instances": written, "bytes": os.path.getsize(table)}


def million(folder: Path, rows: int) -> dict[str, Any]:
    """Write the data, build it, check it; one row of the result."""
    start = time.perf_counter()
    recipe = write_work(folder, rows)
    writing = time.perf_counter() - start
    found = watched(recipe, folder / "log.txt")
    made = checked(folder, rows)
    rate = made["instances"] / found["seconds"]
    return {"rows": rows, **made, **found, "instances_per_second": rate, "data_seconds": writing}
