"""Four buckets of items by what changed between two systems, and a sample of their answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.records import stable_hash
from regimen.reports.files import read_table

if TYPE_CHECKING:
    import pyarrow as pa

BUCKETS = ("regressed", "fixed", "still wrong", "still right")
RIGHT = 0.5
SAMPLE = 60
SHARES = {"regressed": 0.35, "fixed": 0.3, "still wrong": 0.2, "still right": 0.15}

Key = tuple[str, str]
Scores = Mapping[Key, Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How many items of a suite are in each bucket between two systems, and McNemar's exact p.

    McNemar's test takes items as independent; the clustered interval decides, this describes.
    """

    suite: str
    first: str
    second: str
    counts: Mapping[str, int]
    p: float

    @property
    def total(self) -> int:
        """Items that both systems answered."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One item with the answer (text, score) of each system."""

    suite: str
    bucket: str
    family: str
    language: str
    task: str
    prompt: str
    reference: str
    answers: Mapping[str, tuple[str, float]]


def bucket(before: float, after: float) -> str:
    """The bucket of an item. A score of a half or more is right."""
    if after >= RIGHT:
        return "still right" if before >= RIGHT else "fixed"
    return "regressed" if before >= RIGHT else "still wrong"


def read_scores(path: Path, suites: Sequence[str] = ()) -> Scores:
    """Scores by (suite, item) and system, of the named suites or of all."""
    table = read_table(path, ["suite", "item_id", "system", "score"])
    if len(table.column_names) < 4:
        return {}
    scores: dict[Key, dict[str, float]] = {}
    columns = (table[name].to_pylist() for name in ("suite", "item_id", "system", "score"))
    for suite, item, name, score in zip(*columns, strict=True):
        if score is not None and (not suites or suite in suites):
            scores.setdefault((suite, item), {})[name] = float(score)
    return scores


def changes(scores: Scores, first: str, second: str) -> list[Change]:
    """The buckets per suite, in the order in which the suites occur."""
    from regimen.evaluation.statistics import mcnemar

    counted: dict[str, Counter[str]] = {}
    for (suite, _), found in scores.items():
        if first in found and second in found:
            counts = counted.setdefault(suite, Counter())
            counts[bucket(found[first], found[second])] += 1
    return [
        Change(
            suite=suite,
            first=first,
            second=second,
            counts={name: counts[name] for name in BUCKETS},
            p=mcnemar(counts["regressed"], counts["fixed"]).exact,
        )
        for suite, counts in counted.items()
    ]


def sample_answers(
    path: Path, scores: Scores, first: str, second: str, size: int = SAMPLE
) -> list[AnswerRow]:
    """About ``size`` items, regressed first, drawn evenly over suites and reproducibly.

    Each bucket has a share of the sample; what a bucket does not use goes to the others, in the
    order of the buckets.
    """
    by_bucket: dict[str, list[Key]] = {name: [] for name in BUCKETS}
    for key, found in scores.items():
        if first in found and second in found:
            by_bucket[bucket(found[first], found[second])].append(key)
    spread = {name: _spread(keys) for name, keys in by_bucket.items()}
    taken = {name: min(len(keys), round(size * SHARES[name])) for name, keys in spread.items()}
    for name, keys in spread.items():
        spare = size - sum(taken.values())
        taken[name] += min(max(spare, 0), len(keys) - taken[name])
    chosen = {key: name for name, keys in spread.items() for key in keys[: taken[name]]}
    return _rows(path, chosen)


def _spread(keys: list[Key]) -> list[Key]:
    """Keys in a fixed random order, suites taking turns."""
    suites: dict[str, list[Key]] = {}
    for key in sorted(keys, key=lambda key: stable_hash(list(key))):
        suites.setdefault(key[0], []).append(key)
    turns = zip_longest(*(suites[name] for name in sorted(suites)))
    return [key for turn in turns for key in turn if key is not None]


def _rows(path: Path, chosen: Mapping[Key, str]) -> list[AnswerRow]:
    wanted = sorted({item for _, item in chosen})
    table: pa.Table = read_table(path, filters=[("item_id", "in", wanted)] if wanted else None)
    grouped: dict[Key, list[Mapping[str, Any]]] = {}
    for row in table.to_pylist() if chosen else []:
        key = (row["suite"], row["item_id"])
        if key in chosen:
            grouped.setdefault(key, []).append(row)
    return [_row(grouped[key], name) for key, name in chosen.items() if key in grouped]


def _row(rows: list[Mapping[str, Any]], name: str) -> AnswerRow:
    first = rows[0]
    text = {
        key: str(first.get(key) or "")
        for key in ("suite", "family", "language", "task", "prompt", "reference")
    }
    answers = {
        row["system"]: (str(row.get("answer") or ""), float(row.get("score") or 0.0))
        for row in rows
    }
    return AnswerRow(bucket=name, answers=answers, **text)
