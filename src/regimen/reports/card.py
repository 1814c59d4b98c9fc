"""What the training data is made of, counted from the instances themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.curation.card import pair_rows
from regimen.reports.files import (
    Json,
    count_rows,
    first_existing,
    mapping,
    read_object,
    read_table,
    whole,
)

if TYPE_CHECKING:
    import pyarrow as pa

FACETS = ("source", "family", "category", "language", "licence", "template", "demonstrations")
NOT_GIVEN = "(not given)"
BINS = 28
Counts = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts between edges (one more edge than counts); longer than the last edge: ``beyond``."""

    name: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    median: float
    longest: float
    beyond: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """How often the right one of ``options`` options stood in each place; ``p`` of the test that
    all places are as likely, None where there are too few."""

    options: int
    counts: tuple[int, ...]
    p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Rows, their composition by facet (most frequent first), and lengths in characters.

    ``lints`` are (severity, lint, tasks); ``pairs`` are figures of preference pairs in words.
    """

    instances: int | None
    tasks: int | None
    preferences: int | None
    items: int | None
    strictest_licence: str
    facets: Mapping[str, Counts]
    lengths: tuple[Histogram, ...]
    positions: tuple[Positions, ...] = ()
    lints: tuple[tuple[str, str, int], ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


def read_card(directory: Path) -> DataCard | None:
    """The data card of a run, from what ``build`` recorded and the instances themselves."""
    place = directory / "build"
    instances = first_existing(place, "instances.parquet")
    recorded = read_object(first_existing(place, "data_card.json"))
    if instances is None and not recorded:
        return None
    columns = [name for name in FACETS if name != "demonstrations"]
    table = None if instances is None else read_table(instances, [*columns, "messages"])
    facets = {}
    for facet in FACETS:
        found = _recorded(recorded, facet) or (count_values(table, facet) if table else ())
        only = found[0][0] if len(found) == 1 else None
        # a facet that says nothing of any row: not given, or no demonstrations anywhere
        if found and only != NOT_GIVEN and (facet, only) != ("demonstrations", "0"):
            facets[facet] = found
    return DataCard(
        instances=whole(recorded.get("instances")) if table is None else table.num_rows,
        tasks=whole(recorded.get("tasks")),
        preferences=count_rows(first_existing(place, "preferences.parquet")),
        items=count_rows(first_existing(place, "items.parquet")),
        strictest_licence=str(recorded.get("strictest_licence") or ""),
        facets=facets,
        lengths=() if table is None else _lengths(table),
        positions=_positions(mapping(mapping(recorded.get("option_positions")).get("all"))),
        lints=_lints(mapping(mapping(recorded.get("lints")).get("findings"))),
        pairs=_pairs(mapping(recorded.get("pairs"))),
    )


def _positions(rows: Json) -> tuple[Positions, ...]:
    found = []
    for options, value in rows.items():
        row = mapping(value)
        raw = row.get("counts")
        counts = (
            [n for one in raw if (n := whole(one)) is not None] if isinstance(raw, list) else []
        )
        chance = row.get("p")
        p = float(chance) if isinstance(chance, int | float) else None
        if options.isdigit() and counts:
            found.append(Positions(options=int(options), counts=tuple(counts), p=p))
    return tuple(found)


def _lints(findings: Json) -> tuple[tuple[str, str, int], ...]:
    return tuple(
        (severity, lint, n)
        for severity, counts in findings.items()
        for lint, raw in mapping(counts).items()
        if (n := whole(raw)) is not None
    )


def _pairs(found: Json) -> tuple[tuple[str, str], ...]:
    """The figures of pairs; none where the file says something else than ``build`` writes."""
    try:
        return tuple(pair_rows(found)) if found else ()
    except (KeyError, TypeError, ValueError, AttributeError):
        return ()


def _recorded(card: Json, facet: str) -> Counts:
    counts = mapping(card.get(f"by_{facet}"))
    pairs = [(name, n) for name, raw in counts.items() if (n := whole(raw)) is not None]
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def count_values(table: pa.Table, column: str) -> Counts:
    """Values of a column and how often they occur, most frequent first."""
    import pyarrow.compute as pc

    if column not in table.column_names:
        return ()
    counted = pc.value_counts(table[column]).to_pylist()
    pairs = [(str(row["values"] or NOT_GIVEN), int(row["counts"])) for row in counted]
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _lengths(table: pa.Table) -> tuple[Histogram, ...]:
    """Characters of prompts (all turns before answers) and answers, per instance."""
    import numpy as np
    import pyarrow.compute as pc

    if "messages" not in table.column_names or not table.num_rows:
        return ()
    prompts: list[float] = []
    answers: list[float] = []
    for messages in table["messages"].chunks:
        turns = messages.flatten()
        row_T = pc.list_parent_indices(messages).to_numpy(zero_copy_only=False)
        size_T = pc.fill_null(pc.utf8_length(turns.field("content")), 0).to_numpy()
        answer_T = pc.equal(turns.field("role"), "assistant").to_numpy(zero_copy_only=False)
        answer_T = answer_T.astype(bool)
        for rows, mask_T in ((prompts, ~answer_T), (answers, answer_T)):
            rows.extend(np.bincount(row_T[mask_T], size_T[mask_T], len(messages)).tolist())
    return histogram("Prompts", prompts), histogram("Answers", answers)


def histogram(name: str, values: Sequence[float]) -> Histogram:
    """A histogram up to the 99th percentile; what is longer is counted, not drawn."""
    import numpy as np

    data = np.asarray(values, dtype=float)
    top = max(float(np.quantile(data, 0.99)), 1.0)
    counts, edges = np.histogram(data[data <= top], bins=BINS, range=(0.0, top))
    return Histogram(
        name=name,
        edges=tuple(edges.tolist()),
        counts=tuple(int(n) for n in counts),
        median=float(np.median(data)),
        longest=float(data.max()),
        beyond=int((data > top).sum()),
    )
