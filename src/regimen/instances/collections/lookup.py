"""The templates of one data set, found in a collection of any kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from regimen.errors import DataError, near
from regimen.instances.collections import flan, promptsource, t0
from regimen.instances.collections.files import FileText, Parse, collection_files, parsed
from regimen.instances.readers import RowFailure
from regimen.records import Task, Template

_TAGGED = re.compile(r"(?m)^[\"']?templates[\"']?\s*:")
_MOST_NAMED = 12


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of collection: what its files hold and end in, how one is known and read."""

    holds: str
    suffixes: Sequence[str]
    looks: Callable[[FileText], bool]
    parse: Parse


def _is_promptsource(file: FileText) -> bool:
    return "!Template" in file.text or _TAGGED.search(file.text) is not None


KINDS: Mapping[str, Kind] = {
    "promptsource": Kind(
        "templates", promptsource.SUFFIXES, _is_promptsource, promptsource.parse_promptsource
    ),
    "patterns": Kind("templates", flan.SUFFIXES, lambda file: True, flan.parse_patterns),
    "t0": Kind("rows", t0.SUFFIXES, lambda file: True, t0.parse_t0),
}
"""Kinds of collections; a file is of the first one whose ending it has and as which it looks."""


def kind_of(file: FileText) -> str:
    """The kind of a collection's file, a key of ``KINDS``.

    Raises:
        DataError: no kind has files of this ending (``file-format``).
    """
    for name, kind in KINDS.items():
        if file.suffix in kind.suffixes and kind.looks(file):
            return name
    raise DataError(
        "No kind of collection has files with this ending.",
        slug="file-format",
        got=file.name,
        expected=", ".join(_suffixes("templates", "rows")),
        where=file.where,
    )


def _suffixes(*holds: str) -> list[str]:
    kinds = (kind for kind in KINDS.values() if kind.holds in holds)
    return list(dict.fromkeys(suffix for kind in kinds for suffix in kind.suffixes))


@dataclass(slots=True)
class _Found:
    """The tasks of a collection by data set and subset, and what failed."""

    tasks: dict[str, dict[str, list[tuple[str, Task]]]]
    failures: list[RowFailure]


def collection_templates(
    path: Path | str, *, dataset: str, subset: str = "", names: Sequence[str] = ()
) -> tuple[Template, ...]:
    """The templates of a data set, in the order of the collection, or of ``names``.

    Args:
        path: a file, a directory tree or a bundle of promptsource or of lists of patterns; which it
            is shows in the files.
        dataset: the data set; of patterns, the task.
        subset: the subset, where the data set has them; patterns have none.
        names: names of the templates to take; all when empty.

    Raises:
        DataError: as ``collection_files``; the collection holds rows (``rows-not-templates``);
            there is no such data set (``unknown-dataset``), subset (``unknown-subset``) or template
            (``unknown-template``), each with the nearest name; without ``names``, a template of the
            data set cannot be used (``template-unusable``).
    """
    where = str(path)
    found = _read(path, dataset)
    if dataset not in found.tasks:
        found = _read(path, "")
    subsets = found.tasks.get(dataset)
    if subsets is None:
        raise _unknown("data set", dataset, found.tasks, where, found.failures)
    if subset not in subsets:
        raise _unknown("subset", subset, subsets, f"{where}#{dataset}")
    templates: dict[str, Template] = {}
    for source, task in subsets[subset]:
        places = (source, f"{source}#{task.name}")
        failed = [failure for failure in found.failures if failure.source in places]
        if failed and not names:
            raise _unusable(failed, f"{where}#{dataset}")
        for template in task.templates:
            # two files may both be about the data set
            name = f"{template.name} ({source})" if template.name in templates else template.name
            templates[name] = replace(template, name=name)
    for name in names:
        if name not in templates:
            raise _unknown("template", name, templates, f"{where}#{dataset}", found.failures)
    return tuple(templates[name] for name in names or templates)


def _read(path: Path | str, text: str) -> _Found:
    """The tasks of a collection, from the files that hold a text: most need not be read."""
    found = _Found({}, [])
    for file in collection_files(path, _suffixes("templates", "rows")):
        if isinstance(file, RowFailure):
            found.failures.append(file)
            continue
        kind = KINDS[kind_of(file)]
        if kind.holds != "templates":
            raise _rows(file)
        if text not in file.text:
            continue
        for record in parsed(file, kind.parse):
            if isinstance(record, RowFailure):
                found.failures.append(record)
                continue
            dataset, subset = record.tags.get("dataset", record.name), record.tags.get("subset", "")
            tasks = found.tasks.setdefault(dataset, {}).setdefault(subset, [])
            tasks.append((file.name, record))
    return found


def _rows(file: FileText) -> DataError:
    return DataError(
        "The collection holds rendered rows, no templates.",
        slug="rows-not-templates",
        got=file.name,
        expected=f"files that end in {', '.join(_suffixes('templates'))}",
        fix="Use it as a source of tasks.",
        where=file.where,
    )


def _unknown(
    kind: str, name: str, known: Iterable[str], where: str, failures: Sequence[RowFailure] = ()
) -> DataError:
    names = sorted(one or "(none)" for one in known)
    fix = near(name, names) if names else "The collection has no template that can be used."
    if fix.startswith("Known") and len(names) > _MOST_NAMED:
        some, more = ", ".join(names[:_MOST_NAMED]), len(names) - _MOST_NAMED
        fix = f"Known: {some} and {more} more."
    places = (f"; {failure.source}:{failure.row}: {failure.got}" for failure in failures)
    why = next((place for place in places if name and name in place), "")
    return DataError(
        f"The collection has no such {kind}.",
        slug=f"unknown-{kind.replace(' ', '')}",
        got=(name or "(none)") + why,
        fix=fix,
        where=where,
    )


def _unusable(failures: Sequence[RowFailure], where: str) -> DataError:
    first = failures[0]
    more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
    return DataError(
        "Templates of the data set cannot be used.",
        slug="template-unusable",
        got=f"{first.source}:{first.row}: {first.got}{more}",
        fix=f"{first.fix} Or name the templates to take in `names`.",
        where=where,
    )
