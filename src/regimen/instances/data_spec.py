"""The ``data`` section of a task's file: any table becomes the rows of a task.

Every key but one of ``path`` and ``dataset`` is optional::

    data:
      path: train.csv              # or a list of files; relative to the task's file
      dataset: org/name            # instead of path: a data set of the Hugging Face hub
      config: default
      split: train                 # also of a folder that save_to_disk wrote
      header: [question, answer]   # names for a CSV or TSV file whose first line is a row
      columns:                     # the task's name: the column's name
        input: text                # or several: {Question: question, Passage: context}
        output: label
        options: choices           # or several: [A, B, C, D]
        rationale: solution
      labels: {"0": World, "1": Sports}    # or a list, of labels that count from 0
      answer: text                 # or index, number (from 1), letter: of the right option
      held_out: 0.1                # or {path: test.csv}, {split: test}
      limit: 1000
      seed: 0                      # of the draw of held_out

A column within a column is named with a dot: ``answers.text``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from regimen.errors import near
from regimen.instances.data_rows import ANSWERS, CANONICAL, Answer, Columns
from regimen.instances.task_sections import Sections
from regimen.settings import places

_ORIGIN = ("path", "dataset", "config", "split", "limit")
_KEYS = (*_ORIGIN, "header", "columns", "labels", "answer", "held_out", "seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where rows come from: files, or a data set of the hub; at most ``limit`` of them."""

    paths: tuple[Path, ...] = ()
    dataset: str = ""
    config: str = ""
    split: str = "train"
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """A ``data`` section. ``where`` is its place in the file, for errors."""

    origin: Origin
    header: tuple[str, ...] = ()
    columns: Mapping[str, Columns] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    answer: Answer = "text"
    held_out: float | Origin = 0.0
    seed: int = 0
    where: str = ""


def data_spec(sections: Sections, folder: Path) -> DataSpec | None:
    """The ``data`` section of a task's file; None where it has none.

    Args:
        sections: of the file.
        folder: what relative paths count from.

    Raises:
        DataError: something in it is not as it should be (``task-file``), with its line.
    """
    if sections.document.data.get("data") is None:
        return None
    at: places.Path = ("data",)
    data = sections.section(sections.document.data["data"], at, _KEYS)
    answer = sections.text((*at, "answer")) if data.get("answer") is not None else "text"
    if answer not in ANSWERS:
        what = "data.answer is not a way to name an option."
        raise sections.error((*at, "answer"), what, got=answer, fix=near(answer, ANSWERS))
    origin = _origin(sections, data, at, folder, None)
    return DataSpec(
        origin=origin,
        header=sections.texts(data, "header", at),
        columns=_columns(sections, data, at),
        labels=_labels(sections, data, at),
        answer=answer,
        held_out=_held_out(sections, data, at, folder, origin),
        seed=sections.count(data, "seed", at, 0) or 0,
        where=sections.document.place(at).render(),
    )


def _origin(
    sections: Sections,
    data: Mapping[str, Any],
    at: places.Path,
    folder: Path,
    default: Origin | None,
) -> Origin:
    """The place of rows; what ``default`` says holds where a section says only part of it."""
    said = {k: sections.text((*at, k)) for k in _ORIGIN[1:4] if data.get(k) is not None}
    paths = tuple(folder / name for name in sections.texts(data, "path", at))
    if default is None and bool(paths) == ("dataset" in said):
        what = f"{places.dotted(at)} has not exactly one of path and dataset."
        raise sections.error(at, what, fix="Add path: train.csv, or dataset: org/name.")
    limit = sections.count(data, "limit", at, 1)
    if default is not None and not paths and "dataset" not in said:
        return replace(default, **cast(Any, said), limit=limit)
    return Origin(paths=paths, limit=limit, **said)


def _columns(sections: Sections, data: Mapping[str, Any], at: places.Path) -> dict[str, Columns]:
    given = data.get("columns")
    if given is None:
        return {}
    at = (*at, "columns")
    found: dict[str, Columns] = {}
    for ours, theirs in sections.section(given, at, CANONICAL).items():
        if not isinstance(theirs, list | dict):
            found[ours] = sections.text((*at, ours))
            continue
        if ours not in ("input", "options") or not theirs:
            what = f"{places.dotted((*at, ours))} is not the name of a column."
            raise sections.error((*at, ours), what, got=type(theirs).__name__)
        if isinstance(theirs, dict):
            found[ours] = tuple(sections.mapping(given, ours, at).items())
        else:
            names = sections.texts(given, ours, at)
            found[ours] = tuple(
                (_heading(name) if ours == "input" else name, name) for name in names
            )
    return found


def _heading(name: str) -> str:
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def _labels(sections: Sections, data: Mapping[str, Any], at: places.Path) -> dict[str, str]:
    if isinstance(data.get("labels"), list):
        return {str(n): word for n, word in enumerate(sections.texts(data, "labels", at))}
    return sections.mapping(data, "labels", at)


def _held_out(
    sections: Sections, data: Mapping[str, Any], at: places.Path, folder: Path, origin: Origin
) -> float | Origin:
    value = data.get("held_out")
    at = (*at, "held_out")
    if isinstance(value, dict):
        inner = sections.section(value, at, _ORIGIN)
        if not {"path", "dataset", "split"} & inner.keys():
            raise sections.error(at, "data.held_out names no rows.", fix="Add path or split.")
        return _origin(sections, inner, at, folder, origin)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        fix = "Write 0.1, {path: test.csv} or {split: test}."
        raise sections.error(at, "data.held_out is not a share below 1.", repr(value)[:40], fix)
    return float(value)
