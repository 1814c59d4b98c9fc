"""The collections of lints.py as tasks, from the files that they are published in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from regimen.instances.collections.promptsource import read_promptsource
from regimen.instances.collections.t0 import read_t0
from regimen.instances.formats import read_source
from regimen.instances.readers import RawRow, RowFailure, read_rows
from regimen.records import Example, Row, Task

Found = Iterator[Task | RowFailure]


def natural(data: Path) -> Found:
    """Tasks of Super-NaturalInstructions."""
    return tasks_only(read_source(data / "super-natural-instructions"))


def niv2(data: Path) -> Found:
    """Definitions with one example each, without rows."""
    for row in read_rows(data / "niv2-meta" / "niv2_meta.jsonl.zst"):
        if isinstance(row, RowFailure):
            yield row
            continue
        said = row.values
        example = said["positive_example"]
        output = example["output"]
        output = output if isinstance(output, str) else output[0]
        yield Task(
            name=said["task"],
            category=said["category"],
            definition=said["definition"],
            positive=(Example(input=example["input"], output=output),),
        )


def t0(data: Path) -> Found:
    """Prompts and completions of T0, a task for each template."""
    return tasks_only(read_t0(data / "t0-train-50k"))


def promptsource(data: Path) -> Found:
    """Templates without rows."""
    return tasks_only(read_promptsource(data / "promptsource"))


def bbh(data: Path) -> Found:
    """BIG-Bench Hard; the definition is the second paragraph of the file of worked examples."""
    for path in sorted((data / "bbh").glob("*.json*")):
        rows: list[Row] = []
        for row in read_rows(path):
            if isinstance(row, RowFailure):
                yield row
            else:
                rows.append(_answered(row))
        name = path.name.split(".")[0]
        prompt = (data / "bbh" / f"{name}.txt").read_text(encoding="utf-8").split("\n\n")
        definition = prompt[0].rpartition("-----\n")[2]
        yield Task(name=name, definition=definition, instances=tuple(rows))


def _answered(row: RawRow) -> Row:
    return {"input": row.values["input"], "output": row.values["target"]}


def seeds(data: Path) -> Found:
    """Seed tasks of Self-Instruct."""
    for row in read_rows(data / "self-instruct" / "seed_tasks.jsonl"):
        if isinstance(row, RowFailure):
            yield row
            continue
        said: Mapping[str, Any] = row.values
        yield Task(
            name=said["id"], definition=said["instruction"], instances=tuple(said["instances"])
        )


def tasks_only(records: Iterator[Any]) -> Found:
    """Tasks and failures; a record of another kind is a failure too."""
    for record in records:
        if isinstance(record, Task | RowFailure):
            yield record
        else:
            yield RowFailure(0, "no_task", type(record).__name__, "Give tasks.")


COLLECTIONS: Mapping[str, tuple[str, Callable[[Path], Found]]] = {
    "super-natural-instructions": ("tasks with instances", natural),
    "niv2 definitions": ("definition and one example, without instances", niv2),
    "T0 sample": ("prompts and completions", t0),
    "promptsource": ("templates without rows", promptsource),
    "BIG-Bench Hard": ("inputs and targets", bbh),
    "Self-Instruct seeds": ("instruction and one instance", seeds),
}
