"""A task's YAML document, as plain data with places, to a task and the failures of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from regimen.instances.data_spec import data_spec
from regimen.instances.natural_tasks import NO_ANSWER_FIX
from regimen.instances.readers import RowFailure
from regimen.instances.task_data import FoundRows, read_data
from regimen.instances.task_sections import Sections
from regimen.records import Example, Row, Task, Template
from regimen.settings import places

TEXTS = (
    *("name", "family", "category", "language", "instruction_language", "licence", "source"),
    *("definition", "avoid", "output_format"),
)
ROWS = ("instances", "held_out")
LISTS = ("templates", "positive", "negative", *ROWS)
MAPPINGS = ("definitions", "tags")
KEYS = (*TEXTS, *LISTS, *MAPPINGS, "options", "data", "templates_from")
_COLLECTION_KEYS = ("path", "dataset", "subset", "names")
_TEMPLATE_KEYS = tuple(field.name for field in fields(Template))
_EXAMPLE_KEYS = tuple(field.name for field in fields(Example))


def collection(sections: Sections, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The folder or file of ``templates_from``, and what it asks of it."""
    at: places.Path = ("templates_from",)
    section = sections.section(sections.document.data["templates_from"], at, _COLLECTION_KEYS)
    for key in ("path", "dataset"):
        if section.get(key) is None:
            fix = "Add path: folder, and dataset: name of the data set in it."
            raise sections.error(at, f"templates_from has no {key}.", fix=fix)
    asked: dict[str, Any] = {
        key: sections.text((*at, key)) for key in ("dataset", "subset") if section.get(key)
    }
    names = sections.texts(section, "names", at)
    return folder / sections.text((*at, "path")), {**asked, **({"names": names} if names else {})}


class TaskReader(Sections):
    """Plain data with places to a task; ``folder`` is what its paths count from."""

    def __init__(self, document: places.Document, folder: Path) -> None:
        super().__init__(document)
        self.folder = folder

    def task(self, defaults: dict[str, str], require_rows: bool) -> Iterator[Task | RowFailure]:
        """The task, after its failed rows."""
        data = self.section(self.document.data, (), KEYS)
        given = {key: self.text((key,)) for key in TEXTS if data.get(key) is not None}
        texts: dict[str, Any] = {
            "language": "en",
            "instruction_language": "en",
            **defaults,
            **given,
        }
        if not texts.get("name"):
            raise self.error((), "The task has no name.", fix="Add a line such as name: my_task.")
        options = self.texts(data, "options")
        templates = (*self.templates(data), *self.collected(data))
        rows = FoundRows()
        failures = 0
        for failure in self.rows(data, rows, options, bool(templates)):
            failures += 1
            yield failure
        if require_rows and not rows.instances:
            if not data.get("instances"):
                yield self.empty(data, texts["name"], rows, failures)
            return
        yield Task(
            **texts,
            definitions=self.mapping(data, "definitions"),
            options=options or rows.options,
            templates=templates,
            positive=tuple(self.examples(data, "positive")),
            negative=tuple(self.examples(data, "negative")),
            instances=rows.instances,
            held_out=rows.held_out,
            tags=self.mapping(data, "tags"),
        )

    def rows(
        self, data: Mapping[str, Any], found: FoundRows, options: tuple[str, ...], templates: bool
    ) -> Iterator[RowFailure]:
        """Fill in the rows that the file holds and those of its data; failures come one by one."""
        for key in ROWS:
            for number, value in enumerate(self.entries(data, key)):
                row, failure = self.instance(value, (key, number))
                getattr(found, key).extend([row] if row else [])
                if failure:
                    yield failure
        spec = data_spec(self, self.folder)
        if spec is not None:
            yield from read_data(spec, found, options=options, templates=templates)

    def empty(
        self, data: Mapping[str, Any], name: str, rows: FoundRows, failures: int
    ) -> RowFailure:
        """What is said of a task that has no row to learn from."""
        got, fix = f"the task {name} has no instances", "Add instances, or remove the file."
        if data.get("data") is not None:
            got += f": {failures:,} rows of its data failed, {len(rows.held_out):,} are held out"
            fix = "Correct the rows or data.columns, or hold out fewer."
        return RowFailure(1, "no_instances", got, fix)

    def collected(self, data: Mapping[str, Any]) -> Iterator[Template]:
        """The templates of the collection that the file names."""
        if data.get("templates_from") is None:
            return
        from regimen.instances.collections.lookup import collection_templates

        path, asked = collection(self, self.folder)
        yield from collection_templates(path, **asked)

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
