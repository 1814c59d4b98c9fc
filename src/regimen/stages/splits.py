"""Which tasks are trained on and which are held out, and how many of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from regimen.curation.ledger import Ledger
from regimen.errors import SettingsError, near
from regimen.instances.draws import seeded
from regimen.records import Instance, Item, Task
from regimen.settings.build import BuildSettings

Coordinates = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Split:
    """Training tasks, and held-out tasks by suite."""

    train: tuple[Task, ...]
    suites: dict[str, tuple[Task, ...]]


def held_out_seed(section: BuildSettings, seed: int) -> int:
    """The seed of what is held out: its own, or the build's."""
    return seed if section.held_out.seed is None else section.held_out.seed


def split_tasks(tasks: Sequence[Task], section: BuildSettings, seed: int, ledger: Ledger) -> Split:
    """Hold out languages, families and named tasks whole, then a share of the rest.

    Of tasks with coordinates (``tags``), those are held out first whose every coordinate is still
    met in training: they are new compositions of known parts. Tasks beyond ``section.tasks`` are
    removed by name in the ledger; with one seed, those of a smaller number are among those of a
    larger one.

    What is held out is drawn by ``held_out_seed``, the training tasks by ``seed``.

    Raises:
        SettingsError: a family or language to hold out does not exist.
    """
    held, apart = section.held_out, held_out_seed(section, seed)
    _check(tasks, "family", held.families, "families")
    _check(tasks, "language", held.languages, "languages")
    _check(tasks, "name", held.tasks, "tasks")
    suites: dict[str, list[Task]] = {}
    rest: list[Task] = []
    for task in tasks:
        if task.language in held.languages:
            suites.setdefault("unseen_languages", []).append(task)
        elif task.family in held.families:
            suites.setdefault("unseen_families", []).append(task)
        elif task.name in held.tasks:
            suites.setdefault("unseen_tasks", []).append(task)
        else:
            rest.append(task)
    if held.share > 0:
        chosen, rest = _compositions(rest, held.share, apart)
        suites["unseen_compositions"] = chosen
    with ledger.step("split", entered=len(tasks)) as step:
        for suite, members in suites.items():
            suites[suite], left = _draw(members, held.max_tasks, apart, suite)
            for task in members:
                step.remove(task.name, "held_out" if task.name not in left else "held_out_unused")
        train, unused = _draw(rest, section.tasks, seed, "train")
        for name in unused:
            step.remove(name, "beyond_task_limit")
        step.keep(len(train))
    if held.rows_per_task:
        train = [_rows_apart(task, held.rows_per_task, apart) for task in train]
    order = ("unseen_compositions", "unseen_families", "unseen_languages", "unseen_tasks")
    return Split(tuple(train), {name: tuple(suites[name]) for name in order if name in suites})


def equal_parts(tasks: Sequence[Task], rows: int) -> dict[str, int]:
    """Rows of each task, by name, such that there are ``rows`` of all; the first have one more."""
    whole, more = divmod(rows, len(tasks)) if tasks else (0, 0)
    return {task.name: whole + (place < more) for place, task in enumerate(tasks)}


def _rows_apart(task: Task, count: int, seed: int) -> Task:
    """The task with some of its rows held out; one that says which keeps those."""
    if task.held_out:
        return task
    rng = seeded(seed, task.name, "rows apart")
    if task.generator is not None:
        return replace(task, held_out=task.generator(rng.randrange(2**31), count))
    total = len(task.instances)
    chosen = set(rng.sample(range(total), min(count, total // 2)))
    return replace(
        task,
        instances=[task.instances[number] for number in range(total) if number not in chosen],
        held_out=[task.instances[number] for number in sorted(chosen)],
    )


def _check(tasks: Sequence[Task], field: str, wanted: Sequence[str], setting: str) -> None:
    known = {str(getattr(task, field)) for task in tasks}
    for name in wanted:
        if name not in known:
            raise SettingsError(
                f"held_out.{setting} names something that no source has.",
                slug="held-out-unknown",
                got=repr(name),
                fix=near(name, known or [name]),
            )


def _draw(
    tasks: list[Task], count: int | None, seed: int, what: str
) -> tuple[list[Task], set[str]]:
    """``count`` tasks drawn evenly over families, in their order, and the names left over."""
    if count is None or count >= len(tasks):
        return tasks, set()
    order = list(tasks)
    seeded(seed, what, "draw").shuffle(order)
    taken: Counter[str] = Counter()
    ranked = []
    for place, task in enumerate(order):
        taken[task.family] += 1
        ranked.append((taken[task.family], place, task.name))
    names = {name for _, _, name in sorted(ranked)[:count]}
    return [t for t in tasks if t.name in names], {t.name for t in tasks if t.name not in names}


def _coordinates(task: Task) -> Coordinates:
    pairs = [(key, value) for key, value in task.tags.items()]
    return tuple(sorted([*pairs, ("language", task.language)])) if pairs else ()


def _compositions(tasks: list[Task], share: float, seed: int) -> tuple[list[Task], list[Task]]:
    """A share of the tasks such that each of their coordinates stays in training at least twice."""
    wanted = round(share * len(tasks))
    left = Counter(pair for task in tasks for pair in _coordinates(task))
    order = list(tasks)
    seeded(seed, "compositions").shuffle(order)
    chosen: set[str] = set()
    for task in order:
        if len(chosen) >= wanted:
            break
        coordinates = _coordinates(task)
        if all(left[pair] > 2 for pair in coordinates):
            chosen.add(task.name)
            left.subtract(coordinates)
    return [t for t in tasks if t.name in chosen], [t for t in tasks if t.name not in chosen]


def hold_out_rows(
    instances: Sequence[Instance], section: BuildSettings, seed: int, ledger: Ledger
) -> tuple[list[Instance], list[Item]]:
    """Hold out a share of ready conversations, where there are no tasks to hold out.

    The last answer of a held-out conversation is the reference, what stands before it the prompt.
    Equal conversations go to the same side.

    Raises:
        SettingsError: they are to be asked in several ways (``asked-without-tasks``).
    """
    held, apart = section.held_out, held_out_seed(section, seed)
    if held.asked:
        raise SettingsError(
            "held_out.asked is for tasks, and the sources have conversations alone.",
            slug="asked-without-tasks",
            got=", ".join(held.asked),
            expected="a source with tasks",
            fix="Remove 'asked': a conversation is asked as it stands.",
        )
    kept: list[Instance] = []
    items: list[Item] = []
    with ledger.step("hold-out", entered=len(instances)) as step:
        for one in instances:
            drawn = seeded(apart, "rows", one.content_id).random() < held.share
            if drawn and (held.max_tasks is None or len(items) < held.max_tasks):
                items.append(_row_item(one))
                step.remove(one, "held_out")
            else:
                kept.append(one)
                step.keep()
    return kept, items


def _row_item(one: Instance) -> Item:
    *prompt, answer = one.messages
    return Item(
        suite="unseen_rows",
        messages=tuple(prompt),
        references=(answer.text,),
        input=prompt[-1].text,
        cluster=one.content_id,
        lineage=one.lineage,
    )
