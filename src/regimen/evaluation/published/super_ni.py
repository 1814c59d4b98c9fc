"""Super-NaturalInstructions (Wang et al. 2022, 2204.07705): a JSON file for each task.

As published, a prompt has the definition and ``shots`` positive examples in the paper's own
encoding, and the first 100 instances of a task are asked. ``tasks`` chooses the test tasks, such as
the published lists of the English and the cross-lingual track.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from regimen.evaluation.published.choosing import of_task
from regimen.evaluation.published.reading import (
    SIGNATURES,
    Found,
    SuiteSpec,
    source_of,
    suite_files,
    wrong_format,
)
from regimen.instances.encodings import FormattingSpec
from regimen.instances.evaluation_items import askable_items
from regimen.instances.formats import suffixes_removed
from regimen.instances.natural_tasks import natural_instructions_task
from regimen.instances.readers import RowFailure, file_rows
from regimen.records import Row, Task

EXPECTED = "a JSON object with Definition, Positive Examples and Instances"
PER_TASK = 100
CHARACTERS = 8000
"""Prompts above this lose worked examples from the end, where the paper has 1,024 tokens."""


def read_super_ni(spec: SuiteSpec) -> Iterator[Found]:
    """The instances of a task's file, or of the wanted tasks of a folder.

    Raises:
        DataError: as ``suite_files`` and ``read_rows``; ``suite-format`` for another format.
    """
    wanted = set(spec.tasks)
    for file in suite_files(spec, lambda stem: not wanted or stem in wanted):
        for row in file_rows(file):
            if isinstance(row, RowFailure):
                yield replace(row, source=source_of(file, spec))
                continue
            if not set(SIGNATURES["super_ni"]) <= row.values.keys():
                raise wrong_format(file, spec, row.values, EXPECTED)
            yield from _task_items(
                spec,
                file,
                natural_instructions_task(
                    row.values,
                    name=suffixes_removed(file),
                    source=source_of(file, spec),
                    licence=spec.licence,
                ),
            )


def _task_items(spec: SuiteSpec, file: Path, found: Iterator[Task | RowFailure]) -> Iterator[Found]:
    """The items of a task, after its failures."""
    for one in found:
        if isinstance(one, RowFailure):
            yield replace(one, source=source_of(file, spec))
            continue
        rows = _chosen(one, spec)
        items, problem = askable_items(one, spec.name, len(rows), 0, _form(spec), rows=rows)
        yield from (replace(item, cluster="") for item in items)
        if problem is not None:
            asked = {item.lineage.row for item in items}
            for number, _ in rows:
                if number not in asked:
                    yield RowFailure(
                        number, problem.error, problem.got, problem.fix, source_of(file, spec)
                    )


def _chosen(task: Task, spec: SuiteSpec) -> list[tuple[int, Row]]:
    """The first instances of a task, as published, or drawn ones, with their places from 0."""
    rows: list[tuple[int, Row]] = list(enumerate(task.instances))
    if spec.per_task is None:
        return rows
    return [rows[place] for place in of_task(len(rows), spec, task.name, spec.per_task)]


def _form(spec: SuiteSpec) -> FormattingSpec:
    natural = spec.encoding == "natural_instructions"
    return FormattingSpec(
        encoding="natural_instructions" if natural else "definition",
        positive=spec.shots,
        max_characters=CHARACTERS,
    )
