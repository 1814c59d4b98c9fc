"""Pairs of answers with people's labels, from a file: what a judge's agreement is measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.errors import DataError
from regimen.instances.answer_rows import VOTES
from regimen.instances.readers import RawRow, RowFailure, read_rows
from regimen.judging.comparisons import AnswerPair
from regimen.records import Item, Lineage, Message

CATEGORIES = (-1, 0, 1)
"""Preferences for ``a`` in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPairs:
    """Pairs, each person's preference for ``a`` (None where missing), and rows without use."""

    pairs: tuple[AnswerPair, ...]
    raters: Mapping[str, tuple[int | None, ...]]
    clusters: tuple[str, ...]
    failures: tuple[RowFailure, ...]


def read_labelled_pairs(path: Path | str, *, needed: bool = True) -> LabelledPairs:
    """The pairs of a file of rows: ``prompt``, ``a``, ``b``, ``labels`` and perhaps ``cluster``.

    ``labels`` lists what each person said: ``a``, ``b``, ``tie`` (or 1, 2, 0) or null, in the same
    order of people in every row. Rows of one cluster are not independent, such as those of one
    prompt; without a cluster the prompt is the cluster. A row that cannot be used is a failure; one
    that says nothing of labels is one too, unless they are not ``needed``.

    Raises:
        DataError: as :func:`read_rows`, or no row can be used (``people-labels``).
    """
    pairs: list[AnswerPair] = []
    said: list[tuple[int | None, ...]] = []
    failures: list[RowFailure] = []
    for row in read_rows(path):
        made = row if isinstance(row, RowFailure) else _labelled(row, str(path), needed)
        if isinstance(made, RowFailure):
            failures.append(made)
            continue
        pairs.append(made[0])
        said.append(made[1])
    if not pairs:
        first = failures[0]
        raise DataError(
            "No row of people's labels can be used.",
            slug="people-labels",
            got=f"row {first.row}: {first.got}",
            expected="rows with prompt, a, b and labels, a list of a, b and tie",
            fix=first.fix,
            where=str(path),
        )
    most = max(map(len, said))
    raters = {
        f"person {place + 1}": tuple(row[place] if place < len(row) else None for row in said)
        for place in range(most)
    }
    clusters = tuple(pair.item.cluster for pair in pairs)
    return LabelledPairs(
        pairs=tuple(pairs), raters=raters, clusters=clusters, failures=tuple(failures)
    )


def _labelled(
    row: RawRow, source: str, needed: bool
) -> tuple[AnswerPair, tuple[int | None, ...]] | RowFailure:
    values = row.values
    texts = [values.get(name) for name in ("prompt", "a", "b")]
    if not all(isinstance(text, str) for text in texts):
        lacking = [n for n, text in zip(("prompt", "a", "b"), texts, strict=True) if not text]
        return _unusable(row, f"no text in {', '.join(lacking) or 'prompt, a or b'}")
    given = values.get("labels")
    labels = () if given is None and not needed else _labels(given)
    if labels is None:
        return _unusable(row, f"labels {values.get('labels')!r}")
    prompt, a, b = (str(text) for text in texts)
    item = Item(
        suite="people",
        messages=(Message(role="user", content=prompt),),
        references=(),
        cluster=str(values.get("cluster") or prompt),
        lineage=Lineage(source=source, row=row.row),
    )
    return AnswerPair(item=item, systems=("a", "b"), a=(a,), b=(b,)), labels


def _labels(value: Any) -> tuple[int | None, ...] | None:
    """What each person said; None where it is no list of labels, or nobody said anything."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return None
    names = [None if label is None else str(label).strip().casefold() for label in value]
    if not any(names) or any(name is not None and name not in VOTES for name in names):
        return None
    return tuple(None if name is None else VOTES[name] for name in names)


def _unusable(row: RawRow, got: str) -> RowFailure:
    return RowFailure(
        row=row.row,
        error="people-labels",
        got=got,
        fix="Write prompt, a and b as texts, and labels as a list of a, b, tie or null.",
        source=row.source,
    )
