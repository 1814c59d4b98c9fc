"""Lists of patterns as files hold them: JSON, YAML, or a dictionary in a Python file."""

from __future__ import annotations

import ast
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regimen.errors import DataError, SettingsError
from regimen.instances.collections.files import FileText, file_error
from regimen.instances.readers import RowFailure
from regimen.settings import yaml12

_FIX = "Write a mapping from the names of tasks to lists of [input, target]."


@dataclass(frozen=True, slots=True)
class Listed:
    """The patterns of a task as they were written, each with its line, and the name they are under.

    ``file`` is the file's name, ``variable`` that of the dictionary in a Python file.
    """

    file: str

    name: str
    line: int
    entries: Sequence[tuple[int, Any]]
    variable: str = ""

    @property
    def place(self) -> str:
        """What a failure names as its source: ``file#task``."""
        return f"{self.file}#{self.name}"


def _no_list(line: int, name: Any, value: Any) -> RowFailure:
    got = f"task {name!r} is a {type(value).__name__}"[:200]
    return RowFailure(line, "no_list", got, _FIX)


def _from_json(file: FileText) -> Iterator[Listed | RowFailure]:
    """Rows are numbered by the place of a pattern in the file, from 1."""
    try:
        data = json.loads(file.text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"{file.where}:{error.lineno}:{error.colno}"
        raise file_error("The file is not valid JSON.", where, got=error.msg, fix=_FIX) from error
    except (ValueError, RecursionError) as error:
        got = str(error)[:200]
        raise file_error("The file cannot be used.", file.where, got=got, fix=_FIX) from error
    if not isinstance(data, dict):
        raise _no_patterns(file, type(data).__name__)
    number = 1
    for name, value in data.items():
        if not isinstance(value, list):
            yield _no_list(number, name, value)
            continue
        yield Listed(file.name, name, number, list(enumerate(value, start=number)))
        number += len(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no key may take the place of an equal one."""
    values = dict(pairs)
    if len(values) < len(pairs):
        name = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"{name!r} is set twice")
    return values


def _from_yaml(file: FileText) -> Iterator[Listed | RowFailure]:
    try:
        document = yaml12.parse(file.text, file.where)
        for problem in document.problems:
            raise problem
    except SettingsError as error:
        raise file_error(error.what, error.where, got=error.got, fix=error.fix) from error
    if not isinstance(document.data, dict):
        raise _no_patterns(file, type(document.data).__name__)
    for name, value in document.data.items():
        line = document.place((name,)).line
        if not isinstance(value, list):
            yield _no_list(line, name, value)
            continue
        lines = [document.place((name, number)).line for number in range(len(value))]
        yield Listed(file.name, name, line, list(zip(lines, value, strict=True)))


def _from_python(file: FileText) -> Iterator[Listed | RowFailure]:
    """Dictionaries of lists that the top level assigns to a name; nothing of the file is run."""
    found: list[Listed | RowFailure] = []
    for name, value in _assignments(_syntax_tree(file)):
        if isinstance(value, ast.Dict) and any(
            isinstance(one, ast.List | ast.Tuple) for one in value.values
        ):
            found += _dictionary(file.name, name, value)
    if not found:
        raise _no_patterns(file, "no assignment of a dictionary of lists")
    counts = Counter(listed.name for listed in found if isinstance(listed, Listed))
    for listed in found:
        if isinstance(listed, Listed) and counts[listed.name] > 1:
            listed = replace(listed, name=f"{listed.variable}.{listed.name}")
        yield listed


def _syntax_tree(file: FileText) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # an unknown escape in somebody's text is no concern of the user's
            warnings.simplefilter("ignore")
            return ast.parse(file.text)
    except SyntaxError as error:
        where = f"{file.where}:{error.lineno or 1}"
        raise file_error("The file is not Python.", where, got=error.msg, fix=_FIX) from error
    except (ValueError, RecursionError, MemoryError) as error:
        got = str(error)[:200]
        raise file_error("The file is not Python.", file.where, got=got, fix=_FIX) from error


def _assignments(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Names and what the top level assigns to them."""
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets: list[ast.expr] = node.targets
        elif isinstance(node, ast.AnnAssign):
            targets = [node.target]
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:
                yield target.id, node.value


def _dictionary(file: str, variable: str, node: ast.Dict) -> Iterator[Listed | RowFailure]:
    seen: set[str] = set()
    for key, value in zip(node.keys, node.values, strict=True):
        line = (key or value).lineno
        name = key.value if isinstance(key, ast.Constant) else None
        if not isinstance(name, str) or name in seen:
            got = f"{variable}: {'an entry without a name' if name is None else repr(name)}"[:200]
            error = "duplicate_task" if name in seen else "not_literal"
            yield RowFailure(line, error, got, "Give each task a name of its own, as a text.")
        elif not isinstance(value, ast.List | ast.Tuple):
            yield _no_list(line, name, value)
        else:
            seen.add(name)
            yield from _literals(file, variable, name, value)


def _literals(
    file: str, variable: str, name: str, node: ast.List | ast.Tuple
) -> Iterator[Listed | RowFailure]:
    entries: list[tuple[int, Any]] = []
    for one in node.elts:
        try:
            entries.append((one.lineno, ast.literal_eval(one)))
        except (ValueError, TypeError, RecursionError, MemoryError):
            got = f"task {name!r} of {variable}: {ast.unparse(one)}"[:200]
            fix = "Write the pattern out: nothing of the file is run."
            yield RowFailure(one.lineno, "not_literal", got, fix, f"{file}#{name}")
    if entries or not node.elts:
        yield Listed(file, name, node.lineno, entries, variable)


def _no_patterns(file: FileText, got: str) -> DataError:
    return file_error("The file holds no list of patterns.", file.where, got=got, fix=_FIX)


PATTERN_PARSERS: Mapping[str, Callable[[FileText], Iterator[Listed | RowFailure]]] = {
    ".json": _from_json,
    ".yaml": _from_yaml,
    ".yml": _from_yaml,
    ".py": _from_python,
}
