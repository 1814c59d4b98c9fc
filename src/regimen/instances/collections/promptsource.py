"""Templates of promptsource: YAML files in which each template is tagged ``!Template``.

The format is that of the Public Pool of Prompts (Bach et al., 2022, arXiv 2202.01279)::

    dataset: fruit_reviews
    subset: null
    templates:
      7c1a5e02-0b6d-4f7e-9a53-2f4d8e6b1c90: !Template
        answer_choices: sweet ||| sour
        id: 7c1a5e02-0b6d-4f7e-9a53-2f4d8e6b1c90
        jinja: "How did it taste?\\n{{ text }} ||| {{ answer_choices[label] }}"
        metadata: !TemplateMetadata
          choices_in_prompt: false
          languages: [en]
          metrics: [Accuracy]
          original_task: true
        name: taste
        reference: ''
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from regimen.instances.collections.files import (
    FileText,
    check_text,
    read_collection,
)
from regimen.instances.collections.promptsource_yaml import TAGS, Entry, load_document
from regimen.instances.readers import RowFailure
from regimen.instances.template_worker import SEPARATOR
from regimen.instances.templates import compile_check
from regimen.records import Task, Template

SUFFIXES = (".yaml", ".yml")
SOURCE = "promptsource"
_ID_START = 8


def read_promptsource(path: Path | str) -> Iterator[Task | RowFailure]:
    """A task without rows for every file of templates, after a failure for each unusable template.

    Templates are in the order of the file, prompt and answer in one source. A name that two
    templates of a file share is made distinct by the start of their ids. A failure's row is the
    line of the template.

    Args:
        path: a templates.yaml file, a directory tree of them, or a bundle: JSON lines with ``path``
            and ``text``. Each may be compressed.

    Raises:
        DataError: as ``read_collection``; a file that is no YAML, has another tag or names no data
            set is ``collection-file``, with file and line.
    """
    return read_collection(path, SUFFIXES, parse_promptsource)


def parse_promptsource(file: FileText) -> Iterator[Task | RowFailure]:
    """The task of one file.

    Raises:
        DataError: as ``read_promptsource``.
    """
    check_text(file)
    document = load_document(file)
    made: list[Template] = []
    for entry in document.entries:
        template = _template(entry)
        if isinstance(template, RowFailure):
            yield template
        else:
            made.append(template)
    if not document.entries:
        got = f"the file of {document.dataset} has no templates"
        yield RowFailure(1, "no_templates", got, "Add templates, or remove the file.")
    if not made:
        return
    languages = {template.language for template in made}
    tags = {"dataset": document.dataset, "subset": document.subset}
    yield Task(
        name="/".join(filter(None, tags.values())),
        source=SOURCE,
        instruction_language=languages.pop() if len(languages) == 1 else "en",
        templates=tuple(_named_apart(made)),
        tags={key: text for key, text in tags.items() if text},
    )


def _template(entry: Entry) -> Template | RowFailure:
    """The template of an entry, or why it cannot be used."""
    values = entry.values
    if values is None:
        fix = f"Write {TAGS[0]} behind the id."
        return RowFailure(entry.line, "not_a_template", f"entry {entry.id} has no tag", fix)
    name, source, choices = (values.get(key) for key in ("name", "jinja", "answer_choices"))
    shown = f"template {name!r}"[:120]
    if not isinstance(name, str) or not name.strip() or not isinstance(source, str):
        got = f"{shown} of id {entry.id}"
        return RowFailure(entry.line, "not_a_template", got, "Give it the texts name and jinja.")
    if choices is not None and not isinstance(choices, str):
        fix = f"Write answer_choices as a text with {SEPARATOR} between the options."
        return RowFailure(entry.line, "not_a_template", f"{shown}: a list of options", fix)
    if SEPARATOR not in source:
        fix = f"Write {SEPARATOR} between prompt and answer."
        return RowFailure(entry.line, "no_separator", f"{shown} writes no answer", fix)
    for part in (source, choices or ""):
        if failure := compile_check(part):
            got = f"{shown}: {failure.got}"
            return RowFailure(entry.line, failure.error, got, failure.fix)
    metadata = values.get("metadata")
    said = metadata if isinstance(metadata, Mapping) else {}
    languages = _texts(said.get("languages"))
    return Template(
        name=name,
        input=source,
        output="",
        choices=choices or "",
        language=languages[0] if languages else "en",
        inverted=said.get("original_task") is False,
        tags=_tags({"id": entry.id, **values}, said, languages),
    )


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _tags(
    values: Mapping[str, Any], said: Mapping[str, Any], languages: Sequence[str]
) -> dict[str, str]:
    """What the collection says of a template besides its sources, where it says something."""
    known = ("name", "jinja", "answer_choices", "metadata")
    other = {key: value for key, value in values.items() if key not in known}
    in_prompt = said.get("choices_in_prompt")
    tags = {
        **{str(key): _text(value) for key, value in other.items()},
        "metrics": "; ".join(_texts(said.get("metrics"))),
        "choices_in_prompt": _text(in_prompt),
        "languages": "; ".join(languages) if len(languages) > 1 else "",
    }
    return {key: text for key, text in tags.items() if text}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value.strip() if isinstance(value, str) else ""


def _named_apart(templates: Sequence[Template]) -> Iterator[Template]:
    """The templates; a name that several have is followed by the start of their id."""
    counts = Counter(template.name for template in templates)
    taken: set[str] = set()
    for template in templates:
        name, key = template.name, template.tags.get("id", "")
        if counts[name] > 1:
            name = f"{template.name} ({key[:_ID_START]})"
        if name in taken:
            name = f"{template.name} ({key})"
        taken.add(name)
        yield replace(template, name=name)
