"""What ``show`` shows: the records of a source, and the tasks among them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from regimen.curation.ledger import Ledger
from regimen.errors import DataError, near
from regimen.instances.compression import open_text, suffixes
from regimen.instances.encodings import FormattingSpec
from regimen.instances.formats import read_source
from regimen.instances.readers import RowFailure
from regimen.instances.task_files import TASK_SUFFIXES
from regimen.records import Task
from regimen.settings.build import SourceSettings
from regimen.settings.loading import load_settings
from regimen.settings.pipeline import PipelineSettings
from regimen.stages.sources import STARTER, Record, read_sources

STARTER_PREFIX = "starter:"
_SETTINGS_KEY = re.compile(r"^(run|build|tune|align|evaluate)[ \t]*:", re.MULTILINE)


@dataclass(slots=True)
class TaskMaterial:
    """The tasks of a source.

    ``spec`` is the formatting of a settings file, None without one, ``tokenizer`` what counts the
    tokens that it bounds, ``wanted`` how many rows it wants of each task. ``others`` counts records
    that are no tasks, by their kind; ``removed`` the tasks that the settings leave out, by reason.
    """

    source: str
    tasks: list[Task] = field(default_factory=list)
    seed: int = 0
    spec: FormattingSpec | None = None
    tokenizer: str = ""
    wanted: dict[str, int] = field(default_factory=dict)
    failures: list[RowFailure] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def take(self, record: Record) -> None:
        """Add a record, or count it."""
        if isinstance(record, Task):
            self.tasks.append(record)
        elif isinstance(record, RowFailure):
            self.failures.append(record)
        else:
            kind = type(record).__name__.lower()
            self.others[kind] = self.others.get(kind, 0) + 1


def read_tasks(
    source: Path | str, seed: int | None, *, needed: bool, search: bool = False
) -> TaskMaterial | None:
    """The tasks of a source; None where its first usable record is none and none is needed.

    Args:
        source: a file, a directory, ``starter:tasks``, or a settings file.
        seed: of the draws; that of the settings, or 0, where it is None.
        needed: whether a source without tasks is an error.
        search: look at all records of a directory for tasks, not at the first alone.

    Raises:
        DataError: ``no-tasks``, or the source cannot be read.
        SettingsError: the settings file is wrong.
    """
    path = Path(source)
    if path.is_file() and is_settings(path):
        return _of_settings(path, seed)
    if (path / "instances.parquet").is_file():
        if needed:
            raise _no_tasks(TaskMaterial(str(source)), "a build directory, which holds instances")
        return None
    material = TaskMaterial(str(source), seed=seed or 0)
    whole = search and path.is_dir()
    for record in records_of(source, material.seed):
        material.take(record)
        if material.others and not material.tasks and not (needed or whole):
            return None
    if material.others and not material.tasks and not needed:
        return None
    if not material.tasks:
        raise _no_tasks(material)
    return material


def records_of(source: Path | str, seed: int = 0) -> Iterator[Record]:
    """The records of a file or directory, or of starter material such as ``starter:chats``.

    Raises:
        DataError: ``starter-unknown``, and as ``read_source``.
    """
    text = str(source)
    if not text.startswith(STARTER_PREFIX):
        yield from read_source(Path(source))
        return
    name = text.removeprefix(STARTER_PREFIX)
    if name not in STARTER:
        raise DataError(
            "There is no such starter material.",
            slug="starter-unknown",
            got=text,
            fix=near(name, STARTER),
        )
    # the name is one of those that the settings know
    material: Iterable[Record] = STARTER[name](SourceSettings(starter=name), seed)  # type: ignore[arg-type]
    yield from material


def is_settings(path: Path) -> bool:
    """Whether a YAML file has the sections of a settings file, which no task has."""
    if suffixes(path)[0] not in TASK_SUFFIXES:
        return False
    with open_text(path) as text:
        return _SETTINGS_KEY.search(text.read()) is not None


def _of_settings(path: Path, seed: int | None) -> TaskMaterial:
    settings = load_settings(path)
    section = settings.build
    if section is None:
        raise DataError(
            "The settings have no section 'build', which names sources.",
            slug="no-tasks",
            got=f"sections {', '.join(settings.stages)}",
            fix="Name a settings file with 'build', or a file with tasks.",
            where=str(path),
        )
    found = TaskMaterial(str(path), seed=settings.seed_of("build") if seed is None else seed)
    formatting = section.formatting
    found.spec = FormattingSpec(**formatting.model_dump(exclude={"tokenizer"}))
    found.tokenizer = formatting.tokenizer or _tuned_model(settings)
    with TemporaryDirectory() as folder:
        ledger = Ledger(folder)
        try:
            material = read_sources(section, found.seed, ledger)
            found.tasks, found.wanted = material.tasks, material.wanted
        except DataError as error:
            # its ledger is gone after this, and the failures are told here
            if error.slug != "no-records":
                raise
        found.failures = list(_failed(Path(folder)))
        for step in ledger.write().values():
            for reason, count in step["removed"].items():
                found.removed[reason] = found.removed.get(reason, 0) + count
    if found.tasks:
        others = {"instance": len(material.instances), "preference": len(material.preferences)}
        found.others = {kind: count for kind, count in others.items() if count}
    else:
        raise _no_tasks(found)
    if section.rewording is not None:
        found.notes.append("build.rewording is not applied: tasks are shown as the sources say.")
    return found


def _tuned_model(settings: PipelineSettings) -> str:
    """The model that the first tuning starts from, whose tokenizer counts prompts."""
    first = next(iter(settings.tunings.values()), None)
    return str(first.model.path or "") if first is not None else ""


def _failed(folder: Path) -> Iterator[RowFailure]:
    """The failures in the files of a ledger."""
    for file in sorted(folder.glob("*.failed.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            source, _, row = said["where"].rpartition(":")
            number = int(row) if row.isdigit() else 0
            yield RowFailure(number, said["error"], said["got"], said["fix"], source)


def _no_tasks(material: TaskMaterial, got: str = "") -> DataError:
    first = material.failures[0] if material.failures else None
    if not got and first is not None:
        got = f"{first.source}:{first.row}: ".lstrip(":") + f"{first.error}: {first.got}"
    counted = ", ".join(f"{kind} {count:,}" for kind, count in material.others.items())
    fix = "Leave --task and --row out and give --model to see conversations."
    return DataError(
        "The source holds no task.",
        slug="no-tasks",
        got=got or counted or "nothing",
        expected="a task's YAML file, a Super-NaturalInstructions JSON, or a folder of them",
        fix=first.fix if first is not None and not material.others else fix,
        where=material.source,
    )
