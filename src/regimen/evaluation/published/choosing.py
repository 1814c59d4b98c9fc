"""Which items of a suite are asked, and what an interval resamples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from regimen.errors import DataError, near
from regimen.evaluation.published.reading import SuiteSpec
from regimen.instances.draws import seeded
from regimen.records import Item


def chosen(items: Sequence[Item], spec: SuiteSpec) -> tuple[Item, ...]:
    """The items in the wanted languages and tasks, at most so many of each and in all.

    Raises:
        DataError: ``suite-empty`` where nothing is left.
    """
    kept = list(items)
    for what, wanted, said in (
        ("languages", spec.languages, lambda item: item.lineage.language),
        ("tasks", spec.tasks, lambda item: item.lineage.task),
    ):
        if wanted:
            kept = _those(kept, what, wanted, said, spec)
    if spec.per_task is not None:
        kept = _per_task(kept, spec, spec.per_task)
    if spec.limit is not None and len(kept) > spec.limit:
        kept = [kept[place] for place in _places(len(kept), spec, spec.limit)]
    return resampled(kept)


def _those(
    items: Sequence[Item],
    what: str,
    wanted: Sequence[str],
    said: Callable[[Item], str],
    spec: SuiteSpec,
) -> list[Item]:
    """Items of which ``said`` is wanted."""
    kept = [item for item in items if said(item) in wanted]
    if not kept:
        known = sorted({said(item) for item in items})
        raise DataError(
            f"The suite {spec.name!r} has no item of these {what}.",
            slug="suite-empty",
            got=", ".join(wanted[:8]),
            expected=", ".join(known[:12]) or "items",
            fix=near(wanted[0], known or list(wanted)),
            where=str(spec.path),
        )
    return kept


def _per_task(items: Sequence[Item], spec: SuiteSpec, most: int) -> list[Item]:
    """The first ``most`` items of every task, or drawn ones where there is a seed."""
    places: dict[str, list[int]] = {}
    for place, item in enumerate(items):
        places.setdefault(item.lineage.task, []).append(place)
    kept: list[int] = []
    for task, own in places.items():
        kept += [own[place] for place in of_task(len(own), spec, task, most)]
    return [items[place] for place in sorted(kept)]


def of_task(total: int, spec: SuiteSpec, task: str, most: int) -> list[int]:
    """At most ``most`` of the ``total`` places of a task: the first, or drawn ones with a seed."""
    if spec.seed is None or total <= most:
        return list(range(min(total, most)))
    return sorted(seeded(spec.seed, spec.name, task).sample(range(total), most))


def _places(total: int, spec: SuiteSpec, most: int) -> list[int]:
    """``most`` of ``total`` places: drawn by the seed, else spread evenly."""
    if spec.seed is None:
        return [place * total // most for place in range(most)]
    return sorted(seeded(spec.seed, spec.name, "limit").sample(range(total), most))


def resampled(items: Sequence[Item]) -> tuple[Item, ...]:
    """The items with what an interval resamples: the task, or the row where there is one task.

    Clusters that items have already stay.
    """
    alone = len({item.lineage.task for item in items}) < 2
    return tuple(
        item
        if item.cluster
        else replace(
            item,
            cluster=f"{item.lineage.source}:{item.lineage.row}" if alone else item.lineage.task,
        )
        for item in items
    )


def task_list(path: Path) -> tuple[str, ...]:
    """The names in a list of tasks such as the published test lists, one on a line.

    Raises:
        DataError: ``file-missing``, or ``task-list-empty``.
    """
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        fix = near(path.name, names) if names else "Correct the path."
        raise DataError("There is no such list.", slug="file-missing", got=str(path), fix=fix)
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = tuple(dict.fromkeys(name for name in names if name and not name.startswith("#")))
    if not found:
        raise DataError(
            "The list of tasks is empty.",
            slug="task-list-empty",
            expected="the name of a task on each line",
            fix="Name another file.",
            where=str(path),
        )
    return found
