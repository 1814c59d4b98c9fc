"""Which tasks are trained on and which are kept to test what was learnt.

Three held-out parts ask three questions: does an operation seen with other objects and formats
still work here (compositions), does an operation never seen (families), does a language never
seen as instruction (languages)?
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from regimen.records import Task

HELD_OUT_FAMILIES = ("slice", "repeat", "table")
"""Each asks for skills that trained families teach under other names: ``slice`` joins what
``pick`` finds and ``edit`` leaves out, ``repeat`` needs the counting of ``count`` over a list, and
``table`` looks up a partner as ``record`` and ``passage`` do. All their objects' words and all
their formats occur in training."""

COORDINATES = ("operation", "object", "format")


def split(
    tasks: Sequence[Task],
    families: Sequence[str] = HELD_OUT_FAMILIES,
    languages: Sequence[str] = ("es",),
    share: float = 0.1,
    seed: int = 0,
) -> dict[str, tuple[Task, ...]]:
    """Tasks as ``train``, ``unseen_compositions``, ``unseen_families``, ``unseen_languages``.

    A task of a held-out language goes there whatever its family. Of the rest, ``share`` become
    unseen compositions, drawn by seed; one is taken only while its operation, its object and its
    format each still occur in a training task of the same language.

    Args:
        tasks: tasks with the tags operation, object and format; their order is kept.
        families: families to hold out.
        languages: languages to hold out.
        share: share of the remaining tasks to hold out, in 0..1.
        seed: which ones.

    Raises:
        ValueError: an unknown family or language, a share outside 0..1, or one too large.
    """
    _check(tasks, families, languages, share)
    parts: dict[str, list[Task]] = {"unseen_languages": [], "unseen_families": []}
    rest = []
    for task in tasks:
        if task.language in languages:
            parts["unseen_languages"].append(task)
        elif task.family in families:
            parts["unseen_families"].append(task)
        else:
            rest.append(task)
    held = _compositions(rest, round(share * len(rest)), seed)
    return {
        "train": tuple(task for task in rest if task.name not in held),
        "unseen_compositions": tuple(task for task in rest if task.name in held),
        **{name: tuple(part) for name, part in parts.items()},
    }


def _check(
    tasks: Sequence[Task], families: Sequence[str], languages: Sequence[str], share: float
) -> None:
    for what, wanted, known in (
        ("family", families, {task.family for task in tasks}),
        ("language", languages, {task.language for task in tasks}),
    ):
        missing = sorted(set(wanted) - known)
        if missing:
            raise ValueError(f"no task of {what} {missing}; known: {sorted(known)}")
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in 0..1, got {share}")


def _coordinates(task: Task) -> list[tuple[str, str, str]]:
    return [(name, task.tags[name], task.language) for name in COORDINATES]


def _compositions(tasks: Sequence[Task], wanted: int, seed: int) -> frozenset[str]:
    """Names of ``wanted`` tasks whose coordinates all stay in use among the others."""
    left = Counter(coordinate for task in tasks for coordinate in _coordinates(task))
    shuffled = list(tasks)
    Random(seed).shuffle(shuffled)
    held: set[str] = set()
    for task in shuffled:
        if len(held) == wanted:
            break
        coordinates = _coordinates(task)
        if all(left[coordinate] > 1 for coordinate in coordinates):
            left.subtract(coordinates)
            held.add(task.name)
    if len(held) < wanted:
        raise ValueError(f"only {len(held)} of {wanted} tasks can be held out; lower the share")
    return frozenset(held)
