"""The scores of cells on the same items as arrays, and what may be said about their differences.

Shape letters: S seeds, N items, C clusters, L levels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from regimen.errors import EvaluationError, near
from regimen.evaluation.ratios import Floats, cluster_index

Level = tuple[Any, ...]
"""The values of the factors of a cell, in the order of the study's factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item as every cell was asked it."""

    item_id: str
    suite: str
    cluster: str
    task: str
    family: str
    language: str
    source: str = ""
    row: int = -1
    template: str = ""

    @property
    def asked_in(self) -> str:
        """How it was asked, where a suite is asked in several ways: what follows its ``@``."""
        return self.suite.partition("@")[2]

    @property
    def subject(self) -> tuple[str, str, str, int]:
        """What was asked, however it was asked."""
        return (_asked(self.suite), self.task, self.source, self.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Scores of one system by level: ``scores[level]`` is (S, N), over the same items and seeds.

    ``seeds`` are those that every level has; ``left_out`` counts the cells of other seeds.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    scores: Mapping[Level, Floats]
    left_out: int = 0

    @property
    def clusters(self) -> tuple[str, ...]:
        """The cluster of each item."""
        return tuple(row.cluster for row in self.rows)

    def only(self, wanted: Callable[[Row], bool]) -> Grid:
        """The items that are wanted, of every level."""
        return self.only_places([place for place, row in enumerate(self.rows) if wanted(row)])

    def only_places(self, places: Sequence[int]) -> Grid:
        """The items at some places, of every level."""
        return Grid(
            rows=tuple(self.rows[place] for place in places),
            seeds=self.seeds,
            scores={level: values[:, places] for level, values in self.scores.items()},
            left_out=self.left_out,
        )

    def suite(self, name: str) -> Grid:
        """The items of one suite."""
        return self.only(lambda row: row.suite == name)

    @property
    def suites(self) -> tuple[str, ...]:
        """Names of the suites, in order."""
        return tuple(dict.fromkeys(row.suite for row in self.rows))


def by_asking(grid: Grid) -> Grid:
    """The same rows asked in several ways, as levels of their own: ``(*level, asked_in)``.

    Scores of one subject asked in one way are averaged (several templates of a task), so that every
    level has one number for each subject that was asked in every way.
    """
    ways = list(dict.fromkeys(row.asked_in for row in grid.rows))
    places: dict[str, dict[tuple[str, str, str, int], list[int]]] = {way: {} for way in ways}
    for place, row in enumerate(grid.rows):
        places[row.asked_in].setdefault(row.subject, []).append(place)
    subjects = [one for one in places[ways[0]] if all(one in places[way] for way in ways)]
    firsts = [grid.rows[places[ways[0]][subject][0]] for subject in subjects]
    rows = tuple(
        replace(row, suite=subject[0], item_id=f"{subject[1]} {subject[3]}", template="")
        for row, subject in zip(firsts, subjects, strict=True)
    )
    scores = {
        (*level, way): np.stack(
            [values[:, places[way][subject]].mean(axis=1) for subject in subjects], axis=1
        )
        for level, values in grid.scores.items()
        for way in ways
    }
    return Grid(rows=rows, seeds=grid.seeds, scores=scores, left_out=grid.left_out)


def cluster_sums(grid: Grid, levels: Sequence[Level]) -> tuple[Floats, Floats]:
    """Sums of scores by level, seed and cluster (L, S, C), and items of each cluster (C,)."""
    index_N = cluster_index(grid.clusters)
    sizes_C = np.bincount(index_N).astype(np.float64)
    sums = [[np.bincount(index_N, weights=row) for row in grid.scores[level]] for level in levels]
    return np.asarray(sums, dtype=np.float64), sizes_C


def read_grid(
    places: Mapping[tuple[Level, int], Path],
    system: str = "tuned",
    suites: Sequence[str] = (),
) -> Grid:
    """Scores of one system from the files of cells.

    Args:
        places: the file of scores by level and seed.
        system: whose scores.
        suites: the suites that are wanted, in every way in which they are asked; all when empty.

    Raises:
        EvaluationError: ``study-no-cells`` where no seed has every level;
            ``study-items-differ`` where two cells were asked different items;
            ``study-suite-unknown`` where a cell was asked none of the suites;
            ``study-no-score`` where only a judge could score an item.
    """
    levels = list(dict.fromkeys(level for level, _ in places))
    seeds = sorted({seed for _, seed in places})
    whole = [seed for seed in seeds if all((level, seed) in places for level in levels)]
    if not whole:
        raise EvaluationError(
            "No seed has a result at every level, so that nothing can be compared.",
            slug="study-no-cells",
            got=f"{len(places)} cells of {len(levels)} levels and {len(seeds)} seeds",
            expected="one seed or more with every level",
            fix="Read the errors of the cells that failed; the same command goes on.",
        )
    rows: tuple[Row, ...] | None = None
    scores: dict[Level, list[Floats]] = {level: [] for level in levels}
    for seed in whole:
        for level in levels:
            found, values = _read(places[level, seed], system, suites)
            if rows is not None and found != rows:
                raise _differ(places[level, seed], rows, found)
            rows = found
            scores[level].append(values)
    assert rows is not None
    return Grid(
        rows=rows,
        seeds=tuple(whole),
        scores={level: np.stack(values) for level, values in scores.items()},
        left_out=len(places) - len(whole) * len(levels),
    )


def _read(path: Path, system: str, suites: Sequence[str]) -> tuple[tuple[Row, ...], Floats]:
    """Items and scores of one file, by suite and item."""
    import pyarrow.parquet as pq

    names = ["suite", "item_id", "cluster", "task", "family", "language"]
    table = pq.read_table(path)
    more = [name for name in ("source", "row", "template") if name in table.column_names]
    every = [row for row in table.to_pylist() if row["system"] == system]
    own = [row for row in every if not suites or {row["suite"], _asked(row["suite"])} & {*suites}]
    if every and not own:
        raise _unknown(path, suites, {_asked(row["suite"]) for row in every})
    if unscored := [row for row in own if row["score"] is None]:
        raise _no_score(path, unscored, own)
    own.sort(key=lambda row: (row["suite"], row["item_id"]))
    rows = tuple(Row(**{name: row[name] for name in [*names, *more]}) for row in own)
    return rows, np.asarray([row["score"] for row in own], dtype=np.float64)


def _asked(suite: str) -> str:
    """The suite's own name, without the way in which it is asked."""
    return suite.partition("@")[0]


def _unknown(path: Path, suites: Sequence[str], known: set[str]) -> EvaluationError:
    return EvaluationError(
        "The study's suites are none that its cells were asked.",
        slug="study-suite-unknown",
        where=str(path),
        got=", ".join(suites),
        expected="suites that were asked, or none for all of them",
        fix=f"Correct study.suites. {near(suites[0], known)}",
    )


def _no_score(
    path: Path, unscored: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]
) -> EvaluationError:
    names = sorted({row["suite"] for row in unscored})
    return EvaluationError(
        "Some items of the study have no score, because only a judge could give one.",
        slug="study-no-score",
        where=str(path),
        got=f"{len(unscored)} of {len(own)} items, in {', '.join(names)}",
        expected="suites whose answers a rule scores",
        fix="Name the other suites in study.suites.",
    )


def _differ(path: Path, rows: Sequence[Row], found: Sequence[Row]) -> EvaluationError:
    shared = len({row.item_id for row in rows} & {row.item_id for row in found})
    return EvaluationError(
        "Two cells of the study were asked different items.",
        slug="study-items-differ",
        where=str(path),
        got=f"{len(found)} items, of which {shared} are among the {len(rows)} of the first cell",
        expected="the same items in every cell",
        fix="Hold tasks out by name, family or language, or set build.held_out.seed.",
    )
