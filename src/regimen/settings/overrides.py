"""Overrides that follow a settings file: ``tune.learning_rate=1e-4``.

Also as ``--tune.learning_rate 1e-4`` and ``--tune.learning_rate=1e-4``. The value is YAML; an entry
of a list is named ``build.sources[0].path`` or ``build.sources.0.path``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from regimen.errors import SettingsError
from regimen.settings.places import Document, Path, Place, dotted
from regimen.settings.yaml12 import parse

_PATH = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+|\[\d+\])*")
_PART = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class Override:
    """One override: how it was written, what it sets, the value as YAML text."""

    text: str
    path: Path
    value: str

    @property
    def origin(self) -> str:
        """What errors call its place."""
        return f"override '{self.text}'"


def split_overrides(arguments: Sequence[str]) -> Iterator[Override | SettingsError]:
    """The overrides in command line arguments, or what is wrong with one of them."""
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.removeprefix("--").partition("=")
        text = f"{name}={value}"
        if argument.startswith("--") and not equals:
            if not rest or rest[0].startswith("--"):
                yield _malformed(argument, "has no value", f"Write '{name}=VALUE'.")
                continue
            value = rest.pop(0)
            text = f"{name}={value}"
        elif not equals:
            yield _malformed(argument, "sets nothing", f"Write '{name}=VALUE'.")
            continue
        if not _PATH.fullmatch(name):
            fix = "Name the setting by its sections, as in tune.learning_rate=1e-4."
            yield _malformed(argument, "does not start with the name of a setting", fix)
            continue
        parts = _PART.findall(name)
        path = tuple(int(part) if part.isdigit() else part for part in parts)
        yield Override(text, path, value)


def _malformed(argument: str, what: str, fix: str) -> SettingsError:
    return SettingsError(
        f"the override '{argument}' {what}",
        slug="settings-override",
        fix=fix,
        where=f"override '{argument}'",
    )


def apply_overrides(document: Document, arguments: Sequence[str]) -> None:
    """Set the values in the document, one after the other; problems are added to its list."""
    for override in split_overrides(arguments):
        if isinstance(override, SettingsError):
            document.problems.append(override)
            continue
        try:
            value = parse(override.value, override.origin)
        except SettingsError as error:
            fix = error.fix + " Your shell may need quotes around the whole override."
            problem = SettingsError(
                f"the value of {override.origin} cannot be read",
                slug="settings-override",
                got=override.value,
                fix=fix,
                where=override.origin,
            )
            document.problems.append(problem)
            continue
        document.problems += value.problems
        problem_found = _set(document, override, value.data)
        if problem_found is not None:
            document.problems.append(problem_found)


def _set(document: Document, override: Override, value: Any) -> SettingsError | None:
    """Set one value, making the sections on the way; the error where there is no way."""
    path = override.path
    if document.data is None:
        document.data = {}
    holder = document.data
    for depth, part in enumerate(path):
        last = depth == len(path) - 1
        fresh: Any = [] if not last and path[depth + 1] == 0 else {}
        new = value if last else fresh
        if isinstance(holder, dict):
            key = str(part)
            if last or holder.get(key) is None:
                holder[key] = new
                _forget(document, override, (*_strings(document.data, path[:depth]), key))
            holder = holder[key]
        elif isinstance(holder, list) and isinstance(part, int) and part <= len(holder):
            if part == len(holder):
                holder.append(new)
            elif last or holder[part] is None:
                holder[part] = new
            if holder[part] is new:
                _forget(document, override, (*_strings(document.data, path[:depth]), part))
            holder = holder[part]
        else:
            return _no_way(override, path[:depth], holder)
    return None


def _strings(data: Any, path: Path) -> Path:
    """The path with numbers turned into texts where they are keys of a section."""
    found: list[str | int] = []
    for part in path:
        found.append(str(part) if isinstance(data, dict) else part)
        data = data[found[-1]]
    return tuple(found)


def _forget(document: Document, override: Override, path: Path) -> None:
    """Places in and below a path now belong to the override."""
    for places in (document.keys, document.values):
        for old in [known for known in places if known[: len(path)] == path]:
            del places[old]
        places[path] = Place(origin=override.origin)
    document.empty = {known for known in document.empty if known[: len(path)] != path}


def _no_way(override: Override, path: Path, holder: Any) -> SettingsError:
    name = dotted(path)
    if isinstance(holder, list):
        what = f"{name} has no such entry"
        got = f"{len(holder)} entries, numbered from 0"
        fix = f"Use {name}[0] to {name}[{len(holder)}]; the last one appends."
    else:
        what, got = f"{name} is a value and has nothing below it", repr(holder)
        fix = f"Set {name} itself."
    return SettingsError(what, slug="settings-override", got=got, fix=fix, where=override.origin)
