"""A sample of answers from each of the four buckets between two systems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from regimen.records import stable_hash
from regimen.reports.evidence import BUCKETS
from regimen.reports.files import read_table

SAMPLE = 60
NEAREST, LONGEST = 2, 240
"""Training rows shown of each item and side, and characters of each."""
RIGHT = 1.0
SHARES = {"regressed": 0.35, "fixed": 0.3, "still_wrong": 0.2, "still_right": 0.15}

Key = tuple[str, str]
Scores = Mapping[Key, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a system answered, its score, and what went wrong, if anything."""

    text: str
    score: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRow:
    """A training row near an item by its prompt or answer: similarity in 0..1, origin, text."""

    instance_id: str
    side: str
    similarity: float
    origin: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One item with the answer of each system. The prompt is the one of the system after.

    An answer is right with a score of ``right_at`` or more. ``contaminated`` is None where that was
    not checked.
    """

    suite: str
    bucket: str
    right_at: float
    family: str
    language: str
    task: str
    prompt: str
    reference: str
    answers: Mapping[str, Given]
    item_id: str = ""
    contaminated: bool | None = None
    nearest: tuple[NearRow, ...] = ()


def bucket(before: float, after: float, right_at: float = RIGHT) -> str:
    """The bucket of an item: it is right with a score of ``right_at`` or more.

    The rule of ``regimen.evaluation.changes``, whose statistics take a second to import.
    """
    if after >= right_at:
        return "still_right" if before >= right_at else "fixed"
    return "regressed" if before >= right_at else "still_wrong"


def read_scores(path: Path, suites: Sequence[str] = ()) -> Scores:
    """Scores by (suite, item) and system, of the named suites or of all."""
    columns = ["suite", "item_id", "system", "score"]
    table = read_table(path, columns)
    if len(table.column_names) < len(columns):
        return {}
    scores: dict[Key, dict[str, float]] = {}
    values = (table[name].to_pylist() for name in columns)
    for suite, item, name, score in zip(*values, strict=True):
        if score is not None and (not suites or suite in suites):
            scores.setdefault((suite, item), {})[name] = float(score)
    return scores


def sample_answers(
    path: Path,
    scores: Scores,
    before: str,
    after: str,
    size: int = SAMPLE,
    right_at: Mapping[str, float] | None = None,
) -> list[AnswerRow]:
    """About ``size`` items, regressed first, drawn evenly over suites and reproducibly.

    Each bucket has a share of the sample; what a bucket does not use goes to the others, in the
    order of the buckets. ``right_at`` is the score from which an answer is right, by suite.
    """
    marks = right_at or {}
    by_bucket: dict[str, list[Key]] = {name: [] for name in BUCKETS}
    for key, found in scores.items():
        if before in found and after in found:
            mark = marks.get(key[0], RIGHT)
            by_bucket[bucket(found[before], found[after], mark)].append(key)
    spread = {name: _spread(keys) for name, keys in by_bucket.items()}
    taken = {name: min(len(keys), round(size * SHARES[name])) for name, keys in spread.items()}
    for name, keys in spread.items():
        spare = size - sum(taken.values())
        taken[name] += min(max(spare, 0), len(keys) - taken[name])
    chosen = {key: name for name, keys in spread.items() for key in keys[: taken[name]]}
    return _rows(path, chosen, after, marks)


def _spread(keys: list[Key]) -> list[Key]:
    """Keys in a fixed random order, suites taking turns."""
    suites: dict[str, list[Key]] = {}
    for key in sorted(keys, key=lambda key: stable_hash(list(key))):
        suites.setdefault(key[0], []).append(key)
    turns = zip_longest(*(suites[name] for name in sorted(suites)))
    return [key for turn in turns for key in turn if key is not None]


def _rows(
    path: Path, chosen: Mapping[Key, str], after: str, marks: Mapping[str, float]
) -> list[AnswerRow]:
    if not chosen:
        return []
    wanted = sorted({item for _, item in chosen})
    grouped: dict[Key, dict[str, Mapping[str, Any]]] = {}
    for row in read_table(path, filters=[("item_id", "in", wanted)]).to_pylist():
        key = (row["suite"], row["item_id"])
        if key in chosen:
            grouped.setdefault(key, {})[row["system"]] = row
    nearest = _nearest(path.with_name("nearest.parquet"), wanted)
    return [
        _row(grouped[key], name, after, marks.get(key[0], RIGHT), nearest.get(key[1], ()))
        for key, name in chosen.items()
        if key in grouped
    ]


def _nearest(path: Path, items: Sequence[str]) -> dict[str, tuple[NearRow, ...]]:
    """The nearest training rows of some items, at most ``NEAREST`` of each side."""
    found: dict[str, tuple[NearRow, ...]] = {}
    if not path.is_file():
        return found
    wanted = [("item_id", "in", list(items)), ("rank", "<=", NEAREST)]
    for row in read_table(path, filters=wanted).to_pylist():
        origin = f"{row['source']}:{row['row']}" if row["row"] >= 0 else row["source"]
        one = NearRow(
            instance_id=row["instance_id"],
            side=row["side"],
            similarity=row["similarity"],
            origin=" ".join(part for part in (origin, row["task"]) if part),
            text=row["text"][:LONGEST],
        )
        found[row["item_id"]] = (*found.get(row["item_id"], ()), one)
    return found


def _row(
    rows: Mapping[str, Mapping[str, Any]],
    name: str,
    after: str,
    right_at: float,
    nearest: tuple[NearRow, ...],
) -> AnswerRow:
    own = rows[after]
    fields = ("suite", "family", "language", "task", "prompt", "reference")
    return AnswerRow(
        bucket=name,
        right_at=right_at,
        item_id=str(own["item_id"]),
        contaminated=own.get("contaminated"),
        nearest=nearest,
        answers={
            system: Given(
                text=str(row.get("answer") or ""),
                score=float(row.get("score") or 0.0),
                error=str(row.get("error") or ""),
            )
            for system, row in rows.items()
        },
        **{key: str(own.get(key) or "") for key in fields},
    )
