"""From an item to the training rows: which are nearest, and whether one of them gives it away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.evaluation.contamination import (
    ContaminationCheck,
    Overlap,
    contamination_block,
    unchecked_block,
)
from regimen.evaluation.nearest import NearestSearch
from regimen.evaluation.runner import EvaluationResult
from regimen.evaluation.training_rows import LINEAGE, read_numbered, read_turns
from regimen.record_columns import versioned
from regimen.records import Item

if TYPE_CHECKING:
    import pyarrow as pa

SIDES = ("prompt", "answer")
LONGEST = 2_000
"""Characters of a training row's text in ``nearest.parquet``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearRow:
    """A training row near an item, as a row of ``nearest.parquet``.

    ``side`` says what was compared: the user's turns with the item's, or the assistant's with the
    first accepted answer. ``rank`` counts from 1; ``similarity`` is in 0..1. ``source`` to
    ``template`` are the row's lineage, ``text`` is that side of it, cut at ``LONGEST`` characters.
    """

    item_id: str
    side: str
    rank: int
    instance_id: str
    similarity: float
    source: str
    row: int
    task: str
    template: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What was found about the items of an evaluation.

    ``overlaps`` by item id is None where the training rows are not known; ``shared`` gives the id
    of the training row that an item shares most n-grams with, for items that share any.
    """

    nearest: tuple[NearRow, ...] = ()
    overlaps: Mapping[str, Overlap] | None = None
    shared: Mapping[str, str] = field(default_factory=dict)
    against: Mapping[str, Any] = field(default_factory=dict)

    def contaminated(self, item_id: str) -> bool | None:
        """Whether an item is contaminated; None where that was not checked."""
        return None if self.overlaps is None else self.overlaps[item_id].contaminated


def trace(
    items: Sequence[Item],
    files: Mapping[str, Path],
    k: int,
    advance: Callable[[int], None] | None = None,
) -> Traces:
    """Compare items with all training rows, read twice; the rows that were found a third time.

    Args:
        items: with distinct ids.
        files: of instances, by the name that they are told under; without any, nothing is known.
        k: nearest rows kept of each item and side, 0 or more.
        advance: called with a number of rows each time that many were read.

    Raises:
        DataError: a file is not there or holds no instances.
    """
    if not files:
        return Traces()
    paths, tick = list(files.values()), advance or (lambda _: None)
    check = ContaminationCheck(items)
    searches = {side: NearestSearch(texts, k) for side, texts in _queries(items).items() if k}
    rows = 0
    for turns in read_turns(paths):
        check.take(turns.users)
        for side, search in searches.items():
            search.count(_side(turns, side))
        rows += len(turns.users)
        tick(len(turns.users))
    for turns in read_turns(paths) if searches else ():
        for side, search in searches.items():
            search.compare(_side(turns, side))
        tick(len(turns.users))
    overlaps = check.found()
    found = {side: search.found() for side, search in searches.items()}
    numbers = {one.row for one in overlaps} | {
        number for near in found.values() for number in near.row_QK.ravel().tolist()
    }
    told = read_numbered(paths, numbers - {-1})
    ids = [item.item_id for item in items]
    return Traces(
        nearest=tuple(
            _near(ids[place], side, rank, similarity, told[number])
            for place in range(len(items))
            for side, near in found.items()
            for rank, (number, similarity) in enumerate(
                zip(near.row_QK[place].tolist(), near.similarity_QK[place].tolist(), strict=True), 1
            )
            if number >= 0
        ),
        overlaps=dict(zip(ids, overlaps, strict=True)),
        shared={
            key: told[one.row]["instance_id"]
            for key, one in zip(ids, overlaps, strict=True)
            if one.row >= 0
        },
        against={"files": list(files), "rows": rows},
    )


def contamination_blocks(result: EvaluationResult, traces: Traces) -> dict[str, dict[str, Any]]:
    """The block ``contamination`` of each suite."""
    if traces.overlaps is None:
        return {suite: unchecked_block() for suite in result.suites}
    return {
        suite: contamination_block(
            [row for row in result.rows if row.suite == suite], traces.overlaps, traces.against
        )
        for suite in result.suites
    }


def nearest_to_table(rows: Sequence[NearRow]) -> pa.Table:
    """The rows as an Arrow table with the schema version in its metadata."""
    import pyarrow as pa

    text = pa.string()
    kinds = {"rank": pa.int64(), "similarity": pa.float64(), "row": pa.int64()}
    fields = [(name, kinds.get(name, text)) for name in NearRow.__dataclass_fields__]
    schema = versioned(fields)
    columns = [[getattr(row, name) for row in rows] for name, _ in fields]
    return pa.table(columns, schema=schema)


def overlaps_to_table(traces: Traces) -> pa.Table:
    """What each item shares with one training row: the rows of ``contamination.parquet``.

    ``share`` of what the item asks, in 0..1, lies in n-grams of the row ``instance_id``, "" where
    there is none. Without rows where the training rows are not known.
    """
    import pyarrow as pa

    kinds = {"item_id": pa.string(), "share": pa.float64(), "contaminated": pa.bool_()}
    schema = versioned([*kinds.items(), ("instance_id", pa.string())])
    known = (traces.overlaps or {}).items()
    columns = [
        [key for key, _ in known],
        [one.share for _, one in known],
        [one.contaminated for _, one in known],
        [traces.shared.get(key, "") for key, _ in known],
    ]
    return pa.table(columns, schema=schema)


def _queries(items: Sequence[Item]) -> dict[str, list[str]]:
    """What is looked for on each side: all that the user says; the first accepted answer."""
    prompts = ["\n".join(m.text for m in item.messages if m.role == "user") for item in items]
    answers = [item.references[0] if item.references else "" for item in items]
    return dict(zip(SIDES, (prompts, answers), strict=True))


def _side(turns: Any, side: str) -> list[str]:
    texts: list[str] = turns.prompt_texts if side == "prompt" else turns.answer_texts
    return texts


def _near(
    item_id: str, side: str, rank: int, similarity: float, told: Mapping[str, Any]
) -> NearRow:
    return NearRow(
        item_id=item_id,
        side=side,
        rank=rank,
        instance_id=told["instance_id"],
        similarity=similarity,
        text=told[side][:LONGEST],
        **{name: told[name] for name in LINEAGE},
    )
