"""Reading the sources of ``build``: files, starter material, functions of the user's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from regimen.curation.ledger import Ledger
from regimen.errors import DataError
from regimen.instances.answer_sets import AnswerSet, PairRule
from regimen.instances.readers import RowFailure
from regimen.records import (
    Instance,
    Labelled,
    Lineage,
    Message,
    Preference,
    Ranked,
    Stepwise,
    Task,
)
from regimen.settings.build import BuildSettings, SourceSettings
from regimen.stages.judged import JudgedAnswers, take_apart
from regimen.stages.pairing import demonstrations, no_pairs, pair_up
from regimen.stages.user_code import load_function

Record = Task | Instance | Preference | Labelled | Ranked | Stepwise | AnswerSet | RowFailure

Weighed = TypeVar("Weighed", Instance, Preference, Labelled, Ranked, Stepwise)


@dataclass(slots=True)
class Material:
    """What the sources hold: tasks with the number of rows wanted of each, and ready records.

    ``weights`` are those of tasks whose source has one other than 1, in the loss. ``votes`` are
    each annotator's preferences between two answers with the prompt, by source.
    """

    tasks: list[Task] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    judged: JudgedAnswers = field(default_factory=JudgedAnswers)
    votes: dict[str, list[Voted]] = field(default_factory=dict)


Voted = tuple[str, tuple[int | None, ...]]
"""A prompt's id, and what each annotator said of the answers to it."""


def read_sources(section: BuildSettings, seed: int, ledger: Ledger) -> Material:
    """Read every source; each is one step of the ledger."""
    material = Material()
    names: set[str] = set()
    for number, source in enumerate(section.sources, start=1):
        name = source_name(source)
        step_name = f"read-{_slug(name)}" + (f"-{number}" if name in names else "")
        names.add(name)
        sets: list[AnswerSet] = []
        pairs: list[Preference] = []
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
                if isinstance(record, Preference) and _is_tie(record, source):
                    step.remove(record, "tie", f"margin {record.margin:g}")
                    continue
                step.keep()
                if isinstance(record, AnswerSet):
                    sets.append(record)
                elif isinstance(record, Preference):
                    pairs.append(record)
                elif _take(material, record, source, section) is not record:
                    step.change("task_renamed")
        if not pairs and not sets and step.removed["tie"]:
            raise no_pairs(name, step.removed, pair_rule(source), name)
        _use(material, source, sets, pairs, name, step_name.removeprefix("read-"), ledger)
    found = material.tasks or material.instances or material.preferences or material.judged
    if section.sources and not found:
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
        material.instances.append(_weigh(record, record.weight * source.weight))
    elif isinstance(record, Labelled):
        material.judged.labelled.append(_weigh(record, record.weight * source.weight))
    elif isinstance(record, Ranked):
        material.judged.ranked.append(_weigh(record, record.weight * source.weight))
    elif isinstance(record, Stepwise):
        material.judged.stepwise.append(_weigh(record, record.weight * source.weight))
    return record


def pair_rule(source: SourceSettings) -> PairRule:
    """How the answers of a source are read and compared."""
    return PairRule(**source.pairs.model_dump())


def _is_tie(pair: Preference, source: SourceSettings) -> bool:
    """Whether a pair's sides are worth the same, or closer than the source allows."""
    return pair.margin is not None and (pair.margin <= 0 or pair.margin < source.pairs.min_margin)


def _use(
    material: Material,
    source: SourceSettings,
    sets: Sequence[AnswerSet],
    pairs: Sequence[Preference],
    name: str,
    slug: str,
    ledger: Ledger,
) -> None:
    """Add answers as pairs, labels, lists or demonstrations, as the source says."""
    kind = source.preferences_as
    if kind in ("labelled", "ranked"):
        if sets or pairs:
            made = take_apart(kind, slug, sets, pairs, pair_rule(source), ledger, name)
            apart = [_weigh(one, one.weight * source.weight) for one in made]
            getattr(material.judged, kind).extend(apart)
        return
    best = list(pairs)
    if sets:
        paired = pair_up(slug, sets, pair_rule(source), ledger, name)
        pairs, best = [*pairs, *paired.pairs], [*best, *paired.best]
        voted = [(one.prompt_id, one.votes) for one in sets if len(one.votes) > 1]
        if voted:
            material.votes.setdefault(name, []).extend(voted)
    if source.preferences_as != "demonstrations":
        material.preferences += [_weigh(one, one.weight * source.weight) for one in pairs]
    if source.preferences_as != "pairs" and pairs:
        shown = demonstrations(slug, pairs, best, ledger)
        material.instances += [_weigh(one, one.weight * source.weight) for one in shown]


def _with_own_name(task: Task, taken: Mapping[str, int]) -> Task:
    name, number = task.name, 1
    while name in taken:
        number += 1
        name = (
            f"{task.name}@{task.source}" if number == 2 else f"{task.name}@{task.source}~{number}"
        )
    return task if name == task.name else replace(task, name=name)


def _weigh(record: Weighed, weight: float) -> Weighed:
    return record if weight == record.weight else replace(record, weight=weight)


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
        "pairs": pair_rule(source),
    }
    if source.dataset is not None:
        config, split = source.config or "", source.split or "train"
        return read_dataset(source.dataset, config=config, split=split, **said)
    return read_source(Path(str(source.path)), **said)


def _row(value: Any, number: int, source: SourceSettings) -> Record:
    """What a function of the user's yields: a record, or a mapping read like a row of a file."""
    if isinstance(value, Record):
        return value
    return RowFailure(
        row=number,
        error="not_a_record",
        got=type(value).__name__,
        fix="Yield Task, Instance, Preference, Labelled, Ranked or Stepwise records.",
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
