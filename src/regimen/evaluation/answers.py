"""Every answer of an evaluation as a row that can be traced and stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from regimen.evaluation.suites import cluster_of
from regimen.evaluation.systems import Answer
from regimen.record_columns import versioned
from regimen.records import Item

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = (
    "suite",
    "item_id",
    "system",
    "answer",
    "family",
    "category",
    "language",
    "task",
    "cluster",
    "prompt",
    "reference",
    "metric",
    "finish",
    "error",
    "turns",
    "source",
    "licence",
    "template",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """One system's answer to one item with its scores.

    ``score`` is the primary metric, which ``metric`` names (null and empty where answers are not
    scored); ``metrics`` are the others by name. ``error`` is why the request
    failed or a scorer could not read the answer; such a row scores 0 there. ``prompt`` is what
    this system was asked (the item's own for a computed answer); ``reference`` joins several
    accepted answers with `` || ``. ``turns`` are all turns of an item with follow-ups, as JSON
    (``user``, ``answer``, ``finish``, ``tokens`` each), empty for others. ``source`` and ``row``
    say where the item comes from.
    """

    suite: str
    item_id: str
    system: str
    answer: str
    metric: str
    score: float | None
    metrics: Mapping[str, float]
    family: str
    category: str
    language: str
    task: str
    cluster: str
    prompt: str
    reference: str
    finish: str
    error: str
    turns: str
    source: str
    licence: str
    template: str
    row: int

    def as_dict(self) -> dict[str, Any]:
        """The columns of ``answers.parquet``; ``rouge_l`` is None where it was not scored."""
        row: dict[str, Any] = {name: getattr(self, name) for name in TEXT_COLUMNS}
        return {**row, "row": self.row, "score": self.score, "rouge_l": None, **self.metrics}


def answer_row(
    item: Item,
    system: str,
    answer: Answer,
    *,
    metric: str,
    score: float | None,
    metrics: Mapping[str, float],
    error: str = "",
) -> AnswerRow:
    """The row of one answer; ``error`` adds what a scorer said to what the request said."""
    lineage = item.lineage
    return AnswerRow(
        suite=item.suite,
        item_id=item.item_id,
        system=system,
        answer=answer.text,
        metric=metric,
        score=score,
        metrics=metrics,
        family=lineage.family,
        category=lineage.category,
        language=lineage.language,
        task=lineage.task,
        cluster=cluster_of(item),
        prompt=answer.prompt or "\n\n".join(message.text for message in item.messages),
        reference=" || ".join(item.references),
        finish=answer.finish,
        error="; ".join(text for text in (answer.error, error) if text),
        turns=json.dumps([asdict(turn) for turn in answer.turns], ensure_ascii=False)
        if answer.turns
        else "",
        source=lineage.source,
        licence=lineage.licence,
        template=lineage.template,
        row=lineage.row,
    )


def answers_to_table(
    rows: Sequence[AnswerRow], contaminated: Callable[[str], bool | None] = lambda _: None
) -> pa.Table:
    """The rows as an Arrow table with the schema version in its metadata.

    Text columns as in :data:`TEXT_COLUMNS`, then ``row`` (of ``source``), ``score``, ``rouge_l``,
    one float column for each other metric, and ``contaminated``.

    Args:
        rows: of all systems and items.
        contaminated: by item id whether training rows give the item away; None for not checked.
    """
    import pyarrow as pa

    extra = sorted({name for row in rows for name in row.metrics} - {"rouge_l"})
    fields = [(name, pa.string()) for name in TEXT_COLUMNS]
    fields += [("row", pa.int64())]
    fields += [(name, pa.float64()) for name in ("score", "rouge_l", *extra)]
    fields += [("contaminated", pa.bool_())]
    schema = versioned(fields)
    written = [{**row.as_dict(), "contaminated": contaminated(row.item_id)} for row in rows]
    return pa.Table.from_pylist(written, schema=schema)
