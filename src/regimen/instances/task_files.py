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

It is read by the rules of YAML 1.2, and an input or output that looks like a number, ``true`` or a
date stays the text that was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from regimen.errors import DataError, SettingsError, near
from regimen.files import atomic_write
from regimen.instances.compression import open_text, suffixes
from regimen.instances.natural_tasks import NO_ANSWER_FIX
from regimen.instances.readers import RowFailure
from regimen.records import Example, Row, Task, Template
from regimen.settings import places, yaml12

TASK_SUFFIXES = (".yaml", ".yml")
_TEXTS = (
    *("name", "family", "category", "language", "instruction_language", "licence", "source"),
    *("definition", "avoid", "output_format"),
)
_ROWS = ("instances", "held_out")
_LISTS = ("templates", "positive", "negative", *_ROWS)
_MAPPINGS = ("definitions", "tags")
_KEYS = (*_TEXTS, *_LISTS, *_MAPPINGS, "options")
_TEMPLATE_KEYS = tuple(field.name for field in fields(Template))
_EXAMPLE_KEYS = tuple(field.name for field in fields(Example))


def read_task_file(
    path: Path | str, *, source: str = "", licence: str = "", language: str = ""
) -> Iterator[Task | RowFailure]:
    """The task of a YAML file, after a failure for each instance that it cannot use.

    Args:
        path: a .yaml or .yml file, perhaps compressed.
        source: source of the task where the file does not say one.
        licence: licence where the file says none.
        language: language where the file says none.

    Raises:
        DataError: not YAML, or not a task (``task-file``), with file and line; ``file-empty``.
    """
    path = Path(path)
    with open_text(path) as text:
        content = text.read()
    stem = path.name[: len(path.name) - sum(map(len, suffixes(path)))]
    defaults = {"name": stem, "source": source, "licence": licence, "language": language}
    yield from parse_task(content, str(path), {k: v for k, v in defaults.items() if v})


def parse_task(
    text: str, origin: str, defaults: Mapping[str, str] | None = None
) -> Iterator[Task | RowFailure]:
    """The task of a YAML text; a failed instance's row is its line.

    Raises:
        DataError: as ``read_task_file``.
    """
    try:
        document = yaml12.parse(text, origin)
    except SettingsError as error:
        raise _task_error(error.what, error.where, error.got, error.fix) from error
    for problem in document.problems:
        raise _task_error(problem.what, problem.where, problem.got, problem.fix) from problem
    if document.data is None:
        raise DataError(
            "The file is empty.", slug="file-empty", fix="Write a task into it.", where=origin
        )
    reader = _TaskReader(document)
    yield from reader.task(dict(defaults or {}))


def _task_error(what: str, where: str, got: str = "", fix: str = "") -> DataError:
    return DataError(what, slug="task-file", got=got, fix=fix, where=where)


class _TaskReader:
    """Plain data with places to a task."""

    def __init__(self, document: places.Document) -> None:
        self.document = document

    def error(self, path: places.Path, what: str, got: str = "", fix: str = "") -> DataError:
        """An error at a place of the file."""
        return _task_error(what, self.document.place(path).render(), got, fix)

    def task(self, defaults: dict[str, str]) -> Iterator[Task | RowFailure]:
        """The task, after its failed instances."""
        data = self.section(self.document.data, (), _KEYS)
        given = {key: self.text((key,)) for key in _TEXTS if data.get(key) is not None}
        texts = {**defaults, **given}
        if not texts.get("name"):
            raise self.error((), "The task has no name.", fix="Add a line such as name: my_task.")
        rows: dict[str, list[Row]] = {key: [] for key in _ROWS}
        for key, found in rows.items():
            for number, value in enumerate(self.entries(data, key)):
                row, failure = self.instance(value, (key, number))
                found += [row] if row else []
                if failure:
                    yield failure
        if not rows["instances"]:
            if not data.get("instances"):
                got = f"the task {texts['name']} has no instances"
                yield RowFailure(1, "no_instances", got, "Add instances, or remove the file.")
            return
        yield Task(
            name=texts["name"],
            family=texts.get("family", ""),
            category=texts.get("category", ""),
            language=texts.get("language", "en"),
            instruction_language=texts.get("instruction_language", "en"),
            licence=texts.get("licence", ""),
            source=texts.get("source", ""),
            definition=texts.get("definition", ""),
            definitions=self.mapping(data, "definitions"),
            avoid=texts.get("avoid", ""),
            output_format=texts.get("output_format", ""),
            options=tuple(
                self.text(("options", n)) for n, _ in enumerate(self.entries(data, "options"))
            ),
            templates=tuple(self.templates(data)),
            positive=tuple(self.examples(data, "positive")),
            negative=tuple(self.examples(data, "negative")),
            instances=tuple(rows["instances"]),
            held_out=tuple(rows["held_out"]),
            tags=self.mapping(data, "tags"),
        )

    def section(self, data: Any, path: places.Path, known: Sequence[str]) -> dict[str, Any]:
        """A mapping whose keys are all known."""
        if not isinstance(data, dict):
            what = f"{places.dotted(path) if path else 'The task'} is not a section of keys."
            raise self.error(path, what, got=type(data).__name__, fix="Write key: value lines.")
        for key in data:
            if key not in known:
                what = f"{places.dotted((*path, key))} is not a key of a task."
                raise self.error((*path, key), what, got=key, fix=near(key, known))
        return data

    def entries(self, data: Mapping[str, Any], key: str) -> list[Any]:
        """The list under a key; none where it is left out."""
        value = data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error((key,), f"{key} is not a list.", fix="Start each entry with '- '.")
        return value

    def text(self, path: places.Path) -> str:
        """The text at a path; a number, true or false as it was written."""
        value: Any = self.document.data
        for part in path:
            value = value[part]
        if isinstance(value, str):
            return value
        if isinstance(value, list | dict) or value is None:
            what = f"{places.dotted(path)} is not a text."
            got = "nothing" if value is None else type(value).__name__
            raise self.error(path, what, got=got, fix="Write a text.")
        place = self.document.values[path]
        return place.text[place.column - 1 : place.column - 1 + place.length].strip()

    def instance(self, value: Any, path: places.Path) -> tuple[Row | None, RowFailure | None]:
        """An instance with text input and output, or its failure; other columns stay as read."""
        line = self.document.place(path).line
        if not isinstance(value, dict):
            got = f"an instance is a {type(value).__name__}"
            return None, RowFailure(line, "not_an_object", got, "Write input and output.")
        row = dict(value)
        for name in ("input", "output"):
            row[name] = self.input_or_output(value.get(name), (*path, name))
        if not isinstance(row["input"], str) or not row["input"].strip():
            got = f"input is {value.get('input')!r}"[:80]
            return None, RowFailure(line, "no_question", got, "Write the input as a text.")
        answers = row["output"] if isinstance(row["output"], list) else [row["output"]]
        if not answers or any(not isinstance(a, str) or not a.strip() for a in answers):
            got = f"output is {value.get('output')!r}"[:80]
            return None, RowFailure(line, "no_answer", got, NO_ANSWER_FIX)
        return row, None

    def input_or_output(self, value: Any, path: places.Path) -> Any:
        """Scalars as texts; lists of scalars as lists of texts."""
        if isinstance(value, list):
            return [self.input_or_output(one, (*path, n)) for n, one in enumerate(value)]
        return value if value is None or isinstance(value, dict) else self.text(path)

    def templates(self, data: Mapping[str, Any]) -> Iterator[Template]:
        """The templates; an unnamed one is named by its place."""
        for number, value in enumerate(self.entries(data, "templates")):
            path: places.Path = ("templates", number)
            entry = self.section(value, path, _TEMPLATE_KEYS)
            if not entry.get("input"):
                raise self.error(path, f"{places.dotted(path)} has no input.", fix="Add input.")
            inverted = entry.get("inverted", False)
            if not isinstance(inverted, bool):
                what = f"{places.dotted((*path, 'inverted'))} is not true or false."
                raise self.error((*path, "inverted"), what, fix="Write true or false.")
            texts = {k: self.text((*path, k)) for k in entry if k not in ("inverted", "tags")}
            tags = self.mapping(entry, "tags", path)
            named = {"name": f"template_{number + 1}", **texts}
            yield Template(**named, inverted=inverted, tags=tags)

    def examples(self, data: Mapping[str, Any], key: str) -> Iterator[Example]:
        """Demonstrations; both input and output are needed."""
        for number, value in enumerate(self.entries(data, key)):
            path: places.Path = (key, number)
            entry = self.section(value, path, _EXAMPLE_KEYS)
            for name in ("input", "output"):
                if entry.get(name) is None:
                    what = f"{places.dotted(path)} has no {name}."
                    raise self.error(path, what, fix=f"Add {name}.")
            yield Example(**{name: self.text((*path, name)) for name in entry})

    def mapping(self, data: Mapping[str, Any], key: str, path: places.Path = ()) -> dict[str, str]:
        """The texts under a key by name; none where it is left out."""
        value = data.get(key)
        if value is None:
            return {}
        known = [*value] if isinstance(value, dict) else []
        place = (*path, key)
        return {name: self.text((*place, name)) for name in self.section(value, place, known)}


def task_yaml(task: Task) -> str:
    """A task as YAML text that ``parse_task`` reads back to an equal task.

    Raises:
        ValueError: the task makes its rows by a generator, which is no data; give it instances.
    """
    if task.generator is not None and not task.instances:
        raise ValueError(f"the task {task.name!r} makes its rows by a function; draw them first")
    data: dict[str, Any] = {key: getattr(task, key) for key in _TEXTS if getattr(task, key)}
    data |= {"templates": [_without_defaults(t) for t in task.templates]}
    data |= {key: [_without_defaults(e) for e in getattr(task, key)] for key in _LISTS[1:3]}
    data |= {key: [_plain(row) for row in getattr(task, key)] for key in _ROWS}
    data |= {"options": list(task.options)}
    data |= {key: dict(getattr(task, key)) for key in _MAPPINGS}
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
