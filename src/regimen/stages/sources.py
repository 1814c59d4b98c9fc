"""Reading the sources of ``build``: files, starter material, functions of the user's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.readers import RowFailure
from regimen.records import Instance, Lineage, Message, Preference, Task
from regimen.settings.build import BuildSettings, SourceSettings
from regimen.stages.user_code import load_function

Record = Task | Instance | Preference | RowFailure


@dataclass(slots=True)
class Material:
    """What the sources hold: tasks with the number of rows wanted of each, and ready records.

    ``weights`` are those of tasks whose source has one other than 1, in the loss.
    """

    tasks: list[Task] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)


def read_sources(section: BuildSettings, seed: int, ledger: Ledger) -> Material:
    """Read every source; each is one step of the ledger."""
    material = Material()
    names: set[str] = set()
    for number, source in enumerate(section.sources, start=1):
        name = source_name(source)
        step_name = f"read-{_slug(name)}" + (f"-{number}" if name in names else "")
        names.add(name)
        with ledger.step(step_name) as step:
            for record in _limited(_records(source, seed), source.limit):
                step.enter()
                choice = (source.tasks, source.families, source.languages)
                if isinstance(record, Task) and not selected(record, *choice):
                    step.remove(record.name, "not_selected")
                    continue
                if isinstance(record, RowFailure):
                    where = f"{record.source or name}:{record.row}"
                    step.fail(where, record.error, record.got, record.fix)
                    continue
                step.keep()
                if _take(material, record, source, section) is not record:
                    step.change("task_renamed")
    if not (material.tasks or material.instances or material.preferences):
        raise DataError(
            "The sources hold nothing that can be used.",
            slug="no-records",
            got=", ".join(sorted(names)),
            fix="Look at ledger/*.failed.jsonl for the reason of each row.",
        )
    return material


def source_name(source: SourceSettings) -> str:
    """The name of a source in lineage and ledger."""
    if source.name:
        return source.name
    if source.path:
        return Path(source.path).name or Path(source.path).resolve().name
    if source.dataset:
        return source.dataset
    return f"starter-{source.starter}" if source.starter else str(source.function.function)  # type: ignore[union-attr]


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")


def _limited(records: Iterable[Record], limit: int | None) -> Iterator[Record]:
    for number, record in enumerate(records):
        if limit is not None and number >= limit:
            return
        yield record


def selected(
    task: Task, names: Collection[str], families: Collection[str], languages: Collection[str]
) -> bool:
    """Whether a choice of names, families and languages takes a task; an empty one takes all."""
    choices = ((names, task.name), (families, task.family), (languages, task.language))
    return all(not wanted or own in wanted for wanted, own in choices)


def _take(
    material: Material, record: Record, source: SourceSettings, section: BuildSettings
) -> Record:
    """Add a record; the record itself, or the task under the name that it got.

    A task is known by its name everywhere, so the second of a name gets its source behind it.
    """
    if isinstance(record, Task):
        task = _with_own_name(record, material.wanted)
        material.tasks.append(task)
        material.wanted[task.name] = source.instances_per_task or section.instances_per_task
        if source.weight != 1:
            material.weights[task.name] = source.weight
        return task
    if isinstance(record, Instance):
        weight = record.weight * source.weight
        material.instances.append(record if weight == record.weight else _weigh(record, weight))
    elif isinstance(record, Preference):
        material.preferences.append(record)
    return record


def _with_own_name(task: Task, taken: Mapping[str, int]) -> Task:
    name, number = task.name, 1
    while name in taken:
        number += 1
        name = (
            f"{task.name}@{task.source}" if number == 2 else f"{task.name}@{task.source}~{number}"
        )
    return task if name == task.name else replace(task, name=name)


def _weigh(instance: Instance, weight: float) -> Instance:
    return replace(instance, weight=weight)


def _records(source: SourceSettings, seed: int) -> Iterable[Record]:
    if source.starter is not None:
        material: Iterable[Record] = STARTER[source.starter](source, seed)
        return material
    if source.function is not None:
        call = source.function
        made = load_function(call.file, call.function)(**call.arguments)
        return (_row(value, number, source) for number, value in enumerate(made, start=1))
    from regimen.instances.formats import read_dataset, read_source

    said: dict[str, Any] = {
        "format": source.format,
        "columns": source.columns,
        "name": source_name(source),
        "licence": source.licence,
        "language": source.language,
    }
    if source.dataset is not None:
        config, split = source.config or "", source.split or "train"
        return read_dataset(source.dataset, config=config, split=split, **said)
    return read_source(Path(str(source.path)), **said)


def _row(value: Any, number: int, source: SourceSettings) -> Record:
    """What a function of the user's yields: a record, or a mapping read like a row of a file."""
    if isinstance(value, Task | Instance | Preference | RowFailure):
        return value
    return RowFailure(
        row=number,
        error="not_a_record",
        got=type(value).__name__,
        fix="Yield Task, Instance or Preference records.",
        source=source_name(source),
    )


def _starter_tasks(_source: SourceSettings, _seed: int) -> Iterable[Record]:
    from regimen.assets.starter.tasks import catalogue

    return catalogue()


def _starter_chats(_source: SourceSettings, _seed: int) -> Iterable[Record]:
    from regimen.assets.starter.conversations import chats

    return chats()


def _starter_safety(source: SourceSettings, seed: int) -> Iterable[Record]:
    from regimen.assets.starter.safety import conversations

    return conversations("train", source.limit or 600, seed)


def _starter_seeds(_source: SourceSettings, _seed: int) -> Iterable[Record]:
    from regimen.assets.starter.conversations import seeds

    for number, seed in enumerate(seeds(), start=1):
        prompt = seed["instruction"] + (f"\n{seed['input']}" if seed["input"] else "")
        yield Instance(
            messages=(
                Message(role="user", content=prompt),
                Message(role="assistant", content=seed["output"]),
            ),
            lineage=Lineage(
                source="starter-seeds",
                row=number,
                task=seed["id"],
                category=seed["category"],
                language=seed.get("language", "en"),
                licence=seed["licence"],
            ),
        )


STARTER: dict[str, Callable[[SourceSettings, int], Iterable[Record]]] = {
    "tasks": _starter_tasks,
    "chats": _starter_chats,
    "safety": _starter_safety,
    "seeds": _starter_seeds,
}
