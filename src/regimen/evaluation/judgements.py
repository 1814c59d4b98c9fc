"""Every verdict of a judge as a row that can be traced and stored, and back as a ``Judgement``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regimen.judging.comparisons import AnswerPair, Comparison
from regimen.judging.judge import Verdict
from regimen.judging.prompts import Turns
from regimen.record_columns import versioned
from regimen.records import Item, Judgement

if TYPE_CHECKING:
    import pyarrow as pa

TEXTS = ("suite", "item_id", "first", "second", "subject", "judge", "dimension")
MORE_TEXTS = ("reason", "decided", "error")


def comparison_rows(comparison: Comparison, judge: str) -> list[dict[str, Any]]:
    """A row for each order that a judge was asked for, or for the pair that needed no judge.

    ``first`` and ``second`` are the systems in the order shown, ``value`` is the preference for
    the first in -1..1, null where ``error`` says why there is none.
    """
    a, b = comparison.systems
    orders = (((a, b), comparison.forward), ((b, a), comparison.backward))
    return [
        _row(comparison.item, shown, judge, "preference", verdict, comparison.decided)
        for shown, verdict in orders
        if verdict is not None
    ]


def rating_rows(
    asked: Sequence[AnswerPair], rated: Mapping[tuple[str, Turns | None], Verdict], judge: str
) -> list[dict[str, Any]]:
    """A row for the rating of each system's answer to each item."""
    answers = {
        (pair.item.item_id, name): (pair.item, turns)
        for pair in asked
        for name, turns in zip(pair.systems, (pair.a, pair.b), strict=True)
    }
    return [
        _row(item, (name, ""), judge, "rating", rated[item_id, turns], "")
        for (item_id, name), (item, turns) in answers.items()
    ]


def _row(
    item: Item, shown: tuple[str, str], judge: str, dimension: str, verdict: Verdict, decided: str
) -> dict[str, Any]:
    return {
        "suite": item.suite,
        "item_id": item.item_id,
        "first": shown[0],
        "second": shown[1],
        "subject": f"{item.item_id}:{'-'.join(name for name in shown if name)}",
        "judge": "" if decided else judge,
        "dimension": dimension,
        "value": verdict.value,
        "reason": verdict.reason,
        "decided": decided,
        "error": verdict.error,
    }


def judgements_to_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The rows as an Arrow table with the schema version in its metadata."""
    import pyarrow as pa

    fields = [(name, pa.string()) for name in TEXTS]
    fields += [("value", pa.float64())]
    fields += [(name, pa.string()) for name in MORE_TEXTS]
    schema = versioned(fields)
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def table_to_judgements(table: pa.Table) -> Iterator[Judgement]:
    """The verdicts of a judge in a table; pairs decided without one and failures are left out."""
    for row in table.to_pylist():
        if row["value"] is not None and not row["decided"]:
            yield Judgement(
                subject=row["subject"],
                judge=row["judge"],
                dimension=row["dimension"],
                value=row["value"],
                reason=row["reason"],
            )
