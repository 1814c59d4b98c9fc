"""The YAML of promptsource: a data set, and templates by id with the lines they start on.

The tags ``!Template`` and ``!TemplateMetadata`` are read as mappings and make no objects; any other
tag is an error. Plain scalars are texts, but for ``true``, ``false`` and ``null``: a template may
be named ``no`` or ``007``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from regimen.errors import DataError, SettingsError
from regimen.instances.collections.files import FileText, file_error
from regimen.settings import yaml12

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without libyaml: the same parser, slower
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

TAGS = ("!Template", "!TemplateMetadata")
_YAML = "tag:yaml.org,2002:"


class _Loader(_Base):
    """Mappings, lists and texts, of which the two tagged kinds are mappings too."""


def _mapping(loader: _Loader, node: yaml.Node) -> dict[Any, Any]:
    """A mapping without duplicate keys."""
    if not isinstance(node, yaml.MappingNode):
        raise _problem(node, "a mapping of keys is expected here")
    seen: set[str] = set()
    for key, _ in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else None
        if name is None:
            raise _problem(key, "a key is a text")
        if name in seen:
            raise _problem(key, f"{name} is set twice")
        seen.add(name)
    return dict(loader.construct_mapping(node, deep=True))


def _problem(node: yaml.Node, what: str) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(problem=what, problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    _YAML + "bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), ["t", "T", "f", "F"]
)
_Loader.add_implicit_resolver(
    _YAML + "null", re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
for _tag in TAGS:
    _Loader.add_constructor(_tag, _mapping)


@dataclass(frozen=True, slots=True)
class Entry:
    """A template as the file has it, with the line on which it starts."""

    id: str
    line: int
    values: Any


@dataclass(frozen=True, slots=True)
class Document:
    """A file of templates."""

    dataset: str
    subset: str
    entries: Sequence[Entry]


def load_document(file: FileText) -> Document:
    """The entries of a file with their lines."""
    loader = None
    try:
        loader = _Loader(file.text)
        root = loader.get_single_node()
        return _document(loader, root, file)
    except yaml.MarkedYAMLError as error:
        raise _yaml_error(error, file) from error
    except (yaml.reader.ReaderError, RecursionError) as error:
        what = "The file cannot be read as YAML."
        got = str(error).partition("\n")[0][:200]
        fix = "Remove control characters and unclosed brackets."
        raise file_error(what, file.where, got=got, fix=fix) from error
    finally:
        if loader is not None:
            loader.dispose()


def _yaml_error(error: yaml.MarkedYAMLError, file: FileText) -> DataError:
    """The error in the words that settings have for the same fault, where they have some."""
    if not isinstance(error, yaml.constructor.ConstructorError):
        try:
            yaml12.parse(file.text, file.where)
        except SettingsError as said:
            return file_error(said.what, said.where, got=said.got, fix=said.fix)
    mark = error.problem_mark or error.context_mark
    what = "The file does not follow the format of promptsource."
    where = f"{file.where}:{mark.line + 1}:{mark.column + 1}" if mark else file.where
    fix = f"Use no tags but {' and '.join(TAGS)}, and every key once."
    return file_error(what, where, got=str(error.problem), fix=fix)


def _document(loader: _Loader, root: yaml.Node | None, file: FileText) -> Document:
    fix = "Write dataset, subset and templates at the start of lines."
    if not isinstance(root, yaml.MappingNode) or root.tag != _YAML + "map":
        raise file_error("The file is not a section of keys.", f"{file.where}:1", fix=fix)
    nodes = {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}
    if len(nodes) < len(root.value):
        raise _problem(root, "a key of the file is set twice, or is no text")
    said = {
        key: loader.construct_object(node, deep=True)
        for key, node in nodes.items()
        if key != "templates"
    }
    dataset, subset = said.get("dataset"), said.get("subset") or ""
    if not isinstance(dataset, str) or not dataset.strip() or not isinstance(subset, str):
        got = f"dataset: {dataset!r}, subset: {subset!r}"[:200]
        raise file_error("The file names no data set.", f"{file.where}:1", got=got, fix=fix)
    templates = nodes.get("templates")
    if not isinstance(templates, yaml.MappingNode):
        line = templates.start_mark.line + 1 if templates else 1
        raise file_error("The file has no templates by id.", f"{file.where}:{line}", fix=fix)
    _mapping(loader, templates)
    entries = [
        Entry(key.value, value.start_mark.line + 1, _values(loader, value))
        for key, value in templates.value
    ]
    return Document(dataset.strip(), subset.strip(), entries)


def _values(loader: _Loader, node: yaml.Node) -> Any:
    """The keys of a template; None where it has not the tag of one."""
    return loader.construct_object(node, deep=True) if node.tag == TAGS[0] else None
