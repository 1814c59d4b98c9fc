"""Sections of a task's YAML file as plain data, with errors that name file, line and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from regimen.errors import DataError, near
from regimen.settings import places


def task_error(what: str, where: str, got: str = "", fix: str = "") -> DataError:
    """What is wrong with a task's file."""
    return DataError(what, slug="task-file", got=got, fix=fix, where=where)


class Sections:
    """Reads texts, lists and sections of a document by their paths."""

    def __init__(self, document: places.Document) -> None:
        self.document = document

    def error(self, path: places.Path, what: str, got: str = "", fix: str = "") -> DataError:
        """An error at a place of the file."""
        return task_error(what, self.document.place(path).render(), got, fix)

    def section(self, data: Any, path: places.Path, known: Sequence[str]) -> dict[str, Any]:
        """A mapping whose keys are all known.

        Raises:
            DataError: it is no mapping, or a key of it is not known.
        """
        if not isinstance(data, dict):
            what = f"{places.dotted(path) if path else 'The task'} is not a section of keys."
            raise self.error(path, what, got=type(data).__name__, fix="Write key: value lines.")
        for key in data:
            if key not in known:
                what = f"{places.dotted((*path, key))} is not a key of a task."
                raise self.error((*path, key), what, got=key, fix=near(key, known))
        return data

    def entries(self, data: Mapping[str, Any], key: str, path: places.Path = ()) -> list[Any]:
        """The list under a key; none where it is left out.

        Raises:
            DataError: there is something else.
        """
        value = data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            what = f"{places.dotted((*path, key))} is not a list."
            raise self.error((*path, key), what, fix="Start each entry with '- '.")
        return value

    def texts(self, data: Mapping[str, Any], key: str, path: places.Path = ()) -> tuple[str, ...]:
        """The texts of the list under a key, or of the single text there.

        Raises:
            DataError: something there is no text.
        """
        value = data.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            return (self.text((*path, key)),)
        return tuple(self.text((*path, key, number)) for number, _ in enumerate(value))

    def text(self, path: places.Path) -> str:
        """The text at a path; a number, true or false as it was written.

        Raises:
            DataError: there is a list, a section or nothing.
        """
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

    def mapping(self, data: Mapping[str, Any], key: str, path: places.Path = ()) -> dict[str, str]:
        """The texts under a key by name; none where it is left out.

        Raises:
            DataError: something there is no text.
        """
        value = data.get(key)
        if value is None:
            return {}
        known = [*value] if isinstance(value, dict) else []
        place = (*path, key)
        return {name: self.text((*place, name)) for name in self.section(value, place, known)}

    def count(self, data: Mapping[str, Any], key: str, path: places.Path, least: int) -> int | None:
        """The whole number under a key; None where it is left out.

        Raises:
            DataError: it is no whole number, or below ``least``.
        """
        value = data.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            what = f"{places.dotted((*path, key))} is not a whole number of at least {least}."
            raise self.error((*path, key), what, got=repr(value)[:40])
        return value
