"""Tasks as files: one YAML file per task.

A task's YAML file, with every key but ``name`` optional::

    name: sort_words
    family: sorting
    category: text manipulation
    language: en                 # of inputs and outputs
    instruction_language: en     # of the definition
    licence: CC0-1.0
    definition: Sort the words by the alphabet.
    definitions: {es: Ordena las palabras.}    # in other languages
    avoid: Do not leave a word out.            # things to avoid
    output_format: Write words with a space between them.
    options: [yes, no]           # all that a row can be answered with
    templates:
      - name: plain
        input: "Sort these words: {{ input }}"
        output: "{{ output }}"
    positive:
      - {input: pear fig, output: fig pear, explanation: f comes before p.}
    negative: []
    instances:
      - {input: b a, output: a b}
      - {input: d c, output: [c d, "c, d"]}    # accepted answers; the first is learned
    held_out:                    # rows that are only evaluated
      - {input: f e, output: e f}
    tags: {operation: sort, object: words}
    data: {path: train.csv, columns: {input: text, output: label}}    # see ``task_data``
    templates_from: {path: promptsource, dataset: imdb, names: [Rate it]}

``data`` brings rows of a table, beside those written out under ``instances`` and ``held_out``;
``templates_from`` brings templates of a collection, after those of ``templates``.

It is read by the rules of YAML 1.2, and an input or output that looks like a number, ``true`` or a
date stays the text that was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from regimen.errors import DataError, SettingsError
from regimen.files import atomic_write
from regimen.instances.compression import open_text, suffixes
from regimen.instances.data_spec import Origin, data_spec
from regimen.instances.readers import RowFailure
from regimen.instances.task_reader import KEYS, LISTS, MAPPINGS, ROWS, TEXTS, TaskReader, collection
from regimen.instances.task_sections import Sections, task_error
from regimen.records import Example, Task, Template
from regimen.settings import places, yaml12

TASK_SUFFIXES = (".yaml", ".yml")


def read_task_file(
    path: Path | str, *, source: str = "", licence: str = "", language: str = ""
) -> Iterator[Task | RowFailure]:
    """The task of a YAML file, after a failure for each row that it cannot use.

    The row and source of a failure are those of the file that the row is in.

    Args:
        path: a .yaml or .yml file, perhaps compressed.
        source: source of the task where the file does not say one.
        licence: licence where the file says none.
        language: language where the file says none.

    Raises:
        DataError: not YAML, or not a task (``task-file``), with file and line; ``file-empty``;
            what ``read_data`` raises for its data.
    """
    path = Path(path)
    with open_text(path) as text:
        content = text.read()
    stem = path.name[: len(path.name) - sum(map(len, suffixes(path)))]
    defaults = {"name": stem, "source": source, "licence": licence, "language": language}
    yield from parse_task(content, str(path), {k: v for k, v in defaults.items() if v})


def parse_task(
    text: str,
    origin: str,
    defaults: Mapping[str, str] | None = None,
    *,
    require_rows: bool = True,
) -> Iterator[Task | RowFailure]:
    """The task of a YAML text; the row of a failed instance is its line.

    Args:
        text: the YAML text.
        origin: the file's name, for errors; paths in the text count from its folder.
        defaults: what holds where the text says nothing: ``name``, ``source``, ``licence``,
            ``language``.
        require_rows: a task without rows is a failure; without this it may have templates alone.

    Raises:
        DataError: as ``read_task_file``.
    """
    reader = TaskReader(_document(text, origin), Path(origin).parent)
    yield from reader.task(dict(defaults or {}), require_rows)


def task_inputs(path: Path | str) -> tuple[Path, ...]:
    """The files and folders that a task's file names as its data and its templates.

    Raises:
        DataError: as ``read_task_file``, but for what is in those files.
    """
    path = Path(path)
    with open_text(path) as text:
        sections = Sections(_document(text.read(), str(path)))
    data = sections.section(sections.document.data, (), KEYS)
    spec = data_spec(sections, path.parent)
    origins = [spec.origin, spec.held_out] if spec else []
    found = [place for one in origins if isinstance(one, Origin) for place in one.paths]
    if data.get("templates_from") is not None:
        found.append(collection(sections, path.parent)[0])
    return tuple(dict.fromkeys(found))


def _document(text: str, origin: str) -> places.Document:
    try:
        document = yaml12.parse(text, origin)
    except SettingsError as error:
        raise task_error(error.what, error.where, error.got, error.fix) from error
    for problem in document.problems:
        raise task_error(problem.what, problem.where, problem.got, problem.fix) from problem
    if document.data is None:
        raise DataError(
            "The file is empty.", slug="file-empty", fix="Write a task into it.", where=origin
        )
    return document


def task_yaml(task: Task) -> str:
    """A task as YAML text that ``parse_task`` reads back to an equal task.

    Raises:
        ValueError: the task makes its rows by a generator, which is no data; give it instances.
    """
    if task.generator is not None and not task.instances:
        raise ValueError(f"the task {task.name!r} makes its rows by a function; draw them first")
    data: dict[str, Any] = {key: getattr(task, key) for key in TEXTS if getattr(task, key)}
    data |= {"templates": [_without_defaults(t) for t in task.templates]}
    data |= {key: [_without_defaults(e) for e in getattr(task, key)] for key in LISTS[1:3]}
    data |= {key: [_plain(row) for row in getattr(task, key)] for key in ROWS}
    data |= {"options": list(task.options)}
    data |= {key: dict(getattr(task, key)) for key in MAPPINGS}
    return yaml12.dump({key: value for key, value in data.items() if value})


def _without_defaults(record: Template | Example) -> dict[str, Any]:
    values = ((field, getattr(record, field.name)) for field in fields(record))
    return {
        field.name: _plain(value)
        for field, value in values
        if value != field.default and (value or not isinstance(value, Mapping))
    }


def _plain(value: Any) -> Any:
    """Mappings and tuples as the dictionaries and lists that YAML has."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def write_task(path: Path | str, task: Task) -> Path:
    """Write a task's YAML file, whole or not at all. Raises as ``task_yaml``."""
    return atomic_write(path, task_yaml(task))
