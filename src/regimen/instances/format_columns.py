"""Which format a row has by its columns, and the user's names for the columns of a format."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from regimen.errors import DataError, near

MESSAGE_ROW = ("message_id", "parent_id", "text", "role")
"""Columns of a table of messages, of which each names its parent."""

# Required columns of each format; the first format all of whose columns are there wins.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "natural_instructions": ("Definition", "Instances"),
    "preference": ("chosen", "rejected"),
    "messages": ("messages",),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "prompt_completion": ("prompt", "completion"),
    "stepwise": ("prompt", "steps", "labels"),
    "ranked": ("prompt", "answers"),
    "compared": ("prompt", "a", "b"),
    "oasst": ("message_tree_id", "prompt"),
    "written": ("query", "answer"),
}
_ALSO_SO: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "stepwise": (("prompt", "completions", "labels"),),
    "ranked": (("instruction", "completions"),),
    "oasst": (("message_id", "replies"), MESSAGE_ROW),
}
"""Other columns by which a format is told."""
_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "messages": (("messages",), ("conversations",)),
    "stepwise": (("steps", "labels"), ("completions", "labels")),
    "ranked": (("answers",), ("completions",)),
    "compared": (("a", "b"),),
    "oasst": (("prompt",), ("message_id", "replies"), MESSAGE_ROW),
    "labelled": (("completion",), ("messages",)),
}
"""Columns one group of which must be there where a format is named, other than in ``FORMATS``.
``labelled`` is named alone: its rows could be instances too."""
TASK_YAML, T0 = "task_yaml", "t0"
OPTIONAL = (
    *("input", "history", "system", "tools", "label", "kto_tag", "labels", "margin", "score"),
    *("ranks", "scores", "breaks", "author", "author_a", "author_b", "completions"),
    *("score_chosen", "score_rejected", "rank", "lang", "replies", *MESSAGE_ROW),
    *("dimensions", "steps"),
)
LABELS = ("language", "licence", "category", "family", "task")
SPELLINGS = {"language": ("language", "lang"), "licence": ("licence", "license")}

# Other names under which data sets publish a column.
_ALSO: Mapping[str, tuple[str, ...]] = {
    "messages": ("conversation", "dialog", "dialogue", "chat", "turns", "utterances"),
    "conversations": ("conversation",),
    "instruction": ("instructions", "command"),
    "output": ("response", "answer", "target", "completion"),
    "prompt": ("question", "query", "inputs", "input", "instruction", "source"),
    "completion": ("response", "answer", "output", "target", "targets", "std_answer", "reply"),
    "chosen": ("chosen_messages", "preferred", "accepted", "better", "winner"),
    "rejected": ("rejected_messages", "dispreferred", "refused", "worse", "loser"),
}


def detect_format(
    values: Mapping[str, Any], columns: Mapping[str, str] | None = None, where: str = ""
) -> str:
    """The format of a row by its columns.

    Args:
        values: a row, or any mapping with the columns as keys.
        columns: the user's column for each name of a format.
        where: what an error names as its place.

    Raises:
        DataError: no format has these columns (``unknown-columns``); the error suggests a
            ``columns`` mapping from near names.
    """
    names = set(values) | set(columns or {})
    for format_name, required in FORMATS.items():
        if any(names.issuperset(some) for some in (required, *_ALSO_SO.get(format_name, ()))):
            return format_name
    tried = "; ".join(f"{name} ({', '.join(needs)})" for name, needs in FORMATS.items())
    raise DataError(
        "The columns of the source belong to no known format.",
        slug="unknown-columns",
        got=_listed(values),
        expected=tried,
        fix=_suggestion(values, {n: needs for n, needs in FORMATS.items() if n != "written"}),
        where=where,
    )


def _listed(values: Mapping[str, Any]) -> str:
    names = [name if len(name) <= 40 else name[:37] + "..." for name in map(str, values)]
    return "columns " + ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")


def _suggestion(values: Mapping[str, Any], formats: Mapping[str, tuple[str, ...]]) -> str:
    """The ``columns`` mapping of the format that comes nearest, or what to do without one."""
    best: tuple[int, str, dict[str, str]] = (0, "", {})
    for name, required in formats.items():
        mapping = _mapping(values, required)
        present = sum(column in values for column in required)
        if mapping is not None and present + 1 > best[0]:
            best = (present + 1, name, mapping)
    if any(len(str(name)) > 60 for name in values):
        return "The first line seems to be a row; put a line with column names before it."
    if not best[1]:
        names = ", ".join(formats)
        return f"Give `columns:` that name your columns for one of {names}."
    inside = ", ".join(f"{ours}: {theirs}" for ours, theirs in best[2].items())
    return f"Set `columns: {{{inside}}}` to read the source as {best[1]}."


def _mapping(values: Mapping[str, Any], required: tuple[str, ...]) -> dict[str, str] | None:
    """A near column of the user's for every required one that is missing; None if one has none."""
    mapping: dict[str, str] = {}
    for name in required:
        if name in values:
            continue
        free = {
            str(v).casefold(): str(v) for v in values if v not in (*required, *mapping.values())
        }
        known = (name, *_ALSO.get(name, ()))
        match = next((free[other] for other in known if other in free), None)
        close = get_close_matches(name, free, n=1, cutoff=0.86)
        if match is None and not close:
            return None
        mapping[name] = match or free[close[0]]
    return mapping


def check_columns(format: str, columns: Mapping[str, str]) -> None:
    """Raise unless there is such a format, and a format has each of the columns.

    Raises:
        DataError: ``unknown-format``, ``unknown-columns``.
    """
    formats = ("auto", *FORMATS, *(_NEEDED.keys() - FORMATS.keys()), TASK_YAML, T0)
    if format not in formats:
        raise DataError(
            "There is no such format.",
            slug="unknown-format",
            got=format,
            fix=near(format, formats),
        )
    known = {*OPTIONAL, *LABELS, *(column for needs in FORMATS.values() for column in needs)}
    for ours in columns:
        if ours not in known:
            raise DataError(
                "`columns` names a column that no format has.",
                slug="unknown-columns",
                got=ours,
                fix=f"{near(ours, known)} Write the format's name first: prompt: your_column.",
            )


def format_of(
    values: Mapping[str, Any], format: str, columns: Mapping[str, str], where: str
) -> str:
    """The format given or found, after checking that the columns it needs are there.

    Args:
        values: of a row, or of several together.
        format: a name, or ``auto``.
        columns: the user's column for each name of a format.
        where: what an error names as its place.

    Raises:
        DataError: ``unknown-columns``.
    """
    for ours, theirs in columns.items():
        if theirs not in values:
            raise DataError(
                f"`columns` gives {theirs!r} for {ours!r}, but the source has no such column.",
                slug="unknown-columns",
                got=_listed(values),
                fix=near(theirs, map(str, values)),
                where=where,
            )
    have = renamed(values, columns)
    if format == "auto":
        return detect_format(have, where=where)
    groups = _NEEDED.get(format) or (FORMATS.get(format, ("a .yaml file",)),)
    needs = min(groups, key=lambda group: sum(column not in have for column in group))
    missing = [column for column in needs if column not in have]
    if missing:
        raise DataError(
            f"The source has no column {missing[0]!r}, which the format {format} needs.",
            slug="unknown-columns",
            got=_listed(values),
            expected=", ".join(needs),
            fix=_suggestion(values, {format: needs}),
            where=where,
        )
    return format


def renamed(values: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """The row under the format's names; a column given for another name loses its own."""
    if not columns:
        return dict(values)
    taken = set(columns.values())
    kept = {key: value for key, value in values.items() if key not in taken}
    return {
        **kept,
        **{ours: values[theirs] for ours, theirs in columns.items() if theirs in values},
    }
